"""The time at which a change of the ledger is recorded, and from when on that time can no longer gain changes.

`recorded_at` is the clock of the database. A writer takes a shared advisory lock of its organization, then the time, as
late as possible before it writes, and keeps the lock until it commits. So a time is settled, and answers `as_of` it are
final, once it has passed and no transaction holds the lock that may have taken an earlier time. Writers never wait: the
lock is only ever shared, and readers look at its holders.
"""

import contextlib
import datetime as dt
import time

import sqlalchemy as sa

from ..auth import current_actor, state
from ..db import db, prepare, row_security
from ..errors import Unavailable
from ..rest.fields import format_datetime

LOCK_CLASS = 6_120_743  # Distinct from other advisory locks with two keys. The other key is the organization.
NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)
WAIT_SECONDS = 2
RETRY_SECONDS = 0.02

# The statement's own time comes before the locks are read: a writer that takes its time later also takes a later one.
# A holder took its time after its transaction began. The holders of another role have no visible beginning.
_SETTLED = sa.text(
    """
    SELECT pg_stat_clear_snapshot();
    SELECT least(statement_timestamp(), min(coalesce(activity.xact_start, '1900-01-01Z'))) - interval '1 microsecond'
    FROM pg_locks locks LEFT JOIN pg_stat_activity activity USING (pid)
    WHERE locks.locktype = 'advisory' AND locks.classid = :lock_class AND locks.objsubid = 2
        AND (:organization_id IS NULL OR locks.objid = CAST(:organization_id AS bigint) % 2147483647)
        AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND locks.pid <> pg_backend_pid()
    """
)


def recording_time(*organization_ids: int) -> dt.datetime:
    """Return the time of the changes that this transaction is about to make to the usages of organizations."""
    ids: sa.ColumnElement[int] = sa.func.unnest(sa.literal(list(organization_ids), sa.ARRAY(sa.BigInteger)))
    each = sa.select(sa.func.recording_time(ids).label("moment")).subquery()
    moment: dt.datetime = db.session.scalars(prepare(sa.select(sa.func.max(each.c.moment)))).one()
    return moment


def settled_until(organization_id: int | None) -> dt.datetime:
    """Return the latest settled time of an organization, or of all of them."""
    parameters = {"lock_class": LOCK_CLASS, "organization_id": organization_id}
    # PostgreSQL shows what the transactions of a role do to this role only, not to the one for all organizations.
    with contextlib.nullcontext() if organization_id else row_security.for_no_organization():
        moment: dt.datetime = db.session.scalars(_SETTLED, parameters).one()
    return moment


def wait_until_settled(instant: dt.datetime) -> None:
    """Wait until an instant is settled for the rows that the actor may see.

    Raise Unavailable after WAIT_SECONDS.
    """
    actor = current_actor()
    organization_id = None if actor.is_admin else actor.organization_id
    settled, deadline = state().settled, time.monotonic() + WAIT_SECONDS
    # A settled time stays settled.
    while instant > settled.get(organization_id, NEVER):
        settled[organization_id] = settled_until(organization_id)
        if instant > settled[organization_id]:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Usages with a time until {format_datetime(instant)} may still be recorded, so the answer would "
                    "not be final. Try again shortly, or ask for an earlier time."
                )
            time.sleep(RETRY_SECONDS)

"""Close and reopen accounting periods. Usages of a closed period cannot change until it is reopened for a reason.

Each writer of usages takes a shared advisory lock of its organization before it checks that a period is open, and keeps
it until it commits. Closing a period takes the lock exclusively. Other organizations do not wait.
"""

import datetime as dt
from typing import Any

import sqlalchemy as sa

from .. import audit
from ..auth import current_actor, get_referenced
from ..db import allow, db
from ..errors import Conflict, ValidationFailed
from ..rest.fields import format_datetime
from .models import ClosedPeriod

LOCK_CLASS = 6_120_744  # Distinct from other advisory locks with two keys. The other key is the organization.


def close(now: dt.datetime, until: dt.datetime, note: str | None) -> ClosedPeriod:
    """Close the period of the actor's organization before `until`.

    Raise ValidationFailed for a time in the future, Conflict if the period is closed already.
    """
    actor = current_actor()
    if until > now:
        raise ValidationFailed("Must not be in the future: only a past period can be closed.", field="until")
    # The organization's later writers wait behind it, so it times out soon, and the client gets a transient error.
    allow(lock_seconds=1)
    key = sa.cast(sa.literal(actor.organization_id, sa.BigInteger) % 2147483647, sa.Integer)
    db.session.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_CLASS, key)))
    period = closing_period_at(actor.organization_id, until - dt.timedelta(microseconds=1))
    if period is not None:
        raise Conflict(f"Period {period.id} is already closed until {format_datetime(period.until)}.")
    period = ClosedPeriod(
        organization_id=actor.organization_id, until=until, note=note, closed_at=now, closed_by=actor.id
    )
    db.session.add(period)
    audit.flush()
    return period


def reopen(period: ClosedPeriod, now: dt.datetime, reason: str) -> ClosedPeriod:
    """Reopen a period. The row remains as a record of the closing. Raise Conflict if it was reopened before."""
    if period.reopened_at is not None:
        raise Conflict(f"Period {period.id} has already been reopened.")
    period.reopened_at, period.reopened_by, period.reopen_reason = now, current_actor().id, reason
    audit.flush()
    return period


def keep_open(organization_id: int) -> None:
    """Let no period of the organization be closed until the transaction ends."""
    db.session.execute(sa.select(sa.func.keep_periods_open(organization_id)))


def is_open(organization_id: Any, usage_at: Any) -> sa.ColumnElement[bool]:
    """Return the condition that no closed period of the organization covers this time."""
    return ~sa.exists().where(*_covers(organization_id, usage_at))


def closing_period_at(organization_id: int, usage_at: dt.datetime) -> ClosedPeriod | None:
    """Return the closed period of the organization that covers this time; of several, the one that ends last."""
    criteria = _covers(organization_id, usage_at)
    return db.session.scalar(sa.select(ClosedPeriod).where(*criteria).order_by(ClosedPeriod.until.desc()).limit(1))


def _covers(organization_id: Any, usage_at: Any) -> tuple[sa.ColumnElement[bool], ...]:
    is_closed = ClosedPeriod.reopened_at.is_(None)
    return (ClosedPeriod.organization_id == organization_id, is_closed, ClosedPeriod.until > usage_at)


def closed_error(organization_id: int, *moments: dt.datetime) -> Conflict:
    """Return the error that names the closed period of these times."""
    period = closing_period_at(organization_id, min(moments))
    name = f"Period {period.id} is closed until {format_datetime(period.until)}" if period else "The period is closed"
    return Conflict(
        f"{name}. Record an adjustment dated after it, with the id of the period in `adjusts_closed_period_id`, or ask "
        "a manager to reopen the period.",
        field="usage_at",
    )


def check_adjusted_period(organization_id: int, closed_period_id: int) -> None:
    """Raise ValidationFailed if an adjustment names a period that is not closed in its organization."""
    check_is_closed(get_referenced(ClosedPeriod, closed_period_id, "adjusts_closed_period_id"), organization_id)


def check_is_closed(period: ClosedPeriod, organization_id: int) -> None:
    """Raise ValidationFailed if the period that an adjustment names is not closed in its organization."""
    if period.organization_id != organization_id or period.reopened_at is not None:
        raise ValidationFailed(
            f"Period {period.id} is not closed. Correct the usage itself.", field="adjusts_closed_period_id"
        )

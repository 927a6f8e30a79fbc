"""The feed of changes: each version of each usage once, and each deletion, in the order of recording.

Only settled changes are in the feed: a later transaction cannot add one before them. So a reader that continues after
the last change it has seen misses none.
"""

import datetime as dt
from typing import Any

import sqlalchemy as sa

from ..auth import Actor, current_actor, scope_criteria
from ..db import db, is_any_of
from ..rest.json_sql import json_object, schema_columns
from ..rest.waiting import sleep_while_idle
from ..usages.models import Usage, UsageVersion, ledger_columns
from ..usages.recording_time import settled_until
from ..usages.schemas import UsageSchema

KINDS = RECORDED, CORRECTED, DELETED = "recorded", "corrected", "deleted"
MAX_WAIT_SECONDS = 30
POLL_SECONDS = 0.5

Position = tuple[dt.datetime, int]  # Of a change: its time and usage. A usage changes once at a time.
BEGINNING: Position = (dt.datetime(1900, 1, 1, tzinfo=dt.UTC), 0)


def changes_after(position: Position, limit: int, wait: float) -> tuple[str, Position]:
    """Return a JSON array of the changes after a position, and the position of the last one.

    wait: the number of seconds to wait for the next change.
    """
    rows = _read(position, limit)
    while not rows and wait > 0 and sleep_while_idle(min(POLL_SECONDS, wait)):
        wait -= POLL_SECONDS
        rows = _read(position, limit)
    last = (rows[-1].changed_at, rows[-1].usage_id) if rows else position
    return f"[{','.join(row.change for row in rows)}]", last


def _read(position: Position, limit: int) -> Any:
    actor = current_actor()
    until = settled_until(None if actor.is_admin else actor.organization_id)

    def first(rows: sa.Select[Any], moment: Any, id_: Any) -> sa.Select[Any]:
        is_next = sa.tuple_(moment, id_) > sa.tuple_(sa.literal(position[0]), sa.literal(position[1], sa.BigInteger))
        return rows.where(is_next, moment <= until).order_by(moment, id_).limit(limit)

    versions = sa.union_all(
        *(
            first(sa.select(*ledger_columns(table)).where(*scope_criteria(table)), table.recorded_at, table.id)
            for table in (Usage, UsageVersion)
        )
    )
    # The name of the CTE hides the table, so that the columns of Usage are those of all versions.
    recorded = _changes(
        sa.case((Usage.version == 1, RECORDED), else_=CORRECTED),
        Usage,
        Usage.recorded_at,
        sa.type_coerce(json_object(schema_columns(sa.select(Usage), UsageSchema)), sa.JSON()),
    ).add_cte(versions.cte(Usage.__tablename__))
    is_gone = UsageVersion.deleted | _is_lost_to(actor) if actor.role == "member" else UsageVersion.deleted
    deleted = first(
        _changes(sa.literal(DELETED), UsageVersion, UsageVersion.superseded_at, sa.null()).where(
            *scope_criteria(UsageVersion), is_gone
        ),
        UsageVersion.superseded_at,
        UsageVersion.id,
    )
    changes = sa.union_all(recorded, deleted).subquery("changes")
    return db.session.execute(sa.select(changes).order_by(changes.c.changed_at, changes.c.usage_id).limit(limit)).all()


def _changes(kind: Any, table: Any, moment: Any, usage: Any) -> sa.Select[Any]:
    """Select changes: their position, and their JSON."""
    fields = {
        "kind": sa.cast(kind, sa.Text),
        "changed_at": moment,
        "usage_id": table.id,
        "version": table.version,
        "usage": usage,
    }
    return sa.select(
        moment.label("changed_at"), table.id.label("usage_id"), json_object(fields).label("change")
    ).select_from(table)


def _is_lost_to(member: Actor) -> sa.ColumnElement[bool]:
    """Return whether a member does not see the next version: it is another user's, and not at a site of the member."""
    columns = ("organization_id", "id", "version", "user_id", "site_id")
    next_versions = [
        # With its schema, the name of the table is not that of the CTE.
        sa.table("usages", *(sa.column(name) for name in columns), schema="public"),
        UsageVersion.__table__.alias("next_version"),
    ]
    return sa.or_(
        *(
            sa.exists().where(
                table.c.organization_id == UsageVersion.organization_id,
                table.c.id == UsageVersion.id,
                table.c.version == UsageVersion.version + 1,
                table.c.user_id != member.id,
                sa.func.coalesce(~is_any_of(table.c.site_id, member.site_ids), True),
            )
            for table in next_versions
        )
    )

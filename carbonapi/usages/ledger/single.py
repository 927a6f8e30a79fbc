"""Write single usages: insert one, and correct or delete rows that the caller has locked."""

import datetime as dt
import decimal
from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import make_transient_to_detached

from ... import audit
from ...auth import current_actor
from ...db import CompiledStatement, Viewer, db, prepare
from ...periods.service import closed_error, is_open
from ..candidates import COLUMNS, candidate_row
from ..models import Usage, UsageVersion, ledger_columns
from ..recording_time import recording_time
from .daily_totals import (
    KEY_COLUMNS,
    SOURCE_COLUMNS,
    added,
    refresh_hours,
    removed,
    update_totals_cte,
    update_totals_of_one_cte,
)
from .sql import AUDITED_COLUMNS, MIN_VERSION_AGE, archive_versions, insert_usages

PRODUCT_DIGITS = 60  # An amount in the type's unit and a factor have fewer digits together: their product is exact.
Values = dict[str, Any]


def insert(values: Values) -> Usage | None:
    """Insert a usage with the current valuation of its time. Return None if it has none, or cannot be recorded.

    values: a value for each of COLUMNS.
    """
    actor = current_actor()
    acting = {"actor_id": actor.id, "actor_organization_id": actor.organization_id}
    row = _insert_statement(actor.role).execute(values | acting | audit.actor_columns()).one_or_none()
    if row is None:
        return None
    usage = Usage(**row._mapping)
    # The session treats it as a row that it has read.
    make_transient_to_detached(usage)
    db.session.add(usage)
    return usage


@cache
def _insert_statement(role: str) -> CompiledStatement:
    """Return the statement that inserts a usage for actors of this role. It is compiled once for each role."""
    parameter: Any = sa.bindparam
    actor = Viewer(parameter("actor_id"), parameter("actor_organization_id"), role)
    candidate = candidate_row({name: parameter(name) for name in COLUMNS})
    recorded = insert_usages(candidate, actor).returning(*ledger_columns(Usage)).cte("recorded")
    entry = audit.entries_cte(recorded, Usage, "recorded", new=audit.as_jsonb("recorded", *AUDITED_COLUMNS))
    every_column = sa.select(sa.text("*")).select_from(recorded)
    return CompiledStatement(every_column.add_cte(entry, update_totals_of_one_cte(recorded)), prepared=True)


def update(usage: Usage, reason: str | None, changes: Values) -> None:
    """Set columns of a usage, after its current version is archived.

    Raises Conflict if its time is closed, before or after the change.
    """
    now = max(recording_time(usage.organization_id), usage.recorded_at + MIN_VERSION_AGE)
    old, new = _difference(usage, changes)
    archived = _archive_cte([usage], now, reason, new.get("usage_at"), deleted=False)
    entry = audit.entries_cte(archived, Usage, "corrected", old=old, new=new, reason=reason)
    statement = sa.select(archived.c.id).add_cte(entry)
    if new.keys() & {column.key for column in SOURCE_COLUMNS}:
        columns = (
            sa.cast(new[column.key], column.type).label(column.key) if column.key in new else archived.c[column.key]
            for column in SOURCE_COLUMNS
        )
        replacement = sa.select(*columns).subquery("replacement")
        moves = bool(new.keys() & KEY_COLUMNS)
        statement = statement.add_cte(update_totals_cte(removed(archived, moves=moves), added(replacement)))
    _execute_unless_closed(statement, [usage], new.get("usage_at"))
    written = {"recorded_at": now, "recorded_by": current_actor().id, "reason": reason}
    for name, value in (changes | written).items():
        setattr(usage, name, value)
    db.session.flush()
    if changes.keys() & KEY_COLUMNS:
        refresh_hours(usage.organization_id)


def delete(usages: Sequence[Usage], reason: str | None) -> None:
    """Delete usages, after their current versions are archived. Raises Conflict if one of their times is closed."""
    organization_ids = sorted({usage.organization_id for usage in usages})
    now = recording_time(*organization_ids)
    archived = _archive_cte(usages, now, reason, deleted=True)
    old = audit.as_jsonb("archived", *AUDITED_COLUMNS)
    entry = audit.entries_cte(archived, Usage, "deleted", old=old, reason=reason)
    statement = sa.select(archived.c.id).add_cte(entry, update_totals_cte(removed(archived)))
    _execute_unless_closed(statement, usages)
    db.session.execute(sa.delete(Usage).where(*_is_one_of(usages)).execution_options(synchronize_session=False))
    for organization_id in organization_ids:
        refresh_hours(organization_id)


def _archive_cte(
    usages: Sequence[Usage], now: dt.datetime, reason: str | None, moved_to: dt.datetime | None = None, *, deleted: bool
) -> sa.CTE:
    """Return a CTE that archives the versions of those usages whose time is open, and open too where they move to."""
    open_times = [is_open(Usage.organization_id, Usage.usage_at)]
    if moved_to is not None:
        open_times.append(is_open(Usage.organization_id, sa.literal(moved_to, sa.DateTime(timezone=True))))
    archive = archive_versions(now, reason, *_is_one_of(usages), *open_times, deleted=deleted)
    return archive.returning(*ledger_columns(UsageVersion)).cte("archived")


def _execute_unless_closed(
    statement: sa.Select[Any], usages: Sequence[Usage], moved_to: dt.datetime | None = None
) -> None:
    """Execute a statement that returns the archived usages. Raises Conflict if it does not return all of them."""
    if len(db.session.execute(prepare(statement)).all()) < len(usages):
        times = [usage.usage_at for usage in usages] + ([moved_to] if moved_to else [])
        raise closed_error(usages[0].organization_id, *times)


def _difference(usage: Usage, changes: Values) -> tuple[Values, Values]:
    """Return the old and the new values of the audited columns that the changes affect."""
    before = {column.name: getattr(usage, column.name) for column in AUDITED_COLUMNS}
    after = {name: changes.get(name, value) for name, value in before.items()}
    with decimal.localcontext(prec=PRODUCT_DIGITS):
        for method in ("", "market_"):
            product = after["amount_in_type_unit"] * after[f"{method}factor"]
            after[f"{method}co2e_kg"] = product + (after[f"split_{method}co2e_kg"] or 0)
    changed = [name for name in before if before[name] != after[name]]
    return {name: before[name] for name in changed}, {name: after[name] for name in changed}


def _is_one_of(usages: Sequence[Usage]) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the criteria of these rows. The organizations have a criterion of their own: it selects the machine."""
    if len(usages) == 1:  # A list of values would prevent that PostgreSQL prepares the statement.
        return Usage.organization_id == usages[0].organization_id, Usage.id == usages[0].id
    keys = [(usage.organization_id, usage.id) for usage in usages]
    return (
        Usage.organization_id.in_({organization_id for organization_id, _ in keys}),
        sa.tuple_(Usage.organization_id, Usage.id).in_(keys),
    )

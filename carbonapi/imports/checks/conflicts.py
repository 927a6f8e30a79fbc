"""Compare the rows with the usages that the ledger already has."""

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ...auth import scope_criteria
from ...catalogue.models import UsageType
from ...db import db
from ...usages import candidates
from ...usages.models import Usage
from ..formats.rows import DERIVED
from ..models import CHANGED, NEW, SKIPPED, UNCHANGED, Import
from ..staging import IS_VALID, READING_KEY, STAGED, Row, reject


def match_existing(imp: Import, columns: Collection[str]) -> None:
    """Decide which rows are new, and what happens to rows whose usage is in the ledger: see `on_conflict`."""
    visible = (Usage.organization_id == imp.organization_id, *scope_criteria(Usage))
    has_same_id = Usage.external_id == Row.external_id
    if imp.on_conflict == "reject":
        _reject_readings(existing_readings(*visible).subquery("found"))
        if "external_id" in columns:
            message = sa.func.format("'%s' is already in the ledger: usage %s.", Row.external_id, Usage.id)
            reject("external_id", Row.external_id, message, *visible, has_same_id)
    else:
        db.session.execute(sa.update(STAGED).where(IS_VALID, *visible, has_same_id).values(usage_id=Usage.id))
        _match_readings(imp, existing_readings(*visible).subquery("found"))
        _compare(imp)
    if "external_id" in columns:
        # Also those of usages that the actor may not see.
        has_usage = sa.exists().where(Usage.organization_id == imp.organization_id, has_same_id)
        message = sa.func.concat("'", Row.external_id, "' is already in the ledger.")
        reject("external_id", Row.external_id, message, Row.outcome == NEW, has_usage)


def existing_readings(*criteria: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Select the rows without an external_id that the ledger has already, each with a usage and the number of usages.

    criteria: those of the organization's usages that count. The statement reads the usages of the file's users between
    its first and its last time from an index.
    """
    usage = Usage.__table__.c
    is_reading = (IS_VALID, Row.external_id.is_(None))
    users = sa.func.array(sa.select(Row.user_id).where(*is_reading).distinct().scalar_subquery())
    first, last = (sa.select(limit(Row.usage_at)).where(*is_reading) for limit in (sa.func.min, sa.func.max))
    has_same_key = (
        usage[column.name].is_not_distinct_from(column) if usage[column.name].nullable else usage[column.name] == column
        for column in READING_KEY
    )
    return (
        sa.select(Row.line, sa.func.min(usage.id).label("usage_id"), sa.func.count().label("count"))
        .where(*is_reading, *criteria, usage.external_id.is_(None), *has_same_key)
        .where(usage.user_id == sa.any_(sa.type_coerce(users, ARRAY(sa.BigInteger))))
        .where(usage.usage_at.between(first.scalar_subquery(), last.scalar_subquery()))
        .group_by(Row.line)
    )


def _reject_readings(found: Any) -> None:
    message = sa.func.format(
        "The ledger already has this reading: usage %s has the same user, usage type and time.", found.c.usage_id
    )
    with hash_joins():
        reject("usage_at", Row.usage_at, message, found.c.line == Row.line)


def _match_readings(imp: Import, found: Any) -> None:
    with hash_joins():
        if imp.on_conflict == "replace":
            message = sa.func.format(
                "The ledger has %s usages with this user, usage type and time, and without external_id. "
                "Correct them one by one.",
                found.c.count,
            )
            reject("usage_at", Row.usage_at, message, found.c.line == Row.line, found.c.count > 1)
        matched = sa.update(STAGED).where(IS_VALID, found.c.line == Row.line)
        db.session.execute(matched.values(usage_id=found.c.usage_id))


@contextlib.contextmanager
def hash_joins() -> Iterator[None]:
    """Disable other joins within the block.

    The statistics of an organization that has just imported its first file show it as empty. PostgreSQL would then
    compare each of its usages with each row, or with each row of the same time.
    """
    db.session.execute(sa.text("SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off"))
    yield
    db.session.execute(sa.text("SET LOCAL enable_nestloop = on; SET LOCAL enable_mergejoin = on"))


def _compare(imp: Import) -> None:
    """Set the outcome of rows with a usage: unchanged, or skipped or changed if the row differs from it."""
    values: dict[str, Any] = {name: Row[name] for name in candidates.COLUMNS if name not in DERIVED}
    values["unit"] = sa.func.coalesce(Row.unit, UsageType.unit)
    is_same = sa.and_(*(Usage.__table__.c[name].is_not_distinct_from(value) for name, value in values.items()))
    outcome = sa.case((is_same, UNCHANGED), else_=SKIPPED if imp.on_conflict == "skip" else CHANGED)
    with_usage = sa.update(STAGED).where(
        IS_VALID,
        Usage.organization_id == imp.organization_id,
        Usage.id == Row.usage_id,
        UsageType.id == Usage.usage_type_id,
    )
    db.session.execute(with_usage.values(outcome=outcome))

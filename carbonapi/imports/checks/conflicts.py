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
from ..formats.rows import DERIVED, METERS
from ..models import CHANGED, SKIPPED, UNCHANGED, Import
from ..staging import IS_VALID, IS_WRITTEN, READING_KEY, STAGED, Row, reject, reject_duplicates


def match_existing(imp: Import, columns: Collection[str]) -> None:
    """Decide which rows are new, and what happens to rows whose usage is in the ledger: see `on_conflict`.

    A row with a meter is about the usage of this meter and time, or else about the one with its external_id.
    """
    visible = (Usage.organization_id == imp.organization_id, *scope_criteria(Usage))
    has_meters, has_ids = not {*columns}.isdisjoint(METERS), "external_id" in columns
    if imp.on_conflict == "reject":
        if has_meters:
            _reject_metered(usages_of_meters(*visible).subquery("found"))
        _reject_readings(existing_readings(*visible).subquery("found"))
        if has_ids:
            message = sa.func.format("'%s' is already in the ledger: usage %s.", Row.external_id, Usage.id)
            reject("external_id", Row.external_id, message, *visible, Usage.external_id == Row.external_id)
    else:
        if has_meters:
            _match(usages_of_meters(*visible).subquery("found"))
        is_named = (Row.usage_id.is_(None), Usage.external_id == Row.external_id)
        db.session.execute(sa.update(STAGED).where(IS_VALID, *visible, *is_named).values(usage_id=Usage.id))
        _match_readings(imp, existing_readings(*visible).subquery("found"))
        if has_meters and has_ids:
            key, same_usage = [Row.usage_id], "Line %2$s is about the same usage. Remove one of the lines."
            reject_duplicates("external_id", Row.external_id, key, same_usage, Row.usage_id.is_not(None))
        _reject_contradictions(imp)
        _compare(imp)
    _reject_taken(imp, has_meters=has_meters, has_ids=has_ids)


def usages_of_meters(*criteria: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Select the rows whose meter has a usage at their time, each with the usage.

    criteria: those of the organization's usages that count.
    """
    usage = Usage.__table__.c
    with_meter = (IS_VALID, Row.meter_id.is_not(None))
    meters = sa.func.array(sa.select(Row.meter_id).where(*with_meter).distinct().scalar_subquery())
    first, last = (sa.select(limit(Row.usage_at)).where(*with_meter) for limit in (sa.func.min, sa.func.max))
    return (
        sa.select(Row.line, usage.id.label("usage_id"))
        .where(*with_meter, *criteria, usage.meter_id == Row.meter_id, usage.usage_at == Row.usage_at)
        .where(usage.meter_id == sa.any_(sa.type_coerce(meters, ARRAY(sa.BigInteger))))
        .where(usage.usage_at.between(first.scalar_subquery(), last.scalar_subquery()))
    )


def existing_readings(*criteria: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Select the rows without meter and external_id that the ledger has, each with a usage and the number of usages.

    criteria: those of the organization's usages that count. The statement reads the usages of the file's users between
    its first and its last time from an index.
    """
    usage = Usage.__table__.c
    is_reading = (IS_VALID, Row.external_id.is_(None), Row.meter_id.is_(None))
    users = sa.func.array(sa.select(Row.user_id).where(*is_reading).distinct().scalar_subquery())
    first, last = (sa.select(limit(Row.usage_at)).where(*is_reading) for limit in (sa.func.min, sa.func.max))
    has_same_key = (
        usage[column.name].is_not_distinct_from(column) if usage[column.name].nullable else usage[column.name] == column
        for column in READING_KEY
    )
    return (
        sa.select(Row.line, sa.func.min(usage.id).label("usage_id"), sa.func.count().label("count"))
        .where(*is_reading, *criteria, usage.external_id.is_(None), usage.meter_id.is_(None), *has_same_key)
        .where(usage.user_id == sa.any_(sa.type_coerce(users, ARRAY(sa.BigInteger))))
        .where(usage.usage_at.between(first.scalar_subquery(), last.scalar_subquery()))
        .group_by(Row.line)
    )


def _reject_metered(found: Any) -> None:
    message = sa.func.format("The meter %s already has a usage at this time: usage %s.", Row.meter_id, found.c.usage_id)
    with hash_joins():
        reject("usage_at", Row.usage_at, message, found.c.line == Row.line)


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
    _match(found)


def _match(found: Any) -> None:
    matched = sa.update(STAGED).where(IS_VALID, found.c.line == Row.line)
    with hash_joins():
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


def _reject_contradictions(imp: Import) -> None:
    """Reject rows without a meter that would give a usage with a meter another usage type or site."""
    message = sa.func.format("Usage %s keeps its meter, %s. Set `meter_id` to correct it.", Usage.id, Usage.meter_id)
    is_other = (Usage.usage_type_id != Row.usage_type_id) | (Usage.site_id != Row.site_id)
    criteria = (Usage.organization_id == imp.organization_id, Usage.id == Row.usage_id, Usage.meter_id.is_not(None))
    reject("external_id", Row.external_id, message, *criteria, Row.meter_id.is_(None), is_other)


def _compare(imp: Import) -> None:
    """Set the outcome of rows with a usage: unchanged, or skipped or changed if the row differs from it.

    Where the row has none, the usage keeps its meter, its site and the region there; found by its meter, also its
    external_id. It stays at its site if the row has the same meter, although the meter may have moved.
    """
    usage = Usage.__table__.c
    keeps_meter = Usage.meter_id.is_not(None) & sa.func.coalesce(Row.meter_id == Usage.meter_id, sa.true())
    site_id = sa.case((keeps_meter, Usage.site_id), else_=sa.func.coalesce(Row.site_id, Usage.site_id))
    is_found_by_meter = sa.func.coalesce(
        (Usage.meter_id == Row.meter_id) & (Usage.usage_at == Row.usage_at), sa.false()
    )
    merged: dict[str, Any] = {
        "meter_id": sa.func.coalesce(Row.meter_id, Usage.meter_id),
        "site_id": site_id,
        "region": sa.func.coalesce(Row.region, sa.case((site_id == Usage.site_id, Usage.region))),
        "external_id": sa.func.coalesce(Row.external_id, sa.case((is_found_by_meter, Usage.external_id))),
    }
    values: dict[str, Any] = {name: Row[name] for name in candidates.COLUMNS if name not in DERIVED} | merged
    values["unit"] = sa.func.coalesce(Row.unit, UsageType.unit)
    is_same = sa.and_(*(usage[name].is_not_distinct_from(value) for name, value in values.items()))
    outcome = sa.case((is_same, UNCHANGED), else_=SKIPPED if imp.on_conflict == "skip" else CHANGED)
    with_usage = sa.update(STAGED).where(
        IS_VALID,
        Usage.organization_id == imp.organization_id,
        Usage.id == Row.usage_id,
        UsageType.id == Usage.usage_type_id,
    )
    db.session.execute(with_usage.values(outcome=outcome, **merged))


def _reject_taken(imp: Import, *, has_meters: bool, has_ids: bool) -> None:
    """Reject rows to write whose external_id, or meter and time, another usage has, also one that is not visible."""
    other = (IS_WRITTEN, Usage.organization_id == imp.organization_id, Usage.id.is_distinct_from(Row.usage_id))
    if has_ids:
        message = sa.func.concat("'", Row.external_id, "' is already in the ledger.")
        reject("external_id", Row.external_id, message, *other, Usage.external_id == Row.external_id)
    if has_meters or imp.on_conflict == "replace":
        taken = sa.func.format("The meter %s already has a usage at this time.", Row.meter_id)
        has_meter = (Usage.meter_id == Row.meter_id, Usage.usage_at == Row.usage_at)
        reject("usage_at", Row.usage_at, taken, *other, Row.meter_id.is_not(None), *has_meter)

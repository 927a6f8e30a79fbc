"""Compare the rows with the usages that the ledger already has."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ...auth import scope_criteria
from ...catalogue.models import UsageType
from ...db import db
from ...usages import candidates
from ...usages.models import Usage
from ..models import CHANGED, NEW, SKIPPED, UNCHANGED, Import
from ..staging import IS_VALID, STAGED, Row, reject, reject_duplicates


def match_existing(imp: Import, columns: Collection[str]) -> None:
    """Decide which rows are new, and what happens to rows whose usage is in the ledger: see `on_conflict`."""
    if imp.on_conflict != "reject":
        visible = [Usage.organization_id == imp.organization_id, *scope_criteria(Usage)]
        found = sa.update(STAGED).where(IS_VALID, *visible, Usage.external_id == Row.external_id)
        db.session.execute(found.values(usage_id=Usage.id))
        _find_by_time(imp, visible)
        _compare(imp)
    if "external_id" in columns:
        # Also those of usages that the actor may not see.
        has_usage = sa.exists().where(
            Usage.organization_id == imp.organization_id, Usage.external_id == Row.external_id
        )
        message = sa.func.concat("'", Row.external_id, "' is already in the ledger.")
        reject("external_id", Row.external_id, message, Row.outcome == NEW, has_usage)


def _find_by_time(imp: Import, visible: list[sa.ColumnElement[bool]]) -> None:
    """Find the usages of rows without an external_id: by user, usage type and time."""
    has_no_id = Row.external_id.is_(None)
    key = [Row.user_id, Row.usage_type_id, Row.usage_at]
    reject_duplicates("usage_at", Row.usage_at, key, has_no_id)
    has_same_key = [Usage.__table__.c[column.name] == column for column in key]
    found = (
        sa.select(Row.line, sa.func.min(Usage.id).label("usage_id"), sa.func.count().label("count"))
        .where(IS_VALID, has_no_id, *visible, Usage.external_id.is_(None), *has_same_key)
        .group_by(Row.line)
        .subquery("found")
    )
    if imp.on_conflict == "replace":
        message = sa.func.format(
            "The ledger has %s usages with this user, usage type and time, and without external_id. "
            "Correct them one by one.",
            found.c.count,
        )
        reject("usage_at", Row.usage_at, message, found.c.line == Row.line, found.c.count > 1)
    matched = sa.update(STAGED).where(IS_VALID, found.c.line == Row.line)
    db.session.execute(matched.values(usage_id=found.c.usage_id))


def _compare(imp: Import) -> None:
    """Set the outcome of rows with a usage: unchanged, or skipped or changed if the row differs from it."""
    values: dict[str, Any] = {name: Row[name] for name in candidates.COLUMNS if name != "amount_in_type_unit"}
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

"""Usages as they are given: as a table of the statement that records them, and why some of them cannot be."""

from typing import Any

import sqlalchemy as sa

from ..accounts.models import Organization, User
from ..auth import scope_criteria
from ..catalogue.factor_selection import FactorLookup, missing_factor_error
from ..catalogue.models import UsageType
from ..db import db
from ..errors import CarbonError
from ..periods.service import closed_error, is_open
from .models import Usage
from .validation import archived_type, unknown_usage_type, unknown_user

# What a usage consists of as it is recorded; the rest follows from these.
COLUMNS = {
    column.key: column.type
    for column in (
        Usage.user_id,
        Usage.usage_type_id,
        Usage.usage_at,
        Usage.usage_until,
        Usage.amount,
        Usage.unit,
        Usage.amount_in_type_unit,
        Usage.region,
        Usage.method,
        Usage.quality,
        Usage.note,
        Usage.external_id,
        Usage.adjusts_closed_period_id,
    )
}


def candidate_row(usage: dict[str, Any]) -> Any:
    """The usage as a table of the statement: columns as in COLUMNS, and its `place`, which is 1."""
    values = [sa.cast(usage.get(name), type_).label(name) for name, type_ in COLUMNS.items()]
    return sa.select(sa.literal(1).label("place"), *values).subquery("given")


def effective_region(given: Any) -> sa.ColumnElement[str]:
    return sa.func.coalesce(given.c.region, Organization.region)


def factor_lateral(given: Any) -> Any:
    """The factor of each usage given, beside it in the statement."""
    want = FactorLookup(
        given.c.usage_type_id, Organization.id, effective_region(given), given.c.method, given.c.usage_at
    )
    return want.chosen().lateral("factor")


def unrecordable(given: Any, *whose: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Those of the usages given that cannot be recorded: place, what they name, and what there is of it."""
    factor = factor_lateral(given)
    return (
        sa.select(
            given.c.place,
            given.c.user_id,
            given.c.usage_type_id,
            given.c.usage_at,
            given.c.method,
            User.id.label("known_user_id"),
            User.organization_id,
            effective_region(given).label("region"),
            UsageType.id.label("known_type_id"),
            UsageType.name,
            UsageType.unit,
            UsageType.archived,
            is_open(User.organization_id, given.c.usage_at).label("is_open"),
            factor.c.id.label("factor_id"),
        )
        .select_from(given)
        .outerjoin(User, sa.and_(User.id == given.c.user_id, *scope_criteria(User), *whose))
        .outerjoin(Organization, Organization.id == User.organization_id)
        .outerjoin(UsageType, UsageType.id == given.c.usage_type_id)
        .outerjoin(factor, sa.true())
        .where(
            sa.or_(
                User.id.is_(None),
                UsageType.id.is_(None),
                UsageType.archived,
                factor.c.id.is_(None),
                ~is_open(User.organization_id, given.c.usage_at),
            )
        )
        .order_by(given.c.place)
    )


def why_unrecordable(given: Any) -> CarbonError:
    """Why the one usage given cannot be recorded."""
    row = db.session.execute(unrecordable(given).limit(1)).one()
    if row.known_user_id is None:
        return unknown_user(row.user_id)
    if row.known_type_id is None:
        return unknown_usage_type(row.usage_type_id)
    usage_type = db.session.get_one(UsageType, row.known_type_id)
    if usage_type.archived:
        return archived_type(usage_type)
    if not row.is_open:
        return closed_error(row.organization_id, row.usage_at)
    return missing_factor_error(
        usage_type, FactorLookup(usage_type.id, row.organization_id, row.region, row.method, row.usage_at)
    )

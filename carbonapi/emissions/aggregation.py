"""Adding up parts of usages: the figures that all answers about emissions are made of."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from ..accounts.models import Organization, User
from ..catalogue.models import UsageType
from ..errors import ValidationFailed

# What usages can be grouped by, and the column that tells these groups apart, or leads to what does.
KEYS = {
    "usage_type": "usage_type_id",
    "user": "user_id",
    "scope": "usage_type_id",
    "organization": "organization_id",
}
GROUPS = tuple(KEYS)
SHARE_DIGITS = Decimal("0.000001")
Figures = dict[str, Any]


def aggregate(parts: Any, groups: Iterable[str], *keys: str) -> Any:
    """The parts added up by these keys, by usage type, and by what tells these groups apart, as a table.

    This comes first, so that the names, and a second adding up, are of few rows.
    """
    columns = [parts.c[name] for name in dict.fromkeys((*keys, "usage_type_id", *(KEYS[group] for group in groups)))]
    return (
        sa.select(
            *columns,
            sa.func.sum(parts.c.co2e_kg).label("co2e_kg"),
            sa.func.sum(parts.c.usage_count).label("usage_count"),
            sa.func.sum(parts.c.amount).label("amount"),
            sa.func.sum(parts.c.estimated_kg).label("estimated_kg"),
            sa.func.min(parts.c.method).label("first_method"),
            sa.func.max(parts.c.method).label("last_method"),
        )
        .group_by(*columns)
        .subquery("added")
    )


def totals(added: Any) -> tuple[sa.ColumnElement[Any], ...]:
    """What all of it comes to. The amount means something only where all is of one usage type."""
    one_type = sa.func.min(added.c.usage_type_id) == sa.func.max(added.c.usage_type_id)
    return (
        sa.func.sum(added.c.co2e_kg).label("co2e_kg"),
        sa.cast(sa.func.sum(added.c.usage_count), sa.BigInteger).label("usage_count"),
        sa.case((one_type, sa.func.sum(added.c.amount))).label("amount"),
        sa.case((one_type, sa.func.min(UsageType.unit))).label("unit"),
        sa.func.coalesce(sa.func.sum(added.c.estimated_kg), 0).label("estimated_kg"),
        sa.func.min(added.c.first_method).label("first_method"),
        sa.func.max(added.c.last_method).label("last_method"),
    )


def group_column(added: Any, group_by: str) -> tuple[Any, Any]:
    """The column that tells the groups apart, and the one that names them."""
    match group_by:
        case "usage_type":
            return added.c.usage_type_id, UsageType.name
        case "user":
            return added.c.user_id, User.name
        case "scope":
            return UsageType.scope, sa.literal("scope ").op("||")(sa.cast(UsageType.scope, sa.Text))
        case _:
            return added.c.organization_id, Organization.name


def join_names(statement: sa.Select[Any], added: Any) -> sa.Select[Any]:
    """The statement, of what was added up and what names its groups."""
    statement = statement.select_from(added).join(UsageType, UsageType.id == added.c.usage_type_id)
    if "user_id" in added.c:
        statement = statement.join(User, User.id == added.c.user_id)
    if "organization_id" in added.c:
        statement = statement.join(Organization, Organization.id == added.c.organization_id)
    return statement


def check_single_method(rows: Iterable[Any]) -> None:
    """Raise Invalid if the usages that were added up are of both methods: these tell one emission in two ways."""
    if len({method for row in rows for method in (row.first_method, row.last_method) if method}) > 1:
        message = (
            "These usages are location-based and market-based, which are never added together. Ask for one method."
        )
        raise ValidationFailed(message, {"query": {"method": [message]}})


def to_figures(row: Any) -> Figures:
    """The figures of one row of sums; amount and unit only where they mean something."""
    figures = {"co2e_kg": row.co2e_kg, "usage_count": row.usage_count}
    return figures if row.amount is None else figures | {"amount": row.amount, "unit": row.unit}


def share(part: Decimal, whole: Decimal) -> Decimal | None:
    """The part's share of the whole, to six digits; None of nothing."""
    return (part / whole).quantize(SHARE_DIGITS) if whole else None

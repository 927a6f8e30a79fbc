"""Aggregation: add up the parts of usages, by usage type and by group."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from ..accounts.models import Organization, User
from ..catalogue.models import UsageType
from ..errors import ValidationFailed

# The groups, and the column of a part that each is derived from.
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
    """Return the parts added up by these keys, by usage type and by the columns of these groups, as a table.

    It has few rows, so that joining names and adding up again are cheap.
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
    """Return the columns that add everything up. The amount is null unless all of it is of one usage type.

    The emissions of usage types outside of the scopes, such as biogenic CO2, are not added.
    """
    counts = ~UsageType.outside_of_scopes
    one_type = sa.func.min(added.c.usage_type_id) == sa.func.max(added.c.usage_type_id)
    return (
        sa.func.coalesce(sa.func.sum(added.c.co2e_kg).filter(counts), 0).label("co2e_kg"),
        sa.cast(sa.func.sum(added.c.usage_count), sa.BigInteger).label("usage_count"),
        sa.case((one_type, sa.func.sum(added.c.amount))).label("amount"),
        sa.case((one_type, sa.func.min(UsageType.unit))).label("unit"),
        sa.func.coalesce(sa.func.sum(added.c.estimated_kg).filter(counts), 0).label("estimated_kg"),
        sa.func.min(added.c.first_method).label("first_method"),
        sa.func.max(added.c.last_method).label("last_method"),
    )


def group_column(added: Any, group_by: str) -> tuple[Any, Any]:
    """Return the column that identifies a group, and the column that names it."""
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
    """Return the statement with joins to the tables that name the groups."""
    statement = statement.select_from(added).join(UsageType, UsageType.id == added.c.usage_type_id)
    if "user_id" in added.c:
        statement = statement.join(User, User.id == added.c.user_id)
    if "organization_id" in added.c:
        statement = statement.join(Organization, Organization.id == added.c.organization_id)
    return statement


def check_single_method(rows: Iterable[Any]) -> None:
    """Raise ValidationFailed if the usages are of both methods, which state the same emissions in two ways."""
    if len({method for row in rows for method in (row.first_method, row.last_method) if method}) > 1:
        message = "Location-based and market-based usages cannot be added together. Set method to one of them."
        raise ValidationFailed(message, {"query": {"method": [message]}})


def to_figures(row: Any) -> Figures:
    """Return the figures of one row of sums; amount and unit only if all usages are of one type."""
    figures = {"co2e_kg": row.co2e_kg, "usage_count": row.usage_count}
    return figures if row.amount is None else figures | {"amount": row.amount, "unit": row.unit}


def share(part: Decimal, whole: Decimal) -> Decimal | None:
    """Return the share of the whole, to six digits; None if the whole is zero."""
    return (part / whole).quantize(SHARE_DIGITS) if whole else None

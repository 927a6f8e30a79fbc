"""Aggregation: add up the parts of usages by valuation, multiply by the factors, and add up by group.

The amounts are added up first, so however many usages there are, few rows are multiplied. The products are exact.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..accounts.models import Organization, User
from ..catalogue.models import DEFAULT_METHOD, UsageType
from ..catalogue.valuations import Valuation, line_factors

# The groups, and the column of a part that each is derived from.
KEYS = {
    "usage_type": "usage_type_id",
    "user": "user_id",
    "scope": "valuation_id",
    "category": "valuation_id",
    "organization": "organization_id",
}
GROUPS = tuple(KEYS)
LINE_GROUPS = ("scope", "category")  # The lines of one usage can be in several of these groups.
SHARE_DIGITS = Decimal("0.000001")
SCOPES = sa.bindparam("scopes", type_=ARRAY(sa.SmallInteger))
Figures = dict[str, Any]


@dataclass(frozen=True)
class Basis:
    """Which lines of the valuations count: those of the method, and of SCOPES if `has_scopes`."""

    method: str = DEFAULT_METHOD
    has_scopes: bool = False


def aggregate(parts: Any, groups: Iterable[str], *keys: str, name: str = "added") -> Any:
    """Return a CTE of the amounts of the parts, by these keys, by valuation and by the columns of these groups."""
    names = ("organization_id", "usage_type_id", "valuation_id", *(KEYS[group] for group in groups))
    columns = [parts.c[name] for name in dict.fromkeys((*keys, *names))]
    sums = (sa.func.sum(parts.c[name]).label(name) for name in ("usage_count", "amount", "estimated_amount"))
    return sa.select(*columns, *sums).group_by(*columns).cte(name)


def evaluate(added: Any, basis: Basis, line_group: str | None = None) -> Any:
    """Return the aggregated amounts with their kg CO2e, as a table; with a row for each `line_group` of their lines."""
    if line_group or basis.has_scopes:
        lines = line_factors(
            basis.method, *([line_group] if line_group else []), scopes=SCOPES if basis.has_scopes else None
        )
        factors = {name: lines.c[name] for name in ("factor", "location_factor", "market_factor")}
        join, ids = lines, (lines.c.organization_id, lines.c.valuation_id)
        of_line = [lines.c[line_group]] if line_group else []
    else:
        valuation = Valuation.__table__
        location, market = valuation.c.location_total, valuation.c.market_total
        factors = {
            "factor": location if basis.method == DEFAULT_METHOD else market,
            "location_factor": location,
            "market_factor": market,
        }
        join, ids, of_line = valuation, (valuation.c.organization_id, valuation.c.id), []
    kept = [column for column in added.c if column.name != "estimated_amount"]
    return (
        sa.select(
            *kept,
            *of_line,
            (added.c.amount * factors["factor"]).label("co2e_kg"),
            (added.c.amount * factors["location_factor"]).label("location_co2e_kg"),
            (added.c.amount * factors["market_factor"]).label("market_co2e_kg"),
            (added.c.estimated_amount * factors["factor"]).label("estimated_kg"),
        )
        .join_from(added, join, (ids[0] == added.c.organization_id) & (ids[1] == added.c.valuation_id))
        .subquery("evaluated")
    )


def totals(evaluated: Any) -> tuple[sa.ColumnElement[Any], ...]:
    """Return the columns that add everything up. The amount is null unless all of it is of one usage type."""
    one_type = sa.func.min(evaluated.c.usage_type_id) == sa.func.max(evaluated.c.usage_type_id)
    return (
        *(sa.func.sum(evaluated.c[name]).label(name) for name in ("co2e_kg", "location_co2e_kg", "market_co2e_kg")),
        sa.cast(sa.func.sum(evaluated.c.usage_count), sa.BigInteger).label("usage_count"),
        sa.case((one_type, sa.func.sum(evaluated.c.amount))).label("amount"),
        sa.case((one_type, sa.func.min(UsageType.unit))).label("unit"),
        sa.func.coalesce(sa.func.sum(evaluated.c.estimated_kg), 0).label("estimated_kg"),
    )


def group_column(evaluated: Any, group_by: str) -> tuple[Any, Any, Any]:
    """Return the column that identifies a group, its id, and its name."""
    match group_by:
        case "usage_type":
            return evaluated.c.usage_type_id, evaluated.c.usage_type_id, UsageType.name
        case "user":
            return evaluated.c.user_id, evaluated.c.user_id, User.name
        case "scope":
            scope = evaluated.c.scope
            return scope, scope, sa.literal("scope ").op("||")(sa.cast(scope, sa.Text))
        case "category":
            return evaluated.c.category, sa.cast(sa.null(), sa.BigInteger), evaluated.c.category
        case _:
            return evaluated.c.organization_id, evaluated.c.organization_id, Organization.name


def join_names(statement: sa.Select[Any], evaluated: Any) -> sa.Select[Any]:
    """Return the statement with joins to the tables that name the groups."""
    statement = statement.select_from(evaluated).join(UsageType, UsageType.id == evaluated.c.usage_type_id)
    if "user_id" in evaluated.c:
        statement = statement.join(User, User.id == evaluated.c.user_id)
    return statement.join(Organization, Organization.id == evaluated.c.organization_id)


def to_figures(row: Any) -> Figures:
    """Return the figures of one row of sums; amount and unit only if all usages are of one type."""
    figures = {name: getattr(row, name) for name in ("co2e_kg", "location_co2e_kg", "market_co2e_kg", "usage_count")}
    return figures if row.amount is None else figures | {"amount": row.amount, "unit": row.unit}


def share(part: Decimal, whole: Decimal) -> Decimal | None:
    """Return the share of the whole, to six digits; None if the whole is zero."""
    return (part / whole).quantize(SHARE_DIGITS) if whole else None

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
from ..catalogue.models import DEFAULT_METHOD, LOCATION, MARKET, METHODS, UsageType
from ..catalogue.valuations import Valuation, line_factors
from ..sites.models import Meter, Site

# The groups, and the column of a part that each is derived from.
KEYS = {
    "usage_type": "usage_type_id",
    "user": "user_id",
    "scope": "valuation_id",
    "category": "valuation_id",
    "organization": "organization_id",
    "site": "site_id",
    "meter": "meter_id",
    "region": "region",
}
GROUPS = tuple(KEYS)
# Daily totals do not have these columns.
GROUPS_OF_USAGES = frozenset({"user", "site", "meter", "region"})
LINE_GROUPS = ("scope", "category")  # The lines of one usage can be in several of these groups.
SHARE_DIGITS = Decimal("0.000001")
SCOPES = sa.bindparam("scopes", type_=ARRAY(sa.SmallInteger))
SUMS = ("co2e_kg", "location_co2e_kg", "market_co2e_kg", "provisional_co2e_kg", "usage_count")
UNCONVERTED = "unconverted_co2e_kg"
Figures = dict[str, Any]


@dataclass(frozen=True)
class Basis:
    """Which lines of the valuations count: those of the method, and of SCOPES if `has_scopes`.

    gwp_set: the set of global warming potentials that their gases are converted to.
    """

    method: str = DEFAULT_METHOD
    has_scopes: bool = False
    gwp_set: str | None = None

    @property
    def sums(self) -> tuple[str, ...]:
        """The names of the sums that every figure has."""
        return (*SUMS, UNCONVERTED) if self.gwp_set else SUMS

    def line_factors(self, *keys: str) -> Any:
        """Return the factors of the lines that count, as a table."""
        return line_factors(*keys, scopes=SCOPES if self.has_scopes else None, gwp_set=self.gwp_set)


def aggregate(
    parts: Any, groups: Iterable[str], *keys: str, name: str = "added", amounts: Iterable[str] = ("amount",)
) -> Any:
    """Return a CTE of these amounts of the parts, by these keys, by valuation and by the columns of these groups."""
    names = ("organization_id", "usage_type_id", "valuation_id", *(KEYS[group] for group in groups))
    columns = [parts.c[name] for name in dict.fromkeys((*keys, *names))]
    sums = (sa.func.sum(parts.c[name]).label(name) for name in ("usage_count", *amounts))
    return sa.select(*columns, *sums).group_by(*columns).cte(name)


def evaluate(added: Any, basis: Basis, line_group: str | None = None) -> Any:
    """Return a CTE of the aggregated amounts with their kg CO2e; with a row for each `line_group` of their lines."""
    valuation: Any = Valuation.__table__
    of_method = {LOCATION: valuation.c.location_total, MARKET: valuation.c.market_total}
    group_columns = []
    of_valuation = (valuation.c.organization_id == added.c.organization_id) & (valuation.c.id == added.c.valuation_id)
    source = sa.join(added, valuation, of_valuation)
    if line_group or basis.has_scopes or basis.gwp_set:
        factors = basis.line_factors(*[line_group] if line_group else [])
        of_method = {name: factors.c[name] for name in METHODS}
        group_columns = [factors.c[line_group]] if line_group else []
        of_lines = (factors.c.organization_id == valuation.c.organization_id) & (
            factors.c.valuation_id == valuation.c.id
        )
        source = source.join(factors, of_lines)
    amounts = {f"{method}_co2e_kg": added.c.amount * of_method[method] for method in METHODS}
    amounts["provisional_co2e_kg"] = sa.case((valuation.c.provisional, amounts[f"{basis.method}_co2e_kg"]), else_=0)
    if "estimated_amount" in added.c:
        amounts["estimated_kg"] = added.c.estimated_amount * of_method[basis.method]
    if basis.gwp_set:
        amounts[UNCONVERTED] = added.c.amount * factors.c[f"unconverted_{basis.method}"]
    name = added.name.replace("added", "co2e")
    return (
        sa.select(
            *(column for column in added.c if column.name not in ("estimated_amount", "valuation_id")),
            *group_columns,
            *(amount.label(name) for name, amount in amounts.items()),
        )
        .select_from(source)
        .cte(f"{name}_by_{line_group}" if line_group else name)
    )


def totals(evaluated: Any, basis: Basis) -> tuple[sa.ColumnElement[Any], ...]:
    """Return the columns that add everything up. The amount is null unless all of it is of one usage type."""
    estimated = [evaluated.c.estimated_kg] if "estimated_kg" in evaluated.c else []
    one_type = sa.func.min(evaluated.c.usage_type_id) == sa.func.max(evaluated.c.usage_type_id)
    by_method = {method: sa.func.sum(evaluated.c[f"{method}_co2e_kg"]) for method in METHODS}
    return (
        by_method[basis.method].label("co2e_kg"),
        *(by_method[method].label(f"{method}_co2e_kg") for method in METHODS),
        sa.func.sum(evaluated.c.provisional_co2e_kg).label("provisional_co2e_kg"),
        sa.cast(sa.func.sum(evaluated.c.usage_count), sa.BigInteger).label("usage_count"),
        sa.case((one_type, sa.func.sum(evaluated.c.amount))).label("amount"),
        sa.case((one_type, sa.func.min(UsageType.unit))).label("unit"),
        *(sa.func.coalesce(sa.func.sum(kg), 0).label("estimated_kg") for kg in estimated),
        *([sa.func.sum(evaluated.c[UNCONVERTED]).label(UNCONVERTED)] if basis.gwp_set else []),
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
        case "site":
            return evaluated.c.site_id, evaluated.c.site_id, Site.name
        case "meter":
            return evaluated.c.meter_id, evaluated.c.meter_id, Meter.name
        case "region":
            region = sa.func.coalesce(evaluated.c.region, Organization.region)
            return region, sa.cast(sa.null(), sa.BigInteger), region
        case _:
            return evaluated.c.organization_id, evaluated.c.organization_id, Organization.name


def join_names(statement: sa.Select[Any], evaluated: Any, group: str | None = None) -> sa.Select[Any]:
    """Return the statement with joins to the tables that name the usage types and this group."""
    statement = statement.select_from(evaluated).join(UsageType, UsageType.id == evaluated.c.usage_type_id)
    match group:
        case "user":
            return statement.join(User, User.id == evaluated.c.user_id)
        case "organization" | "region":
            return statement.join(Organization, Organization.id == evaluated.c.organization_id)
        case "site" | "meter":
            table: Any = (Site if group == "site" else Meter).__table__
            is_of_organization = table.c.organization_id == evaluated.c.organization_id
            return statement.outerjoin(table, is_of_organization & (table.c.id == evaluated.c[KEYS[group]]))
        case _:
            return statement


def to_figures(row: Any) -> Figures:
    """Return the figures of one row of sums; amount and unit only if all usages are of one type."""
    figures: Figures = {name: getattr(row, name) for name in SUMS}
    if UNCONVERTED in row._fields and row.unconverted_co2e_kg is not None:  # Only if the gases are converted.
        figures[UNCONVERTED] = row.unconverted_co2e_kg
    return figures if row.amount is None else figures | {"amount": row.amount, "unit": row.unit}


def share(part: Decimal, whole: Decimal) -> Decimal | None:
    """Return the share of the whole, to six digits; None if the whole is zero."""
    return (part / whole).quantize(SHARE_DIGITS) if whole else None

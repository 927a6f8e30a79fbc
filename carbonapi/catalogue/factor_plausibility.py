"""Find imported factors that are far from comparable ones, such as grams that were taken for kilograms."""

from collections import defaultdict
from decimal import Decimal
from statistics import median

import sqlalchemy as sa

from ..db import db
from ..rest.fields import format_decimal
from .factor_import_result import NewFactor
from .factor_timeline import Key, Timeline
from .models import EmissionFactor, UsageType

FAR = 100
FEW = 50
# Units of energy: one of them never has a hundred times the emissions of the others that are usual.
ENERGY_UNITS = frozenset({"wh", "kwh", "mwh", "gwh", "kj", "mj", "gj", "tj", "therm", "mmbtu"})


def implausible_factors(new: list[NewFactor], in_force: dict[Key, Timeline]) -> list[tuple[int, str]]:
    """Return the line and a warning for each new factor that is 100 times off the median of its neighbors.

    Neighbors are the factors of the same usage type in other regions and years, in force or new. A type of energy that
    has none is compared with the other types in its unit, and only a larger factor is reported.
    """
    by_type: dict[int, list[Decimal]] = defaultdict(list)
    for (usage_type_id, _, _), timeline in in_force.items():
        by_type[usage_type_id] += [factor.factor for factor in timeline.factors if factor.factor]
    typical_of_type = {usage_type_id: median(factors) for usage_type_id, factors in by_type.items() if factors}
    by_unit = _factors_by_unit({added.usage_type.unit.casefold() for added in new})
    warnings = []
    for added in new:
        factor = added.factor.factor
        neighbors = by_type[added.usage_type.id]
        typical = typical_of_type.get(added.usage_type.id)
        if len(neighbors) < FEW:  # One factor has a part in the median.
            rest = [*neighbors, *([added.replaced.factor] if added.replaced and added.replaced.factor else [])]
            if factor:
                rest.remove(factor)
            typical = median(rest) if rest else None
        others = f"other factors of {added.usage_type.name}"
        if typical is None:
            typical, others = by_unit.get(added.usage_type.unit.casefold()), "other factors per unit of energy"
            if typical is None or factor < typical * FAR:
                continue
        if factor and not typical / FAR < factor < typical * FAR:
            warnings.append(
                (
                    added.line,
                    f"{format_decimal(factor)} kg CO2e per {added.usage_type.unit} is far from {others}, about "
                    f"{format_decimal(round(typical, 6))}. Are the figures in kg, and in this unit?",
                )
            )
    return warnings


def _factors_by_unit(units: set[str]) -> dict[str, Decimal]:
    """Return the median of the visible factors in force by unit of energy."""
    unit = sa.func.lower(UsageType.unit)
    middle = sa.cast(sa.func.percentile_cont(0.5).within_group(EmissionFactor.factor), sa.Numeric)
    statement = (
        sa.select(unit, middle)
        .join(EmissionFactor, EmissionFactor.usage_type_id == UsageType.id)
        .where(unit.in_(units & ENERGY_UNITS), EmissionFactor.superseded_at.is_(None), EmissionFactor.factor > 0)
        .group_by(unit)
    )
    return {name: typical for name, typical in db.session.execute(statement)}  # noqa: C416

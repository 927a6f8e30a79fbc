"""Amounts as they were given, and in their usage type's own unit."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ..access import fetch, visible
from ..catalogue.models import UsageType
from ..catalogue.units import unit_in
from ..db import db
from ..errors import CarbonError, Invalid
from .models import Usage
from .refusals import Refused


def measured(usage_type: UsageType, amount: Decimal, unit: str) -> dict[str, Any]:
    """The unit as it is called, and the amount in the type's own. Raises Invalid for a unit of another dimension."""
    known = unit_in(unit, usage_type.unit)
    return {"unit": known.unit, "amount_in_type_unit": known.convert(amount)}


def all_measured(usages: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """The usages, those with a unit measured in their type's own. Raises Refused for units that cannot be."""
    ids = {usage["usage_type_id"] for usage in usages if usage.get("unit")}
    if not ids:
        return usages
    usage_types = {found.id: found for found in db.session.scalars(visible(UsageType).where(UsageType.id.in_(ids)))}
    in_type_unit = []
    faults: dict[int, CarbonError] = {}
    for place, usage in enumerate(usages):
        usage_type, unit = usage_types.get(usage["usage_type_id"]), usage.get("unit")
        try:
            in_type_unit.append(usage | measured(usage_type, usage["amount"], unit) if usage_type and unit else usage)
        except Invalid as fault:
            faults[place] = fault
    if faults:
        raise Refused(faults)
    return in_type_unit


def measured_anew(usage: Usage, changes: dict[str, Any]) -> dict[str, Any]:
    """The unit and the amount in the type's unit, after these changes.

    An amount in the old type's own unit is one in the new type's; another unit must be of the new type's dimension.
    """
    amount = changes.get("amount", usage.amount)
    if changes.keys().isdisjoint({"usage_type_id", "unit"}) and usage.amount == usage.amount_in_type_unit != 0:
        return {"amount_in_type_unit": amount}
    usage_type = fetch(UsageType, changes.get("usage_type_id", usage.usage_type_id))
    of_its_type = usage.unit == fetch(UsageType, usage.usage_type_id).unit
    return measured(usage_type, amount, changes.get("unit") or (usage_type.unit if of_its_type else usage.unit))

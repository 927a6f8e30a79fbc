"""Amounts as they were given, and in their usage type's own unit."""

from decimal import Decimal
from typing import Any

from ..auth import get_visible
from ..catalogue.models import UsageType
from ..catalogue.units import find_unit
from .models import Usage


def normalized(usage_type: UsageType, amount: Decimal, unit: str) -> dict[str, Any]:
    """The unit as it is called, and the amount in the type's own. Raises Invalid for a unit of another dimension."""
    known = find_unit(unit, usage_type.unit)
    return {"unit": known.unit, "amount_in_type_unit": known.convert(amount)}


def renormalized(usage: Usage, changes: dict[str, Any]) -> dict[str, Any]:
    """The unit and the amount in the type's unit, after these changes.

    An amount in the old type's own unit is one in the new type's; another unit must be of the new type's dimension.
    """
    amount = changes.get("amount", usage.amount)
    if changes.keys().isdisjoint({"usage_type_id", "unit"}) and usage.amount == usage.amount_in_type_unit != 0:
        return {"amount_in_type_unit": amount}
    usage_type = get_visible(UsageType, changes.get("usage_type_id", usage.usage_type_id))
    of_its_type = usage.unit == get_visible(UsageType, usage.usage_type_id).unit
    return normalized(usage_type, amount, changes.get("unit") or (usage_type.unit if of_its_type else usage.unit))

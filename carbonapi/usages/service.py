"""Record, correct and delete usages: defaults, validation, and the choice of the valuation.

The ledger writes the rows.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ..accounts.models import Organization, User
from ..auth import get_referenced, get_visible
from ..catalogue.models import UsageType
from ..catalogue.usage_valuations import choose_valuation
from ..catalogue.valuations import FACTORS_OF_USAGE
from ..db import db, roll_back
from ..errors import CarbonError, Unavailable, ValidationFailed, elements_rejected
from ..periods.service import check_adjusted_period
from .candidates import as_json, candidate_row, candidate_table, find_errors, find_repetitions
from .completion import complete, convert
from .ledger import bulk, single
from .ledger.sql import SPLIT, VALUATION_DEPENDS_ON, split_difference
from .models import Usage
from .places import FIELDS, place_again
from .validation import check_days, get_active_type, interval_error

Values = dict[str, Any]
CHANGED_CATALOGUE = "The catalogue changed at the same time. Repeat the request."


def record(**fields: Any) -> Usage:
    """Record a usage with the current valuation of its time. It belongs to the actor unless `user_id` is set.

    Its site, usage type and region follow from its meter, if it has one.
    Raises ValidationFailed for a user, usage type, meter or site that does not exist or is archived, and for a missing
    factor. Raises Conflict for a closed time.
    """
    completed, errors = complete([fields])
    for error in errors.values():
        raise error
    usage = single.insert(completed[0])
    if usage is None:
        for error in find_errors(candidate_row(completed[0])).values():
            raise error
        usage = single.insert(completed[0])
    if usage is None:
        raise Unavailable(CHANGED_CATALOGUE)
    return usage


def record_many(usages: Sequence[Values]) -> list[int]:
    """Record all of these usages or none, as `record` does, and return their ids in the same order.

    Raises ValidationFailed or Conflict with the errors by index if there are any.
    """
    check_days(usages)
    completed, errors = complete(usages)
    if errors:
        raise elements_rejected(errors | _find_errors(completed))
    try:
        ids = bulk.insert_all(completed)
        if not ids:
            if errors := _find_errors(completed):
                raise elements_rejected(errors)
            ids = bulk.insert_all(completed)
    except sa.exc.IntegrityError:
        roll_back()
        if errors := _find_errors(completed):
            raise elements_rejected(errors) from None
        raise
    if not ids:
        raise Unavailable(CHANGED_CATALOGUE)
    return ids


def _find_errors(completed: dict[int, Values]) -> dict[int, CarbonError]:
    candidates = candidate_table(sa.literal(as_json(completed)))
    return find_repetitions(candidates) | find_errors(candidates)


def correct(usage: Usage, reason: str | None = None, **fields: Any) -> Usage:
    """Correct a usage, which the caller has locked. The previous version stays in the history.

    The usage keeps its valuation, unless its type, time or region changes: then it gets the current one of that time.
    Raises Conflict if its time is closed, before or after. Raises ValidationFailed as `record` does.
    """
    if not fields.keys().isdisjoint(FIELDS):
        fields = place_again(usage, fields)
    if "unit" in fields and fields["unit"] is None:
        type_id = fields.get("usage_type_id", usage.usage_type_id)
        fields["unit"] = get_active_type(type_id, usage.usage_type_id).unit
    changes = {name: value for name, value in fields.items() if getattr(usage, name) != value}
    if changes:
        _validate_correction(usage, changes)
        is_split, chosen = _choose_again(usage, changes)
        changes |= chosen
        changes |= _convert_again(usage, changes)
        changes |= _split_again(usage, changes, is_split=is_split)
        single.update(usage, reason, changes)
    return usage


def delete(usages: Sequence[Usage], reason: str | None = None) -> None:
    """Delete usages, which the caller has locked. Their versions stay in the history.

    Raises Conflict if one of their times is closed.
    """
    single.delete(usages, reason)


def _validate_correction(usage: Usage, changes: Values) -> None:
    after = {
        name: changes.get(name, getattr(usage, name))
        for name in ("usage_at", "usage_until", "amount", "adjusts_closed_period_id")
    }
    if "user_id" in changes:
        user = get_referenced(User, changes["user_id"], "user_id")
        if user.organization_id != usage.organization_id:
            raise ValidationFailed(f"User {user.id} belongs to a different organization.", field="user_id")
    if changes.get("adjusts_closed_period_id") is not None:
        check_adjusted_period(usage.organization_id, changes["adjusts_closed_period_id"])
    if error := interval_error(after["usage_at"], after["usage_until"]):
        raise ValidationFailed(error, field="usage_until")
    if after["amount"] < 0 and after["adjusts_closed_period_id"] is None:
        raise ValidationFailed("Must not be negative, unless it adjusts a closed period.", field="amount")


def _choose_again(usage: Usage, changes: Values) -> tuple[bool, Values]:
    """Return whether the corrected usage is split, and its valuation unless it keeps its own."""
    if changes.keys().isdisjoint(VALUATION_DEPENDS_ON):
        return usage.split_co2e_kg is not None, {}
    after = {name: changes.get(name, getattr(usage, name)) for name in VALUATION_DEPENDS_ON}
    region = after["region"] or get_visible(Organization, usage.organization_id).region
    usage_type = get_active_type(after["usage_type_id"], usage.usage_type_id)
    times = (after["usage_at"], after["usage_until"])
    valuation = choose_valuation(usage.organization_id, usage_type, region, *times)
    chosen = {name: getattr(valuation, name) for name in FACTORS_OF_USAGE}
    return valuation.split_id is not None, {"valuation_id": valuation.id, **chosen, "restatement_id": None}


def _split_again(usage: Usage, changes: Values, *, is_split: bool) -> Values:
    """Return what the later parts of the corrected usage add to its kg CO2e, if that changes."""
    if not is_split:
        return dict.fromkeys(SPLIT) if usage.split_co2e_kg is not None else {}
    names = ("valuation_id", "amount_in_type_unit", "usage_at", "usage_until")
    if changes.keys().isdisjoint(names):
        return {}
    after = (changes.get(name, getattr(usage, name)) for name in names)
    difference = sa.select(split_difference(usage.organization_id, *after))
    return dict(db.session.execute(difference).one()._mapping)


def _convert_again(usage: Usage, changes: Values) -> Values:
    """Return the unit and the amount in the type's unit of the corrected usage.

    An amount in the unit of the old type is in the unit of the new type. Any other unit must be convertible to it.
    """
    if changes.keys().isdisjoint({"usage_type_id", "amount", "unit"}):
        return {}
    amount = changes.get("amount", usage.amount)
    if changes.keys().isdisjoint({"usage_type_id", "unit"}) and usage.amount == usage.amount_in_type_unit != 0:
        return {"amount_in_type_unit": amount}
    usage_type = get_visible(UsageType, changes.get("usage_type_id", usage.usage_type_id))
    has_type_unit = usage.unit == get_visible(UsageType, usage.usage_type_id).unit
    return convert(usage_type, amount, changes.get("unit") or (usage_type.unit if has_type_unit else usage.unit))

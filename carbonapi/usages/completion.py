"""Complete usages to record: defaults, what follows from their meter or site, and the amount in the type's unit.

The rows that many usages refer to are read by one statement for each kind, and by none if no usage refers to one.
"""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from ..accounts.models import User
from ..auth import Actor, current_actor, find_visible, pick_referenced
from ..catalogue.models import UsageType
from ..catalogue.units import find_unit
from ..errors import CarbonError
from ..periods.models import ClosedPeriod
from ..periods.service import check_is_closed
from .candidates import COLUMNS
from .models import DEFAULT_QUALITY
from .places import Places, find_places, place_new
from .validation import pick_active_type

Values = dict[str, Any]
REFERENCES = ("meter_id", "site_id", "adjusts_closed_period_id")
DEFAULTS = dict.fromkeys(COLUMNS) | {"quality": DEFAULT_QUALITY}


class _References(NamedTuple):
    """The visible rows that usages refer to, by id."""

    users: Mapping[int, User]
    places: Places
    closed_periods: Mapping[int, ClosedPeriod]


def complete(usages: Sequence[Values]) -> tuple[dict[int, Values], dict[int, CarbonError]]:
    """Return the values for COLUMNS of the usages to record, and the errors of the others, each by index.

    A usage belongs to the actor unless `user_id` is set.
    """
    actor = current_actor()
    rows: list[Values] = [DEFAULTS | {"user_id": actor.id} | fields for fields in usages]
    errors: dict[int, CarbonError] = {}
    referring = {index: row for index, row in enumerate(rows) if any(row[name] is not None for name in REFERENCES)}
    if referring:
        references = _find_references(actor, referring.values())
        for index, row in referring.items():
            try:
                _follow_references(actor, row, references)
            except CarbonError as error:
                errors[index] = error
    with_unit = {index: row for index, row in enumerate(rows) if row["unit"] is not None and index not in errors}
    types = find_visible(UsageType, {row["usage_type_id"] for row in with_unit.values()})
    for index, row in with_unit.items():
        try:
            row |= convert(pick_active_type(types, row["usage_type_id"]), row["amount"], row["unit"])
        except CarbonError as error:
            errors[index] = error
    return {index: row for index, row in enumerate(rows) if index not in errors}, errors


def convert(usage_type: UsageType, amount: Decimal, unit: str) -> Values:
    """Return the canonical name of the unit, and the amount in the unit of the type."""
    known = find_unit(unit, usage_type.unit)
    return {"unit": known.unit, "amount_in_type_unit": known.convert(amount)}


def _find_references(actor: Actor, rows: Collection[Values]) -> _References:
    others = {row["user_id"] for row in rows} - {actor.id} if actor.is_admin else set()
    period_ids = {row["adjusts_closed_period_id"] for row in rows} - {None}
    return _References(find_visible(User, others), find_places(rows), find_visible(ClosedPeriod, period_ids))


def _follow_references(actor: Actor, row: Values, references: _References) -> None:
    """Set what follows from the meter or the site of a usage. Raise a CarbonError for a wrong reference."""
    organization_id = actor.organization_id
    if actor.is_admin and row["user_id"] != actor.id:
        organization_id = pick_referenced(references.users, User, row["user_id"], "user_id").organization_id
    if row["meter_id"] is not None or row["site_id"] is not None:
        row |= place_new(row, organization_id, references.places)
    period_id = row["adjusts_closed_period_id"]
    if period_id is not None:
        period = pick_referenced(references.closed_periods, ClosedPeriod, period_id, "adjusts_closed_period_id")
        check_is_closed(period, organization_id)

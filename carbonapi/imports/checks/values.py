"""Check the values of the rows: intervals, units, duplicates and adjusted periods."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ...auth import visible
from ...catalogue.models import UsageType
from ...catalogue.units import FRACTION_DIGITS, MAX_AMOUNT, find_unit
from ...db import db
from ...errors import ValidationFailed
from ...periods.models import ClosedPeriod
from ...usages.validation import END_BEFORE_START, INTERVAL_TOO_LONG, MAX_INTERVAL
from ..formats.rows import METERS
from ..models import Import
from ..staging import IS_VALID, READING_KEY, STAGED, Row, distinct_pairs, reject, reject_duplicates, values_table

# The first argument of the format is the time, which the error has in `found`.
DUPLICATE_READING = (
    "Line %2$s has the same user, usage type and time. Remove one of the lines, or give each an external_id."
)
DUPLICATE_OF_METER = "Line %2$s has the same meter and time. Remove one of the lines."


def validate(imp: Import, columns: Collection[str]) -> None:
    """Reject rows with invalid values, and convert amounts to the unit of the usage type."""
    if "usage_until" in columns:
        reject("usage_until", Row.usage_until, sa.literal(END_BEFORE_START), Row.usage_until <= Row.usage_at)
        is_too_long = Row.usage_until - Row.usage_at > MAX_INTERVAL
        reject("usage_until", Row.usage_until, sa.literal(INTERVAL_TOO_LONG), is_too_long)
    if "unit" in columns:
        _convert_amounts()
    if "external_id" in columns:
        message, has_id = "'%s' is a duplicate of line %s.", Row.external_id.is_not(None)
        reject_duplicates("external_id", Row.external_id, [Row.external_id], message, has_id)
    if not {*columns}.isdisjoint(METERS):
        key = [Row.meter_id, Row.usage_at]
        reject_duplicates("usage_at", Row.usage_at, key, DUPLICATE_OF_METER, Row.meter_id.is_not(None))
    is_reading = (Row.external_id.is_(None), Row.meter_id.is_(None))
    reject_duplicates("usage_at", Row.usage_at, READING_KEY, DUPLICATE_READING, *is_reading)
    if "adjusts_closed_period_id" in columns:
        _check_adjusted_periods(imp.organization_id)


def _check_adjusted_periods(organization_id: int) -> None:
    period_id = Row.adjusts_closed_period_id
    named = sa.select(period_id).where(IS_VALID, period_id.is_not(None))
    closed = sa.select(ClosedPeriod.id).where(
        ClosedPeriod.organization_id == organization_id, ClosedPeriod.reopened_at.is_(None)
    )
    # Locked, so that none of them is reopened before the adjustments are recorded.
    ids = db.session.scalars(closed.where(ClosedPeriod.id.in_(named)).with_for_update(read=True)).all()
    message = sa.func.format("Your organization has no closed period %s; GET /closed-periods lists them.", period_id)
    reject("adjusts_closed_period_id", period_id, message, period_id.is_not(None), period_id.not_in(ids))


def _convert_amounts() -> None:
    used = distinct_pairs(Row.usage_type_id, Row.unit, "units")
    ids = {usage_type_id for usage_type_id, _ in used}
    types = {found.id: found for found in db.session.scalars(visible(UsageType).where(UsageType.id.in_(ids)))}
    known, unknown = [], []
    for usage_type_id, unit in used:
        if usage_type_id in types:
            try:
                found = find_unit(unit, types[usage_type_id].unit)
                known.append((usage_type_id, unit, found.unit, found.numerator, found.denominator))
            except ValidationFailed as error:
                unknown.append((usage_type_id, unit, str(error)))
    if unknown:
        invalid = values_table(unknown, usage_type_id=sa.BigInteger, unit=sa.Text, message=sa.Text)
        reject("unit", Row.unit, invalid.c.message, *_has_unit(invalid))
    if known:
        ratio = {"numerator": sa.Numeric, "denominator": sa.Numeric}
        units = values_table(known, usage_type_id=sa.BigInteger, unit=sa.Text, name=sa.Text, **ratio)
        amount = _in_type_unit(units)
        message = sa.literal("Must be less than 10^18 in the unit of the usage type.")
        reject("amount", Row.amount, message, *_has_unit(units), sa.func.abs(amount) >= MAX_AMOUNT)
        converted = {"unit": units.c.name, "amount_in_type_unit": amount}
        db.session.execute(sa.update(STAGED).where(IS_VALID, *_has_unit(units)).values(converted))


def _has_unit(units: Any) -> tuple[sa.ColumnElement[bool], ...]:
    return Row.usage_type_id == units.c.usage_type_id, Row.unit == units.c.unit


def _in_type_unit(units: Any) -> sa.ColumnElement[Any]:
    """Return the converted amount, rounded half to even at the twelfth decimal like `Unit.convert`."""
    scaled = sa.func.abs(Row.amount) * 10**FRACTION_DIGITS * units.c.numerator
    whole = sa.func.div(scaled, units.c.denominator, type_=sa.Numeric)
    twice_rest = 2 * (scaled - whole * units.c.denominator)
    is_odd = sa.func.mod(whole, 2) == 1
    rounds_up = sa.or_(twice_rest > units.c.denominator, sa.and_(twice_rest == units.c.denominator, is_odd))
    rounded = whole + sa.case((rounds_up, 1), else_=0)
    return sa.func.sign(Row.amount, type_=sa.Numeric) * rounded * sa.literal_column(f"1e-{FRACTION_DIGITS}::numeric")

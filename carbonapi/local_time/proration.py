"""Proration: the part of an interval's amount that was used between two instants.

An interval is spread evenly over its seconds as they really pass: a day of 25 hours gets 25 hours' worth. The amount
used up to an instant is the amount × the seconds passed ÷ the seconds of the interval, rounded half up at the twelfth
digit after the point, the last digit that the ledger stores. The amount used between two instants is the difference.
Parts therefore add up to the whole wherever an interval is cut: days to their month, and two adjoining ranges to both.

The CO2e of a part is its amount times the frozen factor, exactly, so CO2e adds up as well.
"""

from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from .clock import TIMESTAMPTZ

LAST_DIGIT = Decimal("1e-12")


def prorated_amount(amount: Any, usage_at: Any, usage_until: Any, start: Any, end: Any) -> Any:
    """Return the part of an interval's amount that was used within [start, end)."""
    start, end = sa.type_coerce(start, TIMESTAMPTZ), sa.type_coerce(end, TIMESTAMPTZ)
    return sa.func.prorated_amount(amount, usage_at, usage_until, start, end, type_=sa.Numeric)


def usage_by_day(
    timezone: Any, usage_at: Any, usage_until: Any, amount: Any, organization_id: Any, valuation_id: Any, split_id: Any
) -> Any:
    """Return a lateral table with a row for each local day that a usage touches, and each part of a split usage on it.

    A usage without `usage_until` touches the day of its instant. Columns: `day`; `day_valuation_id`; `usage_count`, 1
    if the usage begins on the day; `carried_count`, 1 if it began on an earlier day; `day_amount`; and the bits of the
    hours, `reading_hours` of an instant, `period_hours` of an interval.
    split_id: the valuation if it is split, or null.
    """
    days = sa.func.usage_by_day(
        timezone, usage_at, usage_until, amount, organization_id, valuation_id, split_id
    ).table_valued(
        sa.column("day", sa.Date),
        sa.column("day_valuation_id", sa.BigInteger),
        sa.column("usage_count", sa.Integer),
        sa.column("carried_count", sa.Integer),
        sa.column("day_amount", sa.Numeric),
        sa.column("reading_hours", sa.Integer),
        sa.column("period_hours", sa.Integer),
    )
    return days.lateral("usage_day")

"""Hours of the local clock as the bits of a whole number: bit 0 is from midnight to one."""

from typing import Any

import sqlalchemy as sa

from .clock import day_of, hour_of

HOURS = 24
ALL_HOURS = (1 << HOURS) - 1


def hour_bit(shown: Any) -> Any:
    """The hour in which a clock shows this."""
    return sa.literal(1).op("<<")(hour_of(shown))


def interval_hour_bits(shown: Any, last_shown: Any, day: Any) -> Any:
    """The hours of `day` of which a period has a part. What a clock shows at its first instant, and at its last."""
    first: Any = sa.case((day == day_of(shown), hour_of(shown)), else_=0)
    last: Any = sa.case((day == day_of(last_shown), hour_of(last_shown)), else_=HOURS - 1)
    # Clocks that are set back within the period's only day may show less at its end.
    first, last = sa.func.least(first, last), sa.func.greatest(first, last)
    return sa.literal(ALL_HOURS).op(">>")(HOURS - 1 - last).op("&")(sa.literal(ALL_HOURS).op("<<")(first))

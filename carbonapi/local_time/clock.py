"""The local clock of a time zone: its days, its hours, and the instants at which they begin.

A clock that is set back across midnight, as in Newfoundland until 2011, does not return to the previous day: it shows
midnight until it shows midnight again. A day therefore begins at the first instant at which the clock shows midnight,
or at the jump if the clock skips midnight.

The hours of a day are the bits of an integer: bit 0 is the hour from midnight to one.
"""

import datetime as dt
from typing import Any

import sqlalchemy as sa

MICROSECOND = dt.timedelta(microseconds=1)
TIMESTAMP, TIMESTAMPTZ = sa.DateTime(), sa.DateTime(timezone=True)
HOURS = 24
ALL_HOURS = (1 << HOURS) - 1


def local_clock(timezone: Any, instant: Any) -> Any:
    """Return the local time at an instant, as a timestamp without time zone."""
    return sa.func.local_clock(timezone, instant, type_=TIMESTAMP)


def first_instant(timezone: Any, local_time: Any) -> Any:
    """Return the first instant at which a clock shows a local time, or the jump that skips it."""
    return sa.func.first_instant(timezone, local_time, type_=TIMESTAMPTZ)


def day_start(timezone: Any, day: Any) -> Any:
    """Return the instant at which a local day begins."""
    return sa.func.day_start(timezone, day, type_=TIMESTAMPTZ)


def day_of(local_time: Any) -> Any:
    """Return the day of a local time."""
    return sa.cast(local_time, sa.Date)


def hour_bit(local_time: Any) -> Any:
    """Return the bit of the hour of a local time."""
    return sa.literal(1).op("<<")(sa.cast(sa.extract("hour", local_time), sa.Integer))


def interval_hours(first_time: Any, last_time: Any, day: Any) -> Any:
    """Return the bits of the hours of a day that an interval touches.

    first_time, last_time: the local times of the first and the last instant of the interval.
    """
    return sa.func.interval_hours(first_time, last_time, day, type_=sa.Integer)

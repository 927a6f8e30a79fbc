"""Local time in PostgreSQL: what a clock shows at an instant, and at which instant it begins to show that."""

import datetime as dt
from typing import Any

import sqlalchemy as sa

MICROSECOND = dt.timedelta(microseconds=1)
SHOWN, MOMENT = sa.DateTime(), sa.DateTime(timezone=True)
# Longer than any time that clocks have been moved by, but for those that skip a day.
LONGER_THAN_A_SHIFT = dt.timedelta(hours=25)
EARLIEST_SET_BACK = 22  # The hour to which a clock was ever set back from the next day.


def local_clock(timezone: Any, moment: Any) -> Any:
    """What a clock of `timezone` shows at `moment`, as a timestamp without time zone.

    A day that has begun goes on: a clock that is set back across midnight, as in Newfoundland until 2011, is taken to
    show midnight until it does so again.
    """
    shown = _shown(timezone, moment)
    midnight = sa.cast(day_of(shown) + 1, SHOWN)
    is_late = hour_of(shown) >= EARLIEST_SET_BACK
    return sa.case((is_late & (moment >= first_instant(timezone, midnight)), midnight), else_=shown)


def first_instant(timezone: Any, shown: Any) -> Any:
    """The first instant at which a clock of `timezone` shows this; the jump, if it skips it.

    PostgreSQL itself takes the last instant, where clocks are set back. A day begins when the first does.
    """
    last = sa.func.timezone(timezone, shown, type_=MOMENT)
    before = last - LONGER_THAN_A_SHIFT
    first = before + (shown - _shown(timezone, before))
    return sa.case((_shown(timezone, first) == shown, sa.func.least(first, last)), else_=last)


def _shown(timezone: Any, moment: Any) -> Any:
    return sa.func.timezone(timezone, moment, type_=SHOWN)


def day_of(shown: Any) -> Any:
    """The day of what a clock shows."""
    return sa.cast(shown, sa.Date)


def hour_of(shown: Any) -> Any:
    """The hour of what a clock shows, 0 to 23."""
    return sa.cast(sa.extract("hour", shown), sa.Integer)


def day_start(timezone: Any, day: Any) -> Any:
    """The instant at which a day begins."""
    return first_instant(timezone, sa.cast(day, SHOWN))

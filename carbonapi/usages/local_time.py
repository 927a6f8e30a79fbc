"""Local time in PostgreSQL: what a clock shows at an instant, and at which instant it begins to show that."""

import datetime as dt
from typing import Any

import sqlalchemy as sa

INSTANT = dt.timedelta(microseconds=1)
SHOWN, MOMENT = sa.DateTime(), sa.DateTime(timezone=True)
# Longer than any time that clocks have been moved by, but for those that skip a day.
LONGER_THAN_A_SHIFT = dt.timedelta(hours=25)


def clock(timezone: Any, moment: Any) -> Any:
    """What a clock of `timezone` shows at `moment`, as a timestamp without time zone."""
    return sa.func.timezone(timezone, moment, type_=SHOWN)


def instant_of(timezone: Any, shown: Any) -> Any:
    """The first instant at which a clock of `timezone` shows this; the jump, if it skips it.

    PostgreSQL itself takes the last instant, where clocks are set back. A day begins when the first does.
    """
    last = sa.func.timezone(timezone, shown, type_=MOMENT)
    before = last - LONGER_THAN_A_SHIFT
    first = before + (shown - clock(timezone, before))
    return sa.case((clock(timezone, first) == shown, sa.func.least(first, last)), else_=last)


def day_of(shown: Any) -> Any:
    """The day of what a clock shows."""
    return sa.cast(shown, sa.Date)


def hour_of(shown: Any) -> Any:
    """The hour of what a clock shows, 0 to 23."""
    return sa.cast(sa.extract("hour", shown), sa.Integer)


def begin_of(timezone: Any, day: Any) -> Any:
    """The instant at which a day begins."""
    return instant_of(timezone, sa.cast(day, SHOWN))

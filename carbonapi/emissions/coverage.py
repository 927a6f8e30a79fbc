"""How much of the time there is data for: what is missing is told, rather than counted as nothing.

It is told by the hours of the local clock, for each usage type by itself. A period has data for the hours that it has a
part of. A reading, a usage at an instant, has data from its hour on, for as long as is usual between two readings of
the type. Of a type that is read in several hours of the median day, it is what lies between two of them: from the first
to the last, divided by the number of steps, on the median day, and rounded to whole hours. Of another, a reading lasts
until the same hour of another day: as many days later as lie between two days with readings, on the median; 28 to 31
days are a month, 89 to 92 a quarter, 365 and 366 a year. What was read on one day only, in a single hour, lasts no time
at all: nobody knows how long. Adjustments are no readings.

What is usual, and which types there should be data of, is told from 62 days before the range to 62 days after it: so
a short range with a gap in it is known to have one. Of several usage types the coverage is the mean.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BIT

from ..usages.local_time import INSTANT, MOMENT, SHOWN, begin_of, clock, day_of, hour_of, instant_of
from .spreading import ASKED, DAYS, Edges, within

TIMEZONE = sa.bindparam("timezone", type_=sa.Text)
HORIZON = 62
HOURS = 24
ALL_HOURS = sa.literal_column(str((1 << HOURS) - 1), sa.BigInteger)
NONE = sa.literal_column("0", sa.BigInteger)
A_DAY, AN_HOUR, A_MONTH, A_QUARTER, A_YEAR = (
    sa.literal_column(f"INTERVAL '{length}'", sa.Interval)
    for length in ("1 day", "1 hour", "1 month", "3 months", "1 year")
)
CALENDAR = ((28, 31, A_MONTH), (89, 92, A_QUARTER), (365, 366, A_YEAR))  # From how many days, to how many.


def covered(edges: Edges, *, by_days: bool = False) -> sa.Select[Any]:
    """For each place that has data: `place`, `seconds` summed over the usage types, and `type_count`.

    by_days: of DAYS; else of ASKED. type_count: how many usage types there are within the horizon, also those that have
    no data between the edges.
    """
    first, last = _day(edges.first), _day(edges.last - INSTANT)
    horizon = first - HORIZON, last + HORIZON
    found = (_hours_of_days(*horizon) if by_days else _hours_of_rows(*horizon)).subquery("found")
    hours = (
        sa.select(
            found.c.usage_type_id,
            found.c.day,
            *(sa.cast(sa.func.bit_or(found.c[name]), sa.BigInteger).label(name) for name in ("readings", "periods")),
        )
        .group_by(found.c.usage_type_id, found.c.day)
        .having(sa.func.bit_or(found.c.readings.op("|")(found.c.periods)) != 0)
        .cte(f"hours_{edges.name}")
    )
    lasting = _lasting(hours, edges.name).subquery("lasting")
    of_day = (
        sa.select(lasting.c.usage_type_id, lasting.c.day, sa.func.bit_or(lasting.c.hours).label("hours"))
        .where(lasting.c.day.between(first, last))
        .group_by(lasting.c.usage_type_id, lasting.c.day)
        .subquery("of_day")
    )
    cut = _days_cut(edges, first, last)
    seconds = sa.case(
        (cut.c.is_whole, 3600 * _number(of_day.c.hours)),
        else_=_seconds_of(of_day.c.hours, cut.c),
    )
    type_count = sa.select(sa.func.count(hours.c.usage_type_id.distinct())).scalar_subquery()
    return (
        sa.select(cut.c.place, sa.func.sum(seconds).label("seconds"), type_count.label("type_count"))
        .select_from(of_day.join(cut, cut.c.day == of_day.c.day))
        .group_by(cut.c.place)
    )


def _day(moment: Any) -> Any:
    return day_of(clock(TIMEZONE, moment))


def _hours_of_days(first: Any, last: Any) -> sa.Select[Any]:
    days = DAYS.c
    return sa.select(
        days.usage_type_id, days.day, days.reading_hours.label("readings"), days.period_hours.label("periods")
    ).where(days.day.between(first, last))


def _hours_of_rows(first: Any, last: Any) -> sa.CompoundSelect[Any]:
    asked = ASKED.c
    at_once, over_time = within(begin_of(TIMEZONE, first), begin_of(TIMEZONE, last + 1))
    is_reading = asked.adjusts_period_id.is_(None)
    shown, last_shown = clock(TIMEZONE, asked.usage_at), clock(TIMEZONE, asked.usage_until - INSTANT)
    readings = sa.select(asked.usage_type_id, day_of(shown).label("day"), _bit(hour_of(shown)).label("readings"),
                         NONE.label("periods")).where(at_once, is_reading)  # fmt: skip
    days: Any = sa.func.generate_series(
        sa.cast(sa.func.greatest(day_of(shown), first), SHOWN), sa.func.least(last_shown, sa.cast(last, SHOWN)), A_DAY
    )
    days = days.table_valued("midnight").lateral("touched").render_derived()
    day = day_of(days.c.midnight)
    since: Any = sa.case((day == day_of(shown), hour_of(shown)), else_=0)
    until: Any = sa.case((day == day_of(last_shown), hour_of(last_shown)), else_=HOURS - 1)
    # Clocks that are set back within the period's only day may show less at its end.
    since, until = sa.func.least(since, until), sa.func.greatest(since, until)
    hours = ALL_HOURS.op(">>")(HOURS - 1 - until).op("&")(ALL_HOURS.op("<<")(since))
    periods = (
        sa.select(asked.usage_type_id, day, NONE, hours)
        .select_from(ASKED.join(days, sa.true()))
        .where(over_time, is_reading)
    )
    return readings.union_all(periods)


def _lasting(hours: sa.CTE, name: str) -> sa.CompoundSelect[Any]:
    """The hours of each day for which there is data, `hours`, in one row or several."""
    read = (
        sa.select(
            hours.c.usage_type_id,
            hours.c.day,
            hours.c.readings,
            _number(hours.c.readings).label("number"),
            _days(
                hours.c.day - sa.func.lag(hours.c.day).over(partition_by=hours.c.usage_type_id, order_by=hours.c.day)
            ).label("gap"),
        )
        .where(hours.c.readings != 0)
        .cte(f"read_{name}")
    )  # fmt: skip
    steps = read.c.number - 1
    step = (2 * (_highest(read.c.readings) - _lowest(read.c.readings)) + steps) // (2 * steps)
    medians = {"number": read.c.number, "gap": read.c.gap, "step": sa.case((steps > 0, step))}
    usual = (
        sa.select(
            read.c.usage_type_id,
            *(sa.func.percentile_disc(0.5).within_group(value).label(name) for name, value in medians.items()),
        )
        .group_by(read.c.usage_type_id)
        .subquery("usual")
    )
    known = read.join(usual, usual.c.usage_type_id == read.c.usage_type_id)
    # Several times a day: so many hours, which may reach into the next day.
    number = usual.c.number
    spread = (
        sa.select(
            read.c.usage_type_id,
            read.c.day,
            _spread(read.c.readings, usual.c.step).label("hours"),
        )
        .select_from(known)
        .where(number > 1)
        .subquery("spread")
    )
    # Once a day, or more rarely: until the same hour of another day.
    gap = usual.c.gap
    calendar = ((gap.between(shortest, longest), interval) for shortest, longest, interval in CALENDAR)
    length = sa.case(*calendar, else_=gap * A_DAY)
    until = day_of(sa.cast(read.c.day, SHOWN) + length)
    rare = (
        sa.select(read.c.usage_type_id, read.c.day, read.c.readings, until.label("until"))
        .select_from(known)
        .where(number == 1, gap.is_not(None))
        .subquery("rare")
    )
    between: Any = sa.func.generate_series(1, _days(rare.c.until - rare.c.day) - 1).table_valued("place")
    between = between.lateral("between").render_derived()
    return sa.union_all(
        sa.select(spread.c.usage_type_id, spread.c.day, spread.c.hours.op("&")(ALL_HOURS).label("hours")),
        sa.select(spread.c.usage_type_id, spread.c.day + 1, spread.c.hours.op(">>")(HOURS))
        .where(spread.c.hours > ALL_HOURS),
        sa.select(rare.c.usage_type_id, rare.c.day, ALL_HOURS.op("&")(-_bit(_lowest(rare.c.readings)))),
        sa.select(rare.c.usage_type_id, rare.c.day + between.c.place, ALL_HOURS)
        .select_from(rare.join(between, sa.true())),
        sa.select(rare.c.usage_type_id, rare.c.until, _bit(_highest(rare.c.readings)) - 1),
        sa.select(hours.c.usage_type_id, hours.c.day, hours.c.periods).where(hours.c.periods != 0),
    )  # fmt: skip


def _days(difference: Any) -> Any:
    """The difference of two days, which is a number."""
    return sa.type_coerce(difference, sa.Integer)


def _number(hours: Any) -> Any:
    return sa.func.bit_count(sa.cast(hours, BIT(HOURS)), type_=sa.BigInteger)


def _lowest(hours: Any) -> Any:
    """The first of these hours."""
    return _number(hours.op("&")(-hours) - 1)


def _highest(hours: Any) -> Any:
    """The last of these hours."""
    return HOURS - sa.func.strpos(sa.cast(sa.cast(hours, BIT(HOURS)), sa.Text), "1", type_=sa.BigInteger)


def _bit(hour: Any) -> Any:
    return sa.cast(1, sa.BigInteger).op("<<")(sa.cast(hour, sa.Integer))


def _spread(hours: Any, length: Any) -> Any:
    """The bits, each repeated so many times upwards: 1 to 23."""
    repeated = {1: hours}
    for times in (1, 2, 4, 8):
        repeated[2 * times] = repeated[times].op("|")(repeated[times].op("<<")(times))
    upwards = sorted(repeated, reverse=True)
    cases = [
        (length >= times, repeated[times].op("|")(repeated[times].op("<<")(sa.cast(length - times, sa.Integer))))
        for times in upwards
    ]
    return sa.case(*cases)


def _days_cut(edges: Edges, first: Any, last: Any) -> Any:
    """The days of the range, cut at the edges: day, place, `begin` and `end` of the cut, and whether it is whole."""
    midnight = sa.func.generate_series(sa.cast(first, SHOWN), sa.cast(last + 1, SHOWN), A_DAY)
    days = sa.select(midnight.label("midnight")).subquery("midnights")
    begins = sa.select(
        day_of(days.c.midnight).label("day"), instant_of(TIMEZONE, days.c.midnight).label("begin")
    ).subquery("begins")
    following = sa.func.lead(begins.c.begin, type_=MOMENT).over(order_by=begins.c.day)
    whole = sa.select(begins.c.day, begins.c.begin, following.label("end")).subquery(f"whole_{edges.name}")
    places = edges.places_of(whole.c.begin, whole.c.end)
    begin = sa.func.greatest(whole.c.begin, edges.begin(places.c.place))
    end = sa.func.least(whole.c.end, edges.end(places.c.place))
    is_whole = (begin == whole.c.begin) & (end == whole.c.end) & (whole.c.end - whole.c.begin == A_DAY)
    return (
        sa.select(whole.c.day, places.c.place, begin.label("begin"), end.label("end"), is_whole.label("is_whole"))
        .select_from(whole.join(edges.table, sa.true()).join(places, sa.true()))
        .where(begin < end)
        .subquery(f"cut_{edges.name}")
    )


def _seconds_of(hours: Any, cut: Any) -> Any:
    """The seconds of these hours that lie within a day's cut, which may be shorter or longer than the clock shows."""
    since, until = hour_of(clock(TIMEZONE, cut.begin)), hour_of(clock(TIMEZONE, cut.end - INSTANT))
    # Clocks that are set back within the cut may show less at its end.
    touched: Any = sa.func.generate_series(sa.func.least(since, until), sa.func.greatest(since, until))
    touched = touched.table_valued("hour").render_derived()
    begin, end = (
        instant_of(TIMEZONE, sa.cast(cut.day, SHOWN) + hour * AN_HOUR) for hour in (touched.c.hour, touched.c.hour + 1)
    )
    length = sa.func.least(end, cut.end) - sa.func.greatest(begin, cut.begin)
    seconds = sa.func.greatest(sa.cast(sa.extract("epoch", length), sa.Numeric), 0)
    return (
        sa.select(sa.func.coalesce(sa.func.sum(seconds), 0))
        .select_from(touched)
        .where(hours.op("&")(_bit(touched.c.hour)) != 0)
        .scalar_subquery()
    )

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

PostgreSQL tells the hours of each day, Python what follows. All hours of a usage type are one whole number: bit 24 × d
+ h is hour h of day d.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..local_time.clock import (
    ALL_HOURS,
    HOURS,
    MICROSECOND,
    TIMESTAMP,
    day_of,
    day_start,
    hour_bit,
    interval_hours,
    local_clock,
)
from ..rest.fields import start_of_day
from .prorated_rows import ASKED, DAYS, TimeEdges, within

TIMEZONE = sa.bindparam("timezone", type_=sa.Text)
HORIZON = 62
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
DAY_NOUGHT = dt.date(1899, 1, 1)  # Before all usages: so no day of theirs has a negative number.
Hours = int


def hours_by_type(edges: TimeEdges, *, by_days: bool) -> sa.Select[Any]:
    """The hours of each usage type within the horizon: arrays `days`, their numbers, and `readings` and `periods`.

    by_days: of DAYS; else of ASKED. Of each day, bit h tells whether there is a reading in hour h, or a period.
    """
    first, last = _day(edges.first) - HORIZON, _day(edges.last - MICROSECOND) + HORIZON
    found = (_hours_of_days(first, last) if by_days else _hours_of_rows(first, last)).subquery("found")
    masks = {name: sa.func.bit_or(found.c[name]) for name in ("readings", "periods")}
    of_day = (
        sa.select(
            found.c.usage_type_id,
            sa.type_coerce(found.c.day - sa.literal(DAY_NOUGHT, sa.Date), sa.Integer).label("day"),
            *(mask.label(name) for name, mask in masks.items()),
        )
        .group_by(found.c.usage_type_id, found.c.day)
        .having(masks["readings"].op("|")(masks["periods"]) != 0)
        .subquery("of_day")
    )
    columns = {"days": of_day.c.day, "readings": of_day.c.readings, "periods": of_day.c.periods}
    arrays: Iterable[Any] = (
        sa.func.array_agg(column, type_=ARRAY(sa.Integer)).label(name) for name, column in columns.items()
    )
    return sa.select(*arrays).group_by(of_day.c.usage_type_id)


def _day(moment: Any) -> Any:
    return day_of(local_clock(TIMEZONE, moment))


def _hours_of_days(first: Any, last: Any) -> sa.Select[Any]:
    days = DAYS.c
    readings, periods = days.reading_hours.label("readings"), days.period_hours.label("periods")
    return sa.select(days.usage_type_id, days.day, readings, periods).where(days.day.between(first, last))


def _hours_of_rows(first: Any, last: Any) -> sa.CompoundSelect[Any]:
    asked = ASKED.c
    at_once, over_time = within(day_start(TIMEZONE, first), day_start(TIMEZONE, last + 1))
    is_reading = asked.adjusts_closed_period_id.is_(None)
    shown, last_shown = local_clock(TIMEZONE, asked.usage_at), local_clock(TIMEZONE, asked.usage_until - MICROSECOND)
    none = sa.literal_column("0", sa.Integer)
    readings = sa.select(
        asked.usage_type_id, day_of(shown).label("day"), hour_bit(shown).label("readings"), none.label("periods")
    ).where(at_once, is_reading)
    days: Any = sa.func.generate_series(
        sa.cast(sa.func.greatest(day_of(shown), first), TIMESTAMP),
        sa.func.least(last_shown, sa.cast(last, TIMESTAMP)),
        sa.literal_column("INTERVAL '1 day'", sa.Interval),
    )
    days = days.table_valued("midnight").lateral("touched").render_derived()
    day = day_of(days.c.midnight)
    periods = (
        sa.select(asked.usage_type_id, day, none, interval_hours(shown, last_shown, day))
        .select_from(ASKED.join(days, sa.true()))
        .where(over_time, is_reading)
    )
    return readings.union_all(periods)


def covered_seconds(types: Sequence[Any], edges: Sequence[dt.datetime], timezone: str) -> list[Decimal]:
    """The seconds between each edge and the next for which there is data, summed over the usage types.

    types: the rows of `hours_of_types`.
    """
    of_types = []
    for row in types:
        readings, periods = (dict(zip(row.days, masks, strict=True)) for masks in (row.readings, row.periods))
        of_types.append(_lasting(readings) | _joined(periods.items()))
    return [_seconds(of_types, begin, end, timezone) if begin < end else Decimal(0) for begin, end in pairwise(edges)]


def _joined(masks: Iterable[tuple[int, int]]) -> Hours:
    """The hours of all days, from those of each."""
    masks = [(day, mask) for day, mask in masks if mask]
    if not masks:
        return 0
    first, last = min(masks)[0], max(masks)[0]
    told = bytearray(3 * (last - first + 1))
    for day, mask in masks:
        told[3 * (day - first) : 3 * (day - first + 1)] = mask.to_bytes(3, "little")
    return int.from_bytes(told, "little") << HOURS * first


def _lasting(readings: dict[int, int]) -> Hours:
    """The hours for which there is data, of those in which there are readings by day."""
    read = {day: mask for day, mask in sorted(readings.items()) if mask}
    if not read:
        return 0
    if _median(mask.bit_count() for mask in read.values()) > 1:
        step = _median(_step(mask) for mask in read.values() if mask.bit_count() > 1)
        return _repeated(_joined(read.items()), step)
    if len(read) == 1:
        return 0
    gap = _median(later - sooner for sooner, later in pairwise(read))
    lasting = 0
    for day, mask in read.items():
        begin = HOURS * day + (mask & -mask).bit_length() - 1
        end = HOURS * _later(day, gap) + mask.bit_length() - 1
        lasting |= ((1 << end - begin) - 1) << begin
    return lasting


def _median(values: Iterable[int]) -> int:
    """The value in the middle; of two, the lower."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


def _step(mask: int) -> int:
    """How many hours lie between two readings of a day, rounded half up."""
    length, steps = mask.bit_length() - (mask & -mask).bit_length(), mask.bit_count() - 1
    return (2 * length + steps) // (2 * steps)


def _repeated(hours: Hours, times: int) -> Hours:
    """The bits, each repeated so many times upwards."""
    done = 1
    while done < times:
        more = min(done, times - done)
        hours |= hours << more
        done += more
    return hours


def _later(day: int, gap: int) -> int:
    """The day that is so many days later, or a month, a quarter or a year, if it is about that."""
    months = {28 <= gap <= 31: 1, 89 <= gap <= 92: 3, gap in (365, 366): 12}.get(True)
    if months is None:
        return day + gap
    date = DAY_NOUGHT + day * DAY
    years, month = divmod(date.month - 1 + months, 12)
    first = dt.date(date.year + years, month + 1, 1)
    following = dt.date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return (min(first + (date.day - 1) * DAY, following - DAY) - DAY_NOUGHT).days


def _seconds(of_types: Sequence[Hours], begin: dt.datetime, end: dt.datetime, timezone: str) -> Decimal:
    """The seconds within [begin, end) of the hours of all types."""
    zone = ZoneInfo(timezone)
    first, last = (moment.astimezone(zone).date() for moment in (begin, end))
    whole_from = first if start_of_day(first, timezone) == begin else first + DAY
    # Where a day is cut, or the clock moved, an hour is looked at by itself.
    cut = [(first, begin, end if first == last else start_of_day(whole_from, timezone))] if whole_from > first else []
    if whole_from <= last and start_of_day(last, timezone) < end:
        cut.append((last, start_of_day(last, timezone), end))
    odd = _odd_days(timezone, whole_from, last)
    cut += [(day, start_of_day(day, timezone), start_of_day(day + DAY, timezone)) for day in odd]
    length = max(HOURS * (last - whole_from).days, 0)
    seconds = Decimal(0)
    for hours in of_types:
        seconds += 3600 * (_from_day(hours, whole_from) & ((1 << length) - 1)).bit_count()
        seconds -= 3600 * sum((_from_day(hours, day) & ALL_HOURS).bit_count() for day in odd)
        for day, since, until in cut:
            seconds += _seconds_of_day(_from_day(hours, day) & ALL_HOURS, day, since, until, zone)
    return seconds


def _from_day(hours: Hours, day: dt.date) -> Hours:
    """The hours from the beginning of this day on. What a long range is compared with may lie before all usages."""
    place = HOURS * (day - DAY_NOUGHT).days
    return hours >> place if place >= 0 else hours << -place


def _seconds_of_day(mask: int, day: dt.date, begin: dt.datetime, end: dt.datetime, zone: ZoneInfo) -> Decimal:
    """The seconds within [begin, end) of the hours of a day, which may be shorter or longer than the clock shows."""
    shown = [moment.astimezone(zone).hour for moment in (begin, end - MICROSECOND)]
    found = dt.timedelta()
    for hour in range(min(shown), max(shown) + 1):
        if mask >> hour & 1:
            on_the_hour = dt.datetime.combine(day, dt.time(), zone) + hour * HOUR
            since, until = (moment.astimezone(dt.UTC) for moment in (on_the_hour, on_the_hour + HOUR))
            found += max(min(until, end) - max(since, begin), dt.timedelta())
    return Decimal(min(found, end - begin) // MICROSECOND) / 10**6


def _odd_days(timezone: str, first: dt.date, last: dt.date) -> list[dt.date]:
    """The days from `first` up to, not including, `last` that have not 24 hours, or not those of the clock."""
    years = range(first.year, last.year + 1) if first < last else ()
    return [day for year in years for day in _odd_days_of(timezone, year) if first <= day < last]


@lru_cache(maxsize=10_000)
def _odd_days_of(timezone: str, year: int) -> list[dt.date]:
    zone = ZoneInfo(timezone)
    days = [dt.date(year, 1, 1) + number * DAY for number in range(366)]
    offsets = [dt.datetime.combine(day, dt.time(), zone).utcoffset() for day in [*days, days[-1] + DAY]]
    return [day for day, (before, after) in zip(days, pairwise(offsets), strict=True) if before != after]

"""Coverage: the share of the time that has data, so that a gap in the data does not look like zero emissions.

Coverage is computed for each series, by hours of the local clock. A series is the usages of a meter, or those of a type
at a site without a meter, or at no site. An interval covers the hours that it overlaps. A reading, which is a usage at
an instant, covers the time from its hour until the next reading is due:

- If the series has readings in several hours of the median day, the next is due after the usual step: the hours from
  the first to the last reading of the day, divided by the number of steps, rounded to whole hours, on the median day.
- Otherwise the next is due at the same hour of a later day, after the median gap between two days with readings. A gap
  of 28 to 31 days is a month, of 89 to 92 days a quarter, of 365 or 366 days a year.
- Readings in a single hour of a single day cover no time, because there is no usual gap.

Adjustments are not readings. The usual step and gap, and the series that should have data, are those of the range and
of 62 days on both sides, so that a gap in a short range is found. The coverage of several series is the mean, weighted
by the time in which each should have data: that of a meter is its validity.

PostgreSQL returns the hours of each day. Python keeps all hours of a series as the bits of one integer: bit
24 × d + h is hour h of day d. A shift by the step and a bitwise OR then extend all readings of years at once, and
counting bits counts hours.
"""

import datetime as dt
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from functools import lru_cache
from itertools import accumulate, pairwise
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
from .prorated_rows import SELECTED_TOTALS, SELECTED_USAGES, TimeEdges, within

TIMEZONE = sa.bindparam("timezone", type_=sa.Text)
HORIZON_DAYS = 62
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
DAY_ZERO = dt.date(1899, 1, 1)  # Before all usages, so that no day has a negative number.
Hours = int
Span = tuple[dt.datetime, dt.datetime]
SERIES = ("usage_type_id", "site_id", "meter_id")
COVERAGE_DIGITS = Decimal("0.000001")


@dataclass(frozen=True)
class Series:
    """The usages of a meter, or of a type at a site without a meter, which should have data within its validity."""

    usage_type_id: int
    site_id: int | None = None
    meter_id: int | None = None
    hours: Hours = 0
    valid_from: dt.datetime | None = None
    valid_until: dt.datetime | None = None

    def expected_within(self, begin: dt.datetime, end: dt.datetime) -> Span:
        """Return the time within [begin, end) in which the series should have data. It may be empty."""
        return max(begin, self.valid_from or begin), min(end, self.valid_until or end)


def hours_by_series(edges: TimeEdges, *, by_days: bool, instants_only: bool = False) -> sa.Select[Any]:
    """Select the hours of each series: arrays of `days` by number, and of the bits of `readings` and `periods`.

    A day can be there several times. by_days: whether to read the selected daily totals, which know no sites, in
    place of the selected usages. instants_only: whether there are no intervals among the usages.
    """
    first, last = _day(edges.first) - HORIZON_DAYS, _day(edges.last - MICROSECOND) + HORIZON_DAYS
    rows = _hours_of_totals(first, last) if by_days else _hours_of_usages(first, last, instants_only=instants_only)
    of_day, keys = rows.subquery("of_day"), SERIES[:1] if by_days else SERIES
    day = sa.type_coerce(of_day.c.day - sa.literal(DAY_ZERO, sa.Date), sa.Integer)
    columns = {"days": day, "readings": of_day.c.readings, "periods": of_day.c.periods}
    arrays: Iterable[Any] = (
        sa.func.array_agg(column, type_=ARRAY(sa.Integer)).label(name) for name, column in columns.items()
    )
    nowhere = sa.cast(None, sa.BigInteger)
    series = ((of_day.c[name] if name in keys else nowhere).label(f"series_{name}") for name in SERIES)
    return sa.select(*series, *arrays).group_by(*(of_day.c[name] for name in keys))


def _day(instant: Any) -> Any:
    return _once(day_of(local_clock(TIMEZONE, instant)))


def _once(expression: Any) -> Any:
    """Return an expression that PostgreSQL computes once for the statement, not for each row."""
    return sa.select(expression).scalar_subquery()


def _hours_of_totals(first: Any, last: Any) -> sa.Select[Any]:
    total = SELECTED_TOTALS.c
    readings, periods = total.reading_hours.label("readings"), total.period_hours.label("periods")
    has_hours = total.reading_hours.op("|")(total.period_hours) != 0
    return sa.select(total.usage_type_id, total.day, readings, periods).where(total.day.between(first, last), has_hours)


def _hours_of_usages(first: Any, last: Any, *, instants_only: bool) -> Any:
    usage = SELECTED_USAGES.c
    is_instant, is_interval = within(_once(day_start(TIMEZONE, first)), _once(day_start(TIMEZONE, last + 1)))
    is_data = usage.adjusts_closed_period_id.is_(None)
    first_time, last_time = (
        local_clock(TIMEZONE, instant) for instant in (usage.usage_at, usage.usage_until - MICROSECOND)
    )
    zero = sa.literal_column("0", sa.Integer)
    site_id = sa.case((usage.meter_id.is_(None), usage.site_id)).label("site_id")
    key = (usage.usage_type_id, site_id, usage.meter_id)
    readings = sa.select(
        *key, day_of(first_time).label("day"), hour_bit(first_time).label("readings"), zero.label("periods")
    ).where(is_instant, is_data)
    days: Any = sa.func.generate_series(
        sa.cast(sa.func.greatest(day_of(first_time), first), TIMESTAMP),
        sa.func.least(last_time, sa.cast(last, TIMESTAMP)),
        sa.literal_column("INTERVAL '1 day'", sa.Interval),
    )
    days = days.table_valued("midnight").lateral("touched").render_derived()
    day = day_of(days.c.midnight)
    periods = (
        sa.select(*key, day, zero, interval_hours(first_time, last_time, day))
        .select_from(SELECTED_USAGES.join(days, sa.true()))
        .where(is_interval, is_data)
    )
    found = (readings if instants_only else readings.union_all(periods)).subquery("found").c
    keys = [*(found[name] for name in SERIES), found.day]
    masks = (sa.func.bit_or(found[name]).label(name) for name in ("readings", "periods"))
    return sa.select(*keys, *masks).group_by(*keys)


def covered_hours(row: Any) -> Hours:
    """Return the hours with data of a row of `hours_by_series`."""
    readings, periods = (_masks_by_day(row.days, masks) for masks in (row.readings, row.periods))
    return _covered_by_readings(readings) | _join_days(periods)


def _masks_by_day(days: Sequence[int], masks: Sequence[int]) -> dict[int, int]:
    by_day = dict(zip(days, masks, strict=True))
    if len(by_day) < len(days):
        for day, mask in zip(days, masks, strict=True):
            by_day[day] |= mask
    return by_day


def coverage_of(series: Sequence[Series], span: Span, read: Span, timezone: str) -> Decimal | None:
    """Return the share of the expected time of a span that has data, rounded down to six digits.

    read: the part of the span whose data count; the rest is missing. The coverage is 1 only if no data is missing, and
    None if no time is expected.
    """
    always = [each for each in series if each.expected_within(*span) == span]
    expected = len(always) * (span[1] - span[0])
    covered = _seconds([each.hours for each in always], *read, timezone)
    for each in series:
        since, until = each.expected_within(*span)
        if (since, until) != span and since < until:
            expected += until - since
            covered += _seconds([each.hours], max(since, read[0]), min(until, read[1]), timezone)
    if not expected:
        return None
    return (covered / (Decimal(expected // MICROSECOND) / 10**6)).quantize(COVERAGE_DIGITS, ROUND_DOWN)


def gaps_of(series: Series, span: Span, timezone: str) -> Iterator[Span]:
    """Yield the parts of a span in which a series should have data but has none."""
    begin, end = series.expected_within(*span)
    if begin >= end:
        return
    zone = ZoneInfo(timezone)
    first, last = begin.astimezone(zone).date(), (end - MICROSECOND).astimezone(zone).date()
    length = HOURS * ((last - first).days + 1)
    missing = ~_from_day(series.hours, first) & ((1 << length) - 1)
    for run in re.finditer("1+", f"{missing:b}"[::-1]):
        since, until = (max(begin, min(end, _start_of_hour(first, hour, zone))) for hour in run.span())
        if since < until:
            yield since, until


def _start_of_hour(day: dt.date, hour: int, zone: ZoneInfo) -> dt.datetime:
    """Return the instant at which an hour begins, counted from the midnight of a day by the local clock."""
    days, hour = divmod(hour, HOURS)
    return dt.datetime.combine(day + days * DAY, dt.time(hour), zone).astimezone(dt.UTC)


def _join_days(masks: Mapping[int, int]) -> Hours:
    """Return the hours of all days from the bits of each day, which are three bytes."""
    days = [day for day, mask in masks.items() if mask]
    if not days:
        return 0
    first, last = min(days), max(days)
    by_day = [0] * (last - first + 1)
    for day in days:
        by_day[day - first] = masks[day]
    four_bytes, joined = struct.pack(f"<{len(by_day)}I", *by_day), bytearray(3 * len(by_day))
    for place in range(3):
        joined[place::3] = four_bytes[place::4]
    return int.from_bytes(joined, "little") << HOURS * first


def _covered_by_readings(readings: Mapping[int, int]) -> Hours:
    """Return the hours that readings cover, from the bits of the hours with readings by day."""
    read = {day: mask for day, mask in readings.items() if mask}
    if not read:
        return 0
    days_by_mask = Counter(read.values())  # Few, if the readings are regular.
    if _median((mask.bit_count(), count) for mask, count in days_by_mask.items()) > 1:
        step = _median((_step(mask), count) for mask, count in days_by_mask.items() if mask.bit_count() > 1)
        return _extend(_join_days(read), step)
    if len(read) == 1:
        return 0
    gap = _median((later - earlier, 1) for earlier, later in pairwise(sorted(read)))
    covered = 0
    for day, mask in read.items():
        begin = HOURS * day + (mask & -mask).bit_length() - 1
        end = HOURS * _add_gap(day, gap) + mask.bit_length() - 1
        covered |= ((1 << end - begin) - 1) << begin
    return covered


def _median(counts: Iterable[tuple[int, int]]) -> int:
    """Return the middle value, or the lower of the two middle values. counts: how often there is each value."""
    ordered = sorted(counts)
    above = (sum(count for _, count in ordered) + 1) // 2
    return next(
        value
        for (value, _), until in zip(ordered, accumulate(each for _, each in ordered), strict=True)
        if until >= above
    )


def _step(mask: int) -> int:
    """Return the mean hours between two readings of a day, rounded half up."""
    length, steps = mask.bit_length() - (mask & -mask).bit_length(), mask.bit_count() - 1
    return (2 * length + steps) // (2 * steps)


def _extend(hours: Hours, length: int) -> Hours:
    """Return the bits, each extended upwards to this length. Each step doubles the length as far as it can."""
    reached = 1
    while reached < length:
        more = min(reached, length - reached)
        hours |= hours << more
        reached += more
    return hours


def _add_gap(day: int, gap: int) -> int:
    """Return the day after a gap of days, or after a month, a quarter or a year if the gap is about as long."""
    months = {28 <= gap <= 31: 1, 89 <= gap <= 92: 3, gap in (365, 366): 12}.get(True)
    if months is None:
        return day + gap
    date = DAY_ZERO + day * DAY
    years, month = divmod(date.month - 1 + months, 12)
    first = dt.date(date.year + years, month + 1, 1)
    following = dt.date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return (min(first + (date.day - 1) * DAY, following - DAY) - DAY_ZERO).days


def _seconds(of_types: Sequence[Hours], begin: dt.datetime, end: dt.datetime, timezone: str) -> Decimal:
    """Return the seconds within [begin, end) of the hours of all series."""
    if begin >= end:
        return Decimal(0)
    zone = ZoneInfo(timezone)
    first, last = (instant.astimezone(zone).date() for instant in (begin, end))
    whole_from = first if start_of_day(first, timezone) == begin else first + DAY
    # Days that the range cuts, and days when the clock moves, are counted hour by hour.
    cut = [(first, begin, end if first == last else start_of_day(whole_from, timezone))] if whole_from > first else []
    if whole_from <= last and start_of_day(last, timezone) < end:
        cut.append((last, start_of_day(last, timezone), end))
    changes = _clock_changes(timezone, whole_from, last)
    cut += [(day, start_of_day(day, timezone), start_of_day(day + DAY, timezone)) for day in changes]
    length = max(HOURS * (last - whole_from).days, 0)
    seconds = Decimal(0)
    for hours in of_types if length else ():
        seconds += 3600 * (_from_day(hours, whole_from) & ((1 << length) - 1)).bit_count()
        seconds -= 3600 * sum((_from_day(hours, day) & ALL_HOURS).bit_count() for day in changes)
    for day, since, until in cut:
        lengths = _lengths_of_hours(day, since, until, zone)
        for hours in of_types:
            mask = _from_day(hours, day) & ALL_HOURS
            covered = sum((each for hour, each in lengths if mask >> hour & 1), dt.timedelta())
            seconds += Decimal(min(covered, until - since) // MICROSECOND) / 10**6
    return seconds


def _from_day(hours: Hours, day: dt.date) -> Hours:
    """Return the hours, shifted so that bit 0 is the first hour of this day. The day may be before day zero."""
    place = HOURS * (day - DAY_ZERO).days
    return hours >> place if place >= 0 else hours << -place


def _lengths_of_hours(
    day: dt.date, begin: dt.datetime, end: dt.datetime, zone: ZoneInfo
) -> list[tuple[int, dt.timedelta]]:
    """Return the hours of a day within [begin, end), each with its time. They may be shorter or longer than an hour."""
    hours = [instant.astimezone(zone).hour for instant in (begin, end - MICROSECOND)]
    lengths = []
    for hour in range(min(hours), max(hours) + 1):
        on_the_hour = dt.datetime.combine(day, dt.time(), zone) + hour * HOUR
        since, until = (instant.astimezone(dt.UTC) for instant in (on_the_hour, on_the_hour + HOUR))
        lengths.append((hour, max(min(until, end) - max(since, begin), dt.timedelta())))
    return lengths


def _clock_changes(timezone: str, first: dt.date, last: dt.date) -> list[dt.date]:
    """Return the days from `first` up to, not including, `last` on which the clock moves."""
    years = range(first.year, last.year + 1) if first < last else ()
    return [day for year in years for day in _clock_changes_of_year(timezone, year) if first <= day < last]


@lru_cache(maxsize=10_000)
def _clock_changes_of_year(timezone: str, year: int) -> list[dt.date]:
    zone = ZoneInfo(timezone)
    days = [dt.date(year, 1, 1) + number * DAY for number in range(366)]
    offsets = [dt.datetime.combine(day, dt.time(), zone).utcoffset() for day in [*days, days[-1] + DAY]]
    return [day for day, (before, after) in zip(days, pairwise(offsets), strict=True) if before != after]

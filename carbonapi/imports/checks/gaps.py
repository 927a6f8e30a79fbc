"""Gaps: a reading that came later than is usual, and time between two periods that nobody told anything of.

Series are told apart as for overlaps, by user, usage type and meter. What is usual of readings is the median time
between one and the next in the file. Half as much again is no gap yet: so a day may have 25 hours, and a month 31 days
where most have 30. Readings that keep to no interval, less than half of them about the usual one, have no gaps.
Adjustments are no readings. Of periods, any time between the end of what came before and the next is a gap.
"""

import datetime as dt
from typing import Any

import sqlalchemy as sa

from ...db import db
from ...rest.fields import format_datetime
from ..formats.text_files import MAX_ERRORS_SHOWN
from ..staging import GOOD, Row
from .overlaps import Warning, Warnings, meter, warning

TOLERANCE = sa.literal_column("1.5", sa.Numeric)
Keys = dict[str, sa.ColumnElement[Any]]  # What a series is told apart by.


def gaps(has_meters: bool, has_periods: bool) -> tuple[int, Warnings]:
    """How many gaps the file has, and the first ones by the line that they come before.

    has_meters: whether lines have an `external_id`. has_periods: whether lines have a `usage_until`.
    """
    series: Keys = {"user_id": Row.user_id, "usage_type_id": Row.usage_type_id}
    if has_meters:
        series["meter"] = meter(Row.external_id)
    found: Any = _between_readings(series)
    if has_periods:
        found = found.union_all(_between_periods(series))
    each = found.subquery("found").c
    by_line = sa.select(each.line, each.begin, each.end, each.usual, sa.func.count().over().label("gap_count"))
    first = db.session.execute(by_line.order_by(each.line).limit(MAX_ERRORS_SHOWN)).all()
    return first[0].gap_count if first else 0, [_warning(row) for row in first]


def _between_readings(series: Keys) -> sa.Select[Any]:
    """The lines whose reading comes too long after the one before."""
    before = sa.func.lag(Row.usage_at).over(partition_by=list(series.values()), order_by=Row.usage_at)
    readings = sa.select(Row.place, Row.usage_at, before.label("before"), *_named(series))
    readings = readings.where(GOOD, Row.usage_until.is_(None), Row.adjusts_closed_period_id.is_(None))
    # Otherwise they would be sorted a second time.
    read = readings.cte("read").prefix_with("MATERIALIZED", dialect="postgresql")
    usual = _usual(read, series)
    of_series = sa.and_(*(usual.c[name] == read.c[name] for name in series))
    return (
        sa.select(read.c.place.label("line"), read.c.before.label("begin"), read.c.usage_at.label("end"), usual.c.usual)
        .join(usual, of_series)
        .where(read.c.usage_at > read.c.before + TOLERANCE * usual.c.usual)
    )


def _usual(read: sa.CTE, series: Keys) -> Any:
    """The `usual` interval of each series that keeps to one."""
    interval = read.c.usage_at - read.c.before
    number: Any = sa.func.count()
    # Regular readings have few different intervals: these are counted, rather than all of them sorted.
    counts = (
        sa.select(*(read.c[name] for name in series), interval.label("interval"), number.label("number"))
        .where(interval > sa.text("INTERVAL '0'"))
        .group_by(*(read.c[name] for name in series), sa.text("interval"))
        .subquery("counts")
    )
    names = [counts.c[name] for name in series]
    so_far = sa.func.sum(counts.c.number).over(partition_by=names, order_by=counts.c.interval)
    total = sa.func.sum(counts.c.number).over(partition_by=names)
    counted = sa.select(counts, so_far.label("so_far"), total.label("total")).subquery("counted").c
    names = [counted[name] for name in series]
    median = sa.func.min(counted.interval).filter(2 * counted.so_far >= counted.total).over(partition_by=names)
    told = sa.select(*names, counted.interval, counted.number, counted.total, median.label("usual")).subquery("told").c
    names = [told[name] for name in series]
    is_about = sa.and_(told.interval <= TOLERANCE * told.usual, TOLERANCE * told.interval >= told.usual)
    keeping = 2 * sa.func.sum(told.number).filter(is_about) >= told.total
    return sa.select(*names, told.usual).group_by(*names, told.usual, told.total).having(keeping).subquery("usual")


def _between_periods(series: Keys) -> sa.Select[Any]:
    """The lines whose period begins later than all those end that began before."""
    order = [Row.usage_at, Row.place]
    before = sa.func.max(Row.usage_until).over(partition_by=list(series.values()), order_by=order, rows=(None, -1))
    periods = sa.select(Row.place, Row.usage_at, before.label("before"))
    told = (
        periods.where(GOOD, Row.usage_until.is_not(None), Row.adjusts_closed_period_id.is_(None)).subquery("periods").c
    )
    nothing = sa.cast(None, sa.Interval)
    return sa.select(told.place, told.before, told.usage_at, nothing).where(told.usage_at > told.before)


def _named(series: Keys) -> list[sa.Label[Any]]:
    return [key.label(name) for name, key in series.items()]


def _warning(gap: Any) -> Warning:
    begin = format_datetime(gap.begin)
    message = f"No period since {begin}."
    if gap.usual is not None:
        message = f"No reading since {begin}, where one every {_in_words(gap.usual)} is usual."
    return warning(gap.line, "gap", message, gap_start=begin, gap_end=format_datetime(gap.end))


def _in_words(interval: dt.timedelta) -> str:
    """An interval in the largest unit of which it is a whole number; below a second, it is cut off."""
    units = {"day": dt.timedelta(days=1), "hour": dt.timedelta(hours=1), "minute": dt.timedelta(minutes=1)}
    second = dt.timedelta(seconds=1)
    unit, length = next(((unit, length) for unit, length in units.items() if not interval % length), ("second", second))
    number = interval // length
    return unit if number == 1 else f"{number} {unit}s"

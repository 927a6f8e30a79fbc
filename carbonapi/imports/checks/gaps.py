"""Warn of gaps: readings later than usual, and time between two intervals that no row covers.

A series is the rows of one meter; `overlaps` says what it is without one. The usual distance between readings is the
median of the series in the file. Up to 1.5 times that is no gap: a day may have 25 hours, and a month 31 days where
most have 30. An irregular series has no gaps: less than half of its distances are close to the usual one.
Adjustments are not readings. Between intervals, any time after the latest end so far is a gap.
"""

import datetime as dt
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ...db import db
from ...errors import MAX_ERRORS_SHOWN
from ...rest.fields import format_datetime
from ..staging import IS_VALID, Row
from .overlaps import SeriesKey, Warning, Warnings, series_key, warning

TOLERANCE = sa.literal_column("1.5", sa.Numeric)


def gaps(columns: Collection[str]) -> tuple[int, Warnings]:
    """Return how many gaps the file has, and the first warnings, by the line after the gap.

    columns: those with a value in any row.
    """
    key = series_key(columns)
    found: Any = _gaps_between_readings(key)
    if "usage_until" in columns:
        found = found.union_all(_gaps_between_intervals(key))
    gap = found.subquery("found").c
    by_line = sa.select(gap.line, gap.start, gap.end, gap.usual, sa.func.count().over().label("gap_count"))
    first = db.session.execute(by_line.order_by(gap.line).limit(MAX_ERRORS_SHOWN)).all()
    return first[0].gap_count if first else 0, [_warning(row) for row in first]


def _gaps_between_readings(key: SeriesKey) -> sa.Select[Any]:
    before = sa.func.lag(Row.usage_at).over(partition_by=list(key.values()), order_by=Row.usage_at)
    columns = (column.label(name) for name, column in key.items())
    rows = sa.select(Row.line, Row.usage_at, before.label("before"), *columns)
    rows = rows.where(IS_VALID, Row.usage_until.is_(None), Row.adjusts_closed_period_id.is_(None))
    # Materialized, or PostgreSQL would sort the rows twice.
    readings = rows.cte("readings").prefix_with("MATERIALIZED", dialect="postgresql")
    usual = _usual_distances(readings, key)
    reading = readings.c
    return (
        sa.select(reading.line, reading.before.label("start"), reading.usage_at.label("end"), usual.c.usual)
        .join(usual, sa.and_(*(usual.c[name] == reading[name] for name in key)))
        .where(reading.usage_at > reading.before + TOLERANCE * usual.c.usual)
    )


def _usual_distances(readings: sa.CTE, key: SeriesKey) -> Any:
    """Return the `usual` distance between readings of each regular series."""
    distance = readings.c.usage_at - readings.c.before
    count: Any = sa.func.count()
    # Regular series have few different distances, so counting is faster than sorting.
    counts = (
        sa.select(*(readings.c[name] for name in key), distance.label("distance"), count.label("count"))
        .where(distance > sa.text("INTERVAL '0'"))
        .group_by(*(readings.c[name] for name in key), sa.text("distance"))
        .subquery("counts")
    )
    series = [counts.c[name] for name in key]
    running = sa.func.sum(counts.c["count"]).over(partition_by=series, order_by=counts.c.distance)
    total = sa.func.sum(counts.c["count"]).over(partition_by=series)
    summed = sa.select(counts, running.label("running"), total.label("total")).subquery("summed").c
    series = [summed[name] for name in key]
    median = sa.func.min(summed.distance).filter(2 * summed.running >= summed.total).over(partition_by=series)
    columns = (summed.distance, summed["count"], summed.total, median.label("usual"))
    ranked = sa.select(*series, *columns).subquery("ranked").c
    series = [ranked[name] for name in key]
    is_close = sa.and_(ranked.distance <= TOLERANCE * ranked.usual, TOLERANCE * ranked.distance >= ranked.usual)
    is_regular = 2 * sa.func.sum(ranked["count"]).filter(is_close) >= ranked.total
    usual = sa.select(*series, ranked.usual).group_by(*series, ranked.usual, ranked.total)
    return usual.having(is_regular).subquery("usual")


def _gaps_between_intervals(key: SeriesKey) -> sa.Select[Any]:
    order = [Row.usage_at, Row.line]
    before = sa.func.max(Row.usage_until).over(partition_by=list(key.values()), order_by=order, rows=(None, -1))
    rows = sa.select(Row.line, Row.usage_at, before.label("before"))
    rows = rows.where(IS_VALID, Row.usage_until.is_not(None), Row.adjusts_closed_period_id.is_(None))
    interval = rows.subquery("intervals").c
    no_usual = sa.cast(None, sa.Interval)
    gap = (interval.line, interval.before, interval.usage_at, no_usual)
    return sa.select(*gap).where(interval.usage_at > interval.before)


def _warning(gap: Any) -> Warning:
    start = format_datetime(gap.start)
    message = f"No usage covers the time since {start}."
    if gap.usual is not None:
        message = f"No reading since {start}; usually there is one every {_in_words(gap.usual)}."
    return warning(gap.line, "gap", message, gap_start=start, gap_end=format_datetime(gap.end))


def _in_words(distance: dt.timedelta) -> str:
    """Return a time span as a whole number of its largest unit. Fractions of a second are cut off."""
    units = {"day": dt.timedelta(days=1), "hour": dt.timedelta(hours=1), "minute": dt.timedelta(minutes=1)}
    second = dt.timedelta(seconds=1)
    unit, length = next(((unit, length) for unit, length in units.items() if not distance % length), ("second", second))
    number = distance // length
    return unit if number == 1 else f"{number} {unit}s"

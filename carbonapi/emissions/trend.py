"""Emissions over time, added up by PostgreSQL."""

import datetime as dt
from decimal import ROUND_DOWN, Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..db import db
from ..local_time.clock import MICROSECOND
from ..usages.models import Usage
from .aggregation import Figures, aggregate, check_single_method, group_column, join_names, share, to_figures, totals
from .buckets import bucket_edges
from .comparison import comparison_range, is_folded, per_day
from .coverage import covered_seconds, hours_by_type
from .figures_query import CachedQuery, RowSource, UsageSelection
from .prorated_rows import TimeEdges

NOW, PREVIOUS = TimeEdges(), TimeEdges("previous_edges")
ORDER = "is_whole DESC, group_id NULLS LAST"
HOURS_TOLD = ("days", "readings", "periods")
COVERAGE_DIGITS = Decimal("0.000001")


def trend(
    asked: UsageSelection,
    bucket: str,
    timezone: str,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    group_by: str | None = None,
    compare: str | None = None,
    types_asked: int | None = None,
) -> list[Figures]:
    """kg CO2e and number of usages per `bucket` of local time in `timezone`, oldest first, empty buckets included.

    start, end: the range [start, end); left out, it is from the first usage to the last, which costs a statement more.
    compare: what stands beside each bucket as `previous`; comparison.py tells the kinds.
    types_asked: of how many usage types there should be data; by default of those that there are.
    """
    reach = (start, end) if start and end else _reach(asked.usages, start, end)
    if reach is None:
        return []
    range_start, range_end = reach
    edges = bucket_edges(range_start, range_end, bucket, timezone)
    series = [
        _bucket(bucket_start, bucket_end)
        | {"partial": (start is not None and bucket_start < start) or (end is not None and end < bucket_end)}
        | ({"groups": []} if group_by else {})
        for bucket_start, bucket_end in zip(edges, edges[1:], strict=False)
    ]
    cut = {NOW: _cut(edges, range_start, range_end)}
    if compare is not None:
        before = comparison_range(edges, start or edges[0], end or edges[-1], compare, bucket, timezone)
        cut[PREVIOUS] = _cut(before.edges, before.start, before.end)
        for found, previous_start, previous_end in zip(series, before.edges, before.edges[1:], strict=False):
            found["previous"] = _bucket(previous_start, previous_end)
            lengths = (found["bucket_end"] - found["bucket_start"], previous_end - previous_start)
            found["previous"]["folded"] = is_folded(bucket, *lengths)
    # Days tell of no hours and of no users; and they are days of one time zone alone.
    by_days = bucket != "hour" and group_by != "user" and timezone == asked.timezone
    rows = asked.rows(CachedQuery(_sums_and_hours, ORDER, (group_by,)), cut, by_days=by_days, timezone=timezone)
    check_single_method(rows)
    for edges_asked, instants in cut.items():
        of_types = [row for row in rows if row.days is not None and row.is_previous == (edges_asked is PREVIOUS)]
        for found, seconds in zip(series, covered_seconds(of_types, instants, timezone), strict=True):
            if seconds:
                found = found["previous"] if edges_asked is PREVIOUS else found
                found["coverage"] = _share_of_time(found, seconds / (types_asked or len(of_types)))
    for row in rows:
        if row.days is not None:
            continue
        found = series[row.place - 1]
        found = found["previous"] if row.is_previous else found
        if row.is_whole:
            found |= to_figures(row) | {"estimated_share": share(row.estimated_kg, row.co2e_kg)}
        else:
            found["groups"].append({"id": row.group_id, "name": row.group_name} | to_figures(row))
    if compare is not None:
        for found in (*series, *(found["previous"] for found in series)):
            found["co2e_kg_per_day"] = per_day(found["co2e_kg"], found["bucket_end"] - found["bucket_start"])
    return series


def _reach(
    usages: sa.Select[Any], start: dt.datetime | None, end: dt.datetime | None
) -> tuple[dt.datetime, dt.datetime] | None:
    """The range; where it is left open, it is from the first usage or to the last. None if nothing is in it."""
    first, last, last_until = db.session.execute(
        usages.with_only_columns(
            sa.func.min(Usage.usage_at), sa.func.max(Usage.usage_at), sa.func.max(Usage.usage_until)
        )
    ).one()
    if first is None:
        return None
    start, end = start or first, end or max(last + MICROSECOND, last_until or last)
    return (start, end) if start < end else None


def _cut(edges: list[dt.datetime], start: dt.datetime, end: dt.datetime) -> list[dt.datetime]:
    """The edges, the outer ones moved in to [start, end)."""
    return [min(max(edge, start), end) for edge in edges]


def _bucket(bucket_start: dt.datetime, bucket_end: dt.datetime) -> Figures:
    """An empty bucket."""
    bucket: Figures = {"bucket_start": bucket_start, "bucket_end": bucket_end, "co2e_kg": 0, "usage_count": 0}
    return bucket | {"coverage": 0 if bucket_start < bucket_end else None, "estimated_share": None}


def _share_of_time(bucket: Figures, seconds: Decimal) -> Decimal:
    """Rounded down: it is 1 only if nothing is missing."""
    length = bucket["bucket_end"] - bucket["bucket_start"]
    return (seconds / Decimal(length.total_seconds())).quantize(COVERAGE_DIGITS, ROUND_DOWN)


def _sums_and_hours(sources: tuple[RowSource, ...], group_by: str | None) -> sa.CompoundSelect[Any]:
    """The sums of every bucket, also of those that they are compared with, if there are; and the hours of the types."""
    statements = []
    for source in sources:
        is_previous = source.edges is PREVIOUS
        group = None if is_previous else group_by
        statements += [
            _sums(aggregate(source.parts, [group] if group else [], "place"), group, is_previous=is_previous),
            _hours(hours_by_type(source.edges, by_days=source.shape is not None), is_previous=is_previous),
        ]
    return sa.union_all(*statements)


def _sums(found: Any, group_by: str | None, *, is_previous: bool) -> sa.Select[Any]:
    """The sums of every bucket that is not empty, by its place from 1: of the whole, and of each group."""
    columns: list[Any] = [found.c.place, sa.literal(is_previous).label("is_previous"), *totals(found)]
    # The columns that only some of the rows have stand in all: so statements can be united.
    hours = (_none(name, ARRAY(sa.Integer)) for name in HOURS_TOLD)
    if group_by is None:
        # Without groups a bucket is its own whole.
        whole = (_none("group_id", sa.BigInteger), _none("group_name", sa.Text), sa.literal(1).label("is_whole"))
        return join_names(sa.select(*columns, *whole, *hours), found).group_by(found.c.place)
    key, name = group_column(found, group_by)
    group = (
        sa.cast(key, sa.BigInteger).label("group_id"),
        sa.func.min(name).label("group_name"),
        sa.func.grouping(key).label("is_whole"),
    )
    return join_names(sa.select(*columns, *group, *hours), found).group_by(
        sa.func.grouping_sets(sa.tuple_(found.c.place), sa.tuple_(found.c.place, key))
    )


def _hours(of_types: sa.Select[Any], *, is_previous: bool) -> sa.Select[Any]:
    """The hours of each usage type, in a row like those of the sums."""
    found = of_types.subquery("of_types")
    sums_and_group = [
        _none(name, type_)
        for name, type_ in (
            ("co2e_kg", sa.Numeric), ("usage_count", sa.BigInteger), ("amount", sa.Numeric), ("unit", sa.Text),
            ("estimated_kg", sa.Numeric), ("first_method", sa.Text), ("last_method", sa.Text),
            ("group_id", sa.BigInteger), ("group_name", sa.Text), ("is_whole", sa.Integer),
        )
    ]  # fmt: skip
    place = _none("place", sa.Integer)
    return sa.select(
        place, sa.literal(is_previous).label("is_previous"), *sums_and_group, *(found.c[name] for name in HOURS_TOLD)
    )


def _none(name: str, type_: Any) -> sa.ColumnElement[Any]:
    return sa.cast(None, type_).label(name)

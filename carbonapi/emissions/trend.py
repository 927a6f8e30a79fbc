"""Emissions over time, added up by PostgreSQL."""

import datetime as dt
from decimal import ROUND_DOWN, Decimal
from functools import cache
from typing import Any

import sqlalchemy as sa

from ..db import db
from ..usages.local_time import INSTANT
from ..usages.models import Usage
from .adding import Figures, add_up, figures_of, group_of, refuse_two_methods, share, sums, with_names
from .buckets import boundaries
from .comparison import is_folded, per_day, previous
from .coverage import covered
from .spreading import END_OF_TIME, Edges, parts, rows_of

NOW, PREVIOUS = Edges(), Edges("previous_edges")
COVERAGE_DIGITS = Decimal("0.000001")


def trend(
    usages: sa.Select[Any],
    bucket: str,
    timezone: str,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    group_by: str | None = None,
    compare: str | None = None,
    types_asked: int | None = None,
) -> list[Figures]:
    """kg CO2e and number of usages per `bucket` of local time in `timezone`, oldest first, empty buckets included.

    usages: a SELECT of Usage, as the actor may see and has narrowed them, but for the range.
    start, end: the range [start, end); left out, it is from the first usage to the last, which costs a statement more.
    compare: what stands beside each bucket as `previous`; comparison.py tells the kinds.
    types_asked: of how many usage types there should be data; by default of those that there are.
    """
    range_start, range_end = (start, end) if start and end else _reach(usages, start, end)
    if range_start >= range_end:
        return []
    edges = boundaries(range_start, range_end, bucket, timezone)
    series = [
        _bucket(bucket_start, bucket_end)
        | {"partial": (start is not None and bucket_start < start) or (end is not None and end < bucket_end)}
        | ({"groups": []} if group_by else {})
        for bucket_start, bucket_end in zip(edges, edges[1:], strict=False)
    ]
    parameters = {"timezone": timezone} | NOW.parameters(_cut(edges, range_start, range_end))
    if compare is not None:
        before = previous(edges, start or edges[0], end or edges[-1], compare, bucket, timezone)
        parameters |= PREVIOUS.parameters(_cut(before.edges, before.start, before.end))
        for found, previous_start, previous_end in zip(series, before.edges, before.edges[1:], strict=False):
            found["previous"] = _bucket(previous_start, previous_end)
            lengths = (found["bucket_end"] - found["bucket_start"], previous_end - previous_start)
            found["previous"]["folded"] = is_folded(bucket, *lengths)
    rows = rows_of(_statement(group_by, compare is not None), usages, **parameters)
    refuse_two_methods(rows)
    for row in rows:
        found = series[row.place - 1]
        found = found["previous"] if row.is_previous else found
        if row.covered_seconds is not None:
            found["coverage"] = _share_of_time(found, row.covered_seconds / (types_asked or row.type_count))
        elif row.is_whole:
            found |= figures_of(row) | {"estimated_share": share(row.estimated_kg, row.co2e_kg)}
        else:
            found["groups"].append({"id": row.group_id, "name": row.group_name} | figures_of(row))
    if compare is not None:
        for found in (*series, *(found["previous"] for found in series)):
            found["co2e_kg_per_day"] = per_day(found["co2e_kg"], found["bucket_end"] - found["bucket_start"])
    return series


def _reach(
    usages: sa.Select[Any], start: dt.datetime | None, end: dt.datetime | None
) -> tuple[dt.datetime, dt.datetime]:
    """The range; where it is left open, it is from the first usage or to the last. Without usages it is empty."""
    first, last, last_until = db.session.execute(
        usages.with_only_columns(
            sa.func.min(Usage.usage_at), sa.func.max(Usage.usage_at), sa.func.max(Usage.usage_until)
        )
    ).one()
    if first is None:
        return END_OF_TIME, END_OF_TIME
    return start or first, end or max(last + INSTANT, last_until or last)


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


@cache
def _statement(group_by: str | None, with_previous: bool) -> sa.CompoundSelect[Any]:
    """The sums and the coverage of ASKED in every bucket; with `previous`, of those that they are compared with too."""
    statements = [_sums(NOW, group_by), _coverage(NOW)]
    if with_previous:
        statements += [_sums(PREVIOUS, is_previous=True), _coverage(PREVIOUS, is_previous=True)]
    return sa.union_all(*statements).order_by(sa.text("is_whole DESC, group_id NULLS LAST"))


def _sums(edges: Edges, group_by: str | None = None, *, is_previous: bool = False) -> sa.Select[Any]:
    """The sums of every bucket that is not empty, by its place from 1: of the whole, and of each group."""
    found = add_up(parts(edges), [group_by] if group_by else [], "place")
    columns: list[Any] = [found.c.place, sa.literal(is_previous).label("is_previous"), *sums(found)]
    # The columns that only some of the rows have stand in all: so statements can be united.
    coverage = _none("covered_seconds", sa.Numeric), _none("type_count", sa.BigInteger)
    if group_by is None:
        # Without groups a bucket is its own whole.
        whole = (_none("group_id", sa.BigInteger), _none("group_name", sa.Text), sa.literal(1).label("is_whole"))
        return with_names(sa.select(*columns, *whole, *coverage), found).group_by(found.c.place)
    key, name = group_of(found, group_by)
    group = (
        sa.cast(key, sa.BigInteger).label("group_id"),
        sa.func.min(name).label("group_name"),
        sa.func.grouping(key).label("is_whole"),
    )
    return with_names(sa.select(*columns, *group, *coverage), found).group_by(
        sa.func.grouping_sets(sa.tuple_(found.c.place), sa.tuple_(found.c.place, key))
    )


def _coverage(edges: Edges, *, is_previous: bool = False) -> sa.Select[Any]:
    """The time covered of every bucket, in a row like those of the sums."""
    found = covered(edges).subquery("covered")
    sums_and_group = [
        _none(name, type_)
        for name, type_ in (
            ("co2e_kg", sa.Numeric), ("usage_count", sa.BigInteger), ("amount", sa.Numeric), ("unit", sa.Text),
            ("estimated_kg", sa.Numeric), ("first_method", sa.Text), ("last_method", sa.Text),
            ("group_id", sa.BigInteger), ("group_name", sa.Text), ("is_whole", sa.Integer),
        )
    ]  # fmt: skip
    return sa.select(
        found.c.place,
        sa.literal(is_previous).label("is_previous"),
        *sums_and_group,
        found.c.seconds,
        found.c.type_count,
    )


def _none(name: str, type_: Any) -> sa.ColumnElement[Any]:
    return sa.cast(None, type_).label(name)

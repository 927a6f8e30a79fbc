"""The trend: emissions by bucket of local time, added up by PostgreSQL."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..db import db
from ..local_time.clock import MICROSECOND
from ..usages.models import Usage
from .aggregation import (
    GROUPS_OF_USAGES,
    LINE_GROUPS,
    Basis,
    Figures,
    aggregate,
    evaluate,
    group_column,
    join_names,
    share,
    to_figures,
    totals,
)
from .buckets import bucket_edges
from .comparison import comparison_range, is_folded, per_day
from .coverage import SERIES, Series, coverage_of
from .prorated_rows import TimeEdges
from .series import Expectation, expect_nothing, hours_of_series
from .service import CachedQuery, Instants, RowSource, UsageSelection

CURRENT, PREVIOUS = TimeEdges("edges"), TimeEdges("previous_edges")
AMOUNTS = ("amount", "estimated_amount")
ORDER = "is_whole DESC, group_id NULLS LAST"
HOUR_COLUMNS = ("days", "readings", "periods")
SERIES_COLUMNS = tuple(f"series_{name}" for name in SERIES)
Expect = Callable[[bool], Expectation]


def trend(
    selection: UsageSelection,
    bucket: str,
    timezone: str,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    group_by: str | None = None,
    compare: str | None = None,
    expect: Expect = expect_nothing,
) -> list[Figures]:
    """Return kg CO2e and the number of usages of each `bucket` of local time, oldest first, including empty buckets.

    start, end: the range [start, end). Without them, the range is from the first usage to the last, which takes another
    statement. compare: a key of `comparison_range`, which adds `previous` to each bucket. expect: returns the
    series that should have data, besides those that have, for whether the actor sees sites.
    """
    full_range = (start, end) if start and end else range_of(selection.usages, start, end)
    if full_range is None:
        return []
    edges = bucket_edges(*full_range, bucket, timezone)
    instants: dict[TimeEdges, Instants] = {CURRENT: _clip(edges, *full_range)}
    series = {CURRENT: _empty_buckets(edges, selection.basis.sums)}
    for each in series[CURRENT]:
        cut_start = start is not None and each["bucket_start"] < start
        each["partial"] = cut_start or (end is not None and end < each["bucket_end"])
        if group_by:
            each["groups"] = []
    if compare is not None:
        previous_edges, *previous_range = comparison_range(
            edges, start or edges[0], end or edges[-1], compare, bucket, timezone
        )
        instants[PREVIOUS] = _clip(previous_edges, *previous_range)
        series[PREVIOUS] = _empty_buckets(previous_edges, selection.basis.sums)
    # Daily totals have no sums of hours, users or sites, and they have the days of a single time zone.
    has_days = timezone == selection.timezone
    by_days = has_days and bucket != "hour" and group_by not in GROUPS_OF_USAGES
    query = CachedQuery(_sums_and_hours, ORDER, (group_by, selection.basis), has_hours=True)
    found = selection.find(query, instants, by_days=by_days, hours_by_days=has_days, timezone=timezone)
    expected = expect(found.has_sites)
    hours = hours_of_series(selection, found, instants, timezone)
    for edges_name, buckets in series.items():
        is_previous = edges_name == PREVIOUS
        _add_sums(buckets, [row for row in found.rows if row.is_previous == is_previous and row.days is None])
        of_buckets = expected.complete([row for row in hours if row.is_previous == is_previous])
        _add_coverage(buckets, of_buckets, instants[edges_name], timezone)
    if compare is not None:
        _add_comparison(series[CURRENT], series[PREVIOUS], bucket)
    return series[CURRENT]


def range_of(
    usages: sa.Select[Any], start: dt.datetime | None, end: dt.datetime | None
) -> tuple[dt.datetime, dt.datetime] | None:
    """Return the range, whose open ends are the first and the last usage; None if it is empty."""
    first, last, last_until = db.session.execute(
        usages.with_only_columns(
            sa.func.min(Usage.usage_at), sa.func.max(Usage.usage_at), sa.func.max(Usage.usage_until)
        )
    ).one()
    if first is None:
        return None
    start, end = start or first, end or max(last + MICROSECOND, last_until or last)
    return (start, end) if start < end else None


def _clip(edges: Instants, start: dt.datetime, end: dt.datetime) -> Instants:
    """Return the edges, with the outer ones moved in to [start, end)."""
    return [min(max(edge, start), end) for edge in edges]


def _empty_buckets(edges: Instants, sums: Sequence[str]) -> list[Figures]:
    return [
        {
            "bucket_start": start,
            "bucket_end": end,
            **dict.fromkeys(sums, 0),
            "coverage": 0 if start < end else None,
            "estimated_share": None,
        }
        for start, end in zip(edges, edges[1:], strict=False)
    ]


def _add_sums(buckets: list[Figures], rows: Sequence[Any]) -> None:
    for row in rows:
        found = buckets[row.place - 1]
        if row.is_whole:
            found |= to_figures(row) | {"estimated_share": share(row.estimated_kg, row.co2e_kg)}
        else:
            found["groups"].append({"id": row.group_id, "name": row.group_name} | to_figures(row))


def _add_coverage(buckets: list[Figures], series: Sequence[Series], edges: Instants, timezone: str) -> None:
    for found, begin, end in zip(buckets, edges, edges[1:], strict=False):
        if series and found["bucket_start"] < found["bucket_end"]:
            span = (found["bucket_start"], found["bucket_end"])
            found["coverage"] = coverage_of(series, span, (begin, end), timezone)


def _add_comparison(buckets: list[Figures], previous_buckets: list[Figures], bucket: str) -> None:
    for found, previous in zip(buckets, previous_buckets, strict=True):
        length, previous_length = (each["bucket_end"] - each["bucket_start"] for each in (found, previous))
        found["previous"] = previous
        found["co2e_kg_per_day"] = per_day(found["co2e_kg"], length)
        previous["co2e_kg_per_day"] = per_day(previous["co2e_kg"], previous_length)
        previous["folded"] = is_folded(bucket, length, previous_length)


def _sums_and_hours(sources: tuple[RowSource, ...], group_by: str | None, basis: Basis) -> sa.CompoundSelect[Any]:
    """Select the sums of each bucket, and the hours with data of each usage type, for every source."""
    statements = []
    for source in sources:
        is_previous = source.edges == PREVIOUS
        group = None if is_previous else group_by
        added = aggregate(
            source.parts, [group] if group else [], "place", name=f"added_{source.edges.name}", amounts=AMOUNTS
        )
        hours = source.hours
        evaluated = evaluate(added, basis)
        sums = _sums(evaluated, basis, is_previous=is_previous)
        statements += [sums, _hours(hours, sums, is_previous=is_previous)]
        if group:
            of_group = evaluate(added, basis, group) if group in LINE_GROUPS else evaluated
            statements.append(_sums(of_group, basis, group, is_previous=is_previous))
    return sa.union_all(*statements)


def _sums(evaluated: Any, basis: Basis, group_by: str | None = None, *, is_previous: bool) -> sa.Select[Any]:
    """Select the sums of each bucket that is not empty, by its place from 1: of the whole, or of each group."""
    place = evaluated.c.place
    columns: list[Any] = [place, sa.literal(is_previous).label("is_previous"), *totals(evaluated, basis)]
    if group_by is None:
        keys: list[Any] = []
        group = [_null("group_id", sa.BigInteger), _null("group_name", sa.Text), sa.literal(1).label("is_whole")]
    else:
        key, id_, name = group_column(evaluated, group_by)
        keys = [key]
        group_id = sa.cast(sa.func.min(id_), sa.BigInteger).label("group_id")
        group = [group_id, sa.func.min(name).label("group_name"), sa.literal(0).label("is_whole")]
    # Every SELECT of the UNION has the columns of all of them.
    hours = (_null(name, ARRAY(sa.Integer)) for name in HOUR_COLUMNS)
    of_series = (_null(name, sa.BigInteger) for name in SERIES_COLUMNS)
    return join_names(sa.select(*columns, *group, *of_series, *hours), evaluated, group_by).group_by(place, *keys)


def _hours(of_types: sa.Select[Any], sums: sa.Select[Any], *, is_previous: bool) -> sa.Select[Any]:
    """Select the hours of each usage type, in rows with the columns of `sums`."""
    values: dict[str, Any] = {"is_previous": sa.literal(is_previous).label("is_previous")}
    values |= {column.name: column for column in of_types.subquery("hours_of_types").c}
    return sa.select(*(values.get(column.name, _null(column.name, column.type)) for column in sums.selected_columns))


def _null(name: str, type_: Any) -> sa.ColumnElement[Any]:
    return sa.cast(None, type_).label(name)

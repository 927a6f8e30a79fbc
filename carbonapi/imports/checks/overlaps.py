"""Warn of intervals that overlap, such as a bill imported twice, two bills for the same days, or a bill over readings.

Only usages of one series overlap: of one meter; without a meter, of one site and usage type; without a site, of one
user and usage type. Without a meter, the part of the external_id before the last slash distinguishes series too.
"""

from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ...db import db
from ...errors import MAX_ERRORS_SHOWN
from ...usages.models import Usage
from ..formats.rows import METERS, PLACES
from ..staging import IS_VALID, Row

Warning = dict[str, Any]
Warnings = list[Warning]
SeriesKey = dict[str, sa.ColumnElement[Any]]
_LINE, _OTHER_LINE, _USAGE_ID = (sa.column(name, sa.BigInteger) for name in ("line", "other_line", "usage_id"))


def overlaps(organization_id: int, columns: Collection[str]) -> tuple[int, Warnings]:
    """Return how many rows overlap a row or usage of the same series, and the first warnings, by line.

    columns: those with a value in any row.
    """
    has_intervals = "usage_until" in columns
    selects = [_readings_in_ledger_intervals(organization_id, is_same) for is_same in _same_series(columns)]
    if has_intervals:
        key = series_key(columns)
        selects += [_intervals_in_file(key), _readings_in_file(key)]
        for is_same in _same_series(columns):
            selects += [_intervals_in_ledger(organization_id, is_same), _readings_in_ledger(organization_id, is_same)]
    found = sa.union_all(*selects).subquery("found")
    firsts = (
        sa.func.min(_OTHER_LINE).label("other_line"),
        sa.func.min(_USAGE_ID).label("usage_id"),
        sa.func.min(sa.column("kind", sa.Integer)).label("kind"),
    )
    by_line = sa.select(_LINE, *firsts, sa.func.count().over().label("line_count")).select_from(found)
    first = db.session.execute(by_line.group_by(_LINE).order_by(_LINE).limit(MAX_ERRORS_SHOWN)).all()
    return first[0].line_count if first else 0, [_warning(row) for row in first]


def series_key(columns: Collection[str]) -> SeriesKey:
    """Return the values that rows of one series share; none is null. columns: those with a value in any row."""
    key: SeriesKey = {"user_id": Row.user_id, "usage_type_id": Row.usage_type_id}
    if "external_id" in columns:
        key["prefix"] = prefix(Row.external_id)
    if not {*columns}.isdisjoint(PLACES):
        without_meter, zero = Row.meter_id.is_(None), sa.literal(0, sa.BigInteger)
        key["user_id"] = sa.case((without_meter & Row.site_id.is_(None), Row.user_id), else_=zero)
        key["site_id"] = sa.case((without_meter & Row.site_id.is_not(None), Row.site_id), else_=zero)
        key["meter_id"] = sa.func.coalesce(Row.meter_id, zero)
        if "prefix" in key:
            key["prefix"] = sa.case((without_meter, key["prefix"]), else_="")
    return key


def _same_series(columns: Collection[str]) -> Iterator[tuple[sa.ColumnElement[bool], ...]]:
    """Yield the conditions that a usage is of the series of a row, for each kind of series that the file can have."""
    same_type = (Usage.usage_type_id == Row.usage_type_id, prefix(Usage.external_id) == prefix(Row.external_id))
    without_meter = (Usage.meter_id.is_(None), Row.meter_id.is_(None))
    without_site = (Usage.site_id.is_(None), Row.site_id.is_(None))
    yield (Usage.user_id == Row.user_id, *same_type, *without_meter, *without_site)
    if not {*columns}.isdisjoint(PLACES):
        yield (Usage.site_id == Row.site_id, *same_type, *without_meter)
    if not {*columns}.isdisjoint(METERS):
        yield (Usage.meter_id == Row.meter_id,)


INTERVALS, READING_IN_IT, WITHIN_INTERVAL = range(3)


def _found(kind: int, line: Any, other_line: Any = None, usage_id: Any = None) -> tuple[sa.ColumnElement[Any], ...]:
    return (
        line.label("line"),
        sa.cast(other_line, sa.BigInteger).label("other_line"),
        sa.cast(usage_id, sa.BigInteger).label("usage_id"),
        sa.literal(kind).label("kind"),
    )


def _intervals_in_file(key: SeriesKey) -> sa.Select[Any]:
    """Select rows that start before an earlier interval has ended."""
    # The latest end, and of equal ones the first row. PostgreSQL compares arrays element by element.
    latest: sa.ColumnElement[Any] = sa.literal_column(
        "ARRAY[extract(epoch FROM usage_until), -extract(epoch FROM usage_at), -line]", ARRAY(sa.Numeric)
    )
    before = sa.func.max(latest).over(
        partition_by=list(key.values()), order_by=[Row.usage_at, Row.line], rows=(None, -1)
    )
    rows = sa.select(Row.line, sa.extract("epoch", Row.usage_at).label("start"), before.label("latest"))
    intervals = rows.where(IS_VALID, Row.usage_until.is_not(None)).subquery("intervals")
    other = sa.cast(-intervals.c.latest[3], sa.BigInteger)
    greater, less = sa.func.greatest(intervals.c.line, other), sa.func.least(intervals.c.line, other)
    return sa.select(*_found(INTERVALS, greater, less)).where(intervals.c.latest[1] > intervals.c.start)


def _readings_in_file(key: SeriesKey) -> sa.Select[Any]:
    """Select intervals within which a reading of the file is."""
    reading: sa.ColumnElement[Any] = sa.literal_column("ARRAY[extract(epoch FROM usage_at), line]", ARRAY(sa.Numeric))
    # From the latest row to the earliest, so that the first reading from a time on is a running minimum.
    following = (
        sa.func.min(reading)
        .filter(Row.usage_until.is_(None), Row.adjusts_closed_period_id.is_(None))
        .over(partition_by=list(key.values()), order_by=Row.usage_at.desc())
    )
    rows = sa.select(Row.line, Row.usage_until, following.label("following")).where(IS_VALID).subquery("rows")
    other = sa.cast(rows.c.following[2], sa.BigInteger)
    is_within = rows.c.following[1] < sa.extract("epoch", rows.c.usage_until)
    return sa.select(*_found(READING_IN_IT, rows.c.line, other)).where(is_within)


def _intervals_in_ledger(organization_id: int, is_same_series: tuple[sa.ColumnElement[bool], ...]) -> sa.Select[Any]:
    """Select rows whose interval overlaps that of a usage other than the one that they correct or repeat."""
    is_overlap = (Usage.usage_at < Row.usage_until, Usage.usage_until > Row.usage_at)
    return _in_ledger(INTERVALS, organization_id, *is_same_series, *is_overlap)


def _readings_in_ledger(organization_id: int, is_same_series: tuple[sa.ColumnElement[bool], ...]) -> sa.Select[Any]:
    """Select rows within whose interval a reading of the ledger is."""
    is_within = (Usage.usage_until.is_(None), Usage.usage_at >= Row.usage_at, Usage.usage_at < Row.usage_until)
    is_reading = Usage.adjusts_closed_period_id.is_(None)
    return _in_ledger(READING_IN_IT, organization_id, *is_same_series, *is_within, is_reading)


def _in_ledger(kind: int, organization_id: int, *criteria: sa.ColumnElement[bool]) -> sa.Select[Any]:
    other = (Usage.organization_id == organization_id, Usage.id.is_distinct_from(Row.usage_id))
    rows = sa.select(*_found(kind, Row.line, usage_id=sa.func.min(Usage.id)))
    return rows.where(IS_VALID, *other, *criteria).group_by(Row.line)


def _readings_in_ledger_intervals(
    organization_id: int, is_same_series: tuple[sa.ColumnElement[bool], ...]
) -> sa.Select[Any]:
    """Select the first reading within each interval of the ledger."""
    is_reading = (IS_VALID, Row.usage_until.is_(None), Row.adjusts_closed_period_id.is_(None))
    first, last = (
        sa.select(limit(Row.usage_at)).where(*is_reading).scalar_subquery() for limit in (sa.func.min, sa.func.max)
    )
    # An index finds the few intervals of the ledger within the time of the file.
    return (
        sa.select(*_found(WITHIN_INTERVAL, sa.func.min(Row.line), usage_id=Usage.id))
        .where(*is_reading, *is_same_series, Usage.organization_id == organization_id)
        .where(Usage.usage_until > first, Usage.usage_at <= last)
        .where(Usage.usage_at <= Row.usage_at, Usage.usage_until > Row.usage_at)
        .where(Usage.id.is_distinct_from(Row.usage_id))
        .group_by(Usage.id)
    )


def prefix(external_id: Any) -> sa.ColumnElement[str]:
    """Return the part of an external_id before its last slash, or an empty text."""
    return sa.func.coalesce(sa.func.substring(external_id, "^(.*)/"), "")


def warning(line: int, kind: str, message: str, **details: Any) -> Warning:
    """Return a warning of this kind: `overlap`, `gap` or `skipped`. Details of other kinds are None."""
    no_details = dict.fromkeys(("overlaps_line", "overlaps_usage_id", "gap_start", "gap_end"))
    return {"line": line, "kind": kind, "message": message} | no_details | details


def _warning(row: Any) -> Warning:
    # A usage of the ledger takes precedence over a row of the file.
    other = f"line {row.other_line}" if row.usage_id is None else f"usage {row.usage_id}"
    message = {
        INTERVALS: f"Its interval overlaps {other}.",
        READING_IN_IT: f"Its interval includes a reading: {other}.",
        WITHIN_INTERVAL: f"It is within the interval of {other}.",
    }[row.kind]
    other_line = row.other_line if row.usage_id is None else None
    return warning(row.line, "overlap", message, overlaps_line=other_line, overlaps_usage_id=row.usage_id)

"""Warn of intervals that overlap, such as a bill imported twice, or two bills for the same days of a meter."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ...db import db
from ...usages.models import Usage
from ..formats.text_files import MAX_ERRORS_SHOWN
from ..staging import IS_VALID, Row

Warning = dict[str, Any]
Warnings = list[Warning]


def overlaps(organization_id: int) -> tuple[int, Warnings]:
    """Return how many rows overlap a row or usage of the same user, usage type and meter, and the first warnings.

    The meter is the part of the external_id before the last slash. Rows without one share a meter.
    """
    in_file, in_ledger = _overlaps_in_file(), _overlaps_in_ledger(organization_id)
    other_line = sa.func.min(sa.column("other_line", sa.BigInteger)).label("other_line")
    usage_id = sa.func.min(sa.column("usage_id", sa.BigInteger)).label("usage_id")
    line = sa.column("line", sa.BigInteger)
    found = in_file.union_all(in_ledger).subquery("found")
    by_line = sa.select(line, other_line, usage_id, sa.func.count().over().label("line_count")).select_from(found)
    first = db.session.execute(by_line.group_by(line).order_by(line).limit(MAX_ERRORS_SHOWN)).all()
    return first[0].line_count if first else 0, [_warning(row.line, row.other_line, row.usage_id) for row in first]


def _overlaps_in_file() -> Any:
    """Select rows that start before an earlier interval has ended."""
    # The latest end, and of equal ones the first row. PostgreSQL compares arrays element by element.
    latest: sa.ColumnElement[Any] = sa.literal_column(
        "ARRAY[extract(epoch FROM usage_until), -extract(epoch FROM usage_at), -line]", ARRAY(sa.Numeric)
    )
    before = sa.func.max(latest).over(
        partition_by=[Row.user_id, Row.usage_type_id, meter(Row.external_id)],
        order_by=[Row.usage_at, Row.line],
        rows=(None, -1),
    )
    rows = sa.select(Row.line, sa.extract("epoch", Row.usage_at).label("start"), before.label("latest"))
    intervals = rows.where(IS_VALID, Row.usage_until.is_not(None)).subquery("intervals")
    other = sa.cast(-intervals.c.latest[3], sa.BigInteger)
    return sa.select(
        sa.func.greatest(intervals.c.line, other).label("line"),
        sa.func.least(intervals.c.line, other).label("other_line"),
        sa.cast(None, sa.BigInteger).label("usage_id"),
    ).where(intervals.c.latest[1] > intervals.c.start)


def _overlaps_in_ledger(organization_id: int) -> sa.Select[Any]:
    """Select rows that overlap a usage other than the one that they correct or repeat."""
    return (
        sa.select(Row.line, sa.cast(None, sa.BigInteger), sa.func.min(Usage.id))
        .where(
            IS_VALID,
            Usage.organization_id == organization_id,
            Usage.user_id == Row.user_id,
            Usage.usage_type_id == Row.usage_type_id,
            Usage.usage_at < Row.usage_until,
            Usage.usage_until > Row.usage_at,
            meter(Usage.external_id) == meter(Row.external_id),
            Usage.id.is_distinct_from(Row.usage_id),
        )
        .group_by(Row.line)
    )


def meter(external_id: Any) -> sa.ColumnElement[str]:
    return sa.func.coalesce(sa.func.substring(external_id, "^(.*)/"), "")


def warning(line: int, kind: str, message: str, **details: Any) -> Warning:
    """Return a warning of this kind, `overlap` or `gap`. Details of other kinds are None."""
    no_details = dict.fromkeys(("overlaps_line", "overlaps_usage_id", "gap_start", "gap_end"))
    return {"line": line, "kind": kind, "message": message} | no_details | details


def _warning(line: int, other_line: int | None, usage_id: int | None) -> Warning:
    if usage_id is not None:  # A usage of the ledger takes precedence over a row of the file.
        return warning(line, "overlap", f"Its interval overlaps usage {usage_id}.", overlaps_usage_id=usage_id)
    return warning(line, "overlap", f"Its interval overlaps line {other_line}.", overlaps_line=other_line)

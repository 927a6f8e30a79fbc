"""Periods that overlap: a bill that came twice, or two bills for the same days of one meter."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ...db import db
from ...usages.models import Usage
from ..formats.text_files import MAX_ERRORS_SHOWN
from ..staging import GOOD, Row

Warning = dict[str, Any]
Warnings = list[Warning]


def overlaps(organization_id: int) -> tuple[int, Warnings]:
    """How many lines' periods overlap another line's, or a usage's, of the same user, type and meter; the first ones.

    The meter is what stands before the last slash of the external_id; without one, all are of one meter.
    """
    in_file, in_ledger = _in_the_file(), _in_the_ledger(organization_id)
    other_line = sa.func.min(sa.column("other_line", sa.BigInteger)).label("other_line")
    usage_id = sa.func.min(sa.column("usage_id", sa.BigInteger)).label("usage_id")
    line = sa.column("line", sa.BigInteger)
    found = in_file.union_all(in_ledger).subquery("found")
    by_line = sa.select(line, other_line, usage_id, sa.func.count().over().label("line_count")).select_from(found)
    first = db.session.execute(by_line.group_by(line).order_by(line).limit(MAX_ERRORS_SHOWN)).all()
    return first[0].line_count if first else 0, [_warning(row.line, row.other_line, row.usage_id) for row in first]


def _in_the_file() -> Any:
    """The lines whose period begins before one ends that began before."""
    # The end that reaches furthest, of those the one that stands first; PostgreSQL compares arrays by their elements.
    reach: sa.ColumnElement[Any] = sa.literal_column(
        "ARRAY[extract(epoch FROM usage_until), -extract(epoch FROM usage_at), -place]", ARRAY(sa.Numeric)
    )
    before = sa.func.max(reach).over(
        partition_by=[Row.user_id, Row.usage_type_id, meter(Row.external_id)],
        order_by=[Row.usage_at, Row.place],
        rows=(None, -1),
    )
    reached = sa.select(Row.place, sa.extract("epoch", Row.usage_at).label("begin"), before.label("reach"))
    periods = reached.where(GOOD, Row.usage_until.is_not(None)).subquery("periods")
    other = sa.cast(-periods.c.reach[3], sa.BigInteger)
    return sa.select(
        sa.func.greatest(periods.c.place, other).label("line"),
        sa.func.least(periods.c.place, other).label("other_line"),
        sa.cast(None, sa.BigInteger).label("usage_id"),
    ).where(periods.c.reach[1] > periods.c.begin)


def _in_the_ledger(organization_id: int) -> sa.Select[Any]:
    """The lines whose period overlaps a usage's, but for the one that the line itself corrects or repeats."""
    return (
        sa.select(Row.place, sa.cast(None, sa.BigInteger), sa.func.min(Usage.id))
        .join(
            Usage,
            sa.and_(
                Usage.organization_id == organization_id,
                Usage.user_id == Row.user_id,
                Usage.usage_type_id == Row.usage_type_id,
                Usage.usage_at < Row.usage_until,
                Usage.usage_until > Row.usage_at,
                meter(Usage.external_id) == meter(Row.external_id),
                Usage.id.is_distinct_from(Row.usage_id),
            ),
        )
        .where(GOOD)
        .group_by(Row.place)
    )


def meter(external_id: Any) -> sa.ColumnElement[str]:
    return sa.func.coalesce(sa.func.substring(external_id, "^(.*)/"), "")


def warning(line: int, kind: str, message: str, **told: Any) -> Warning:
    """A warning of a kind, `overlap` or `gap`; what the kind does not tell is None."""
    nothing = dict.fromkeys(("overlaps_line", "overlaps_usage_id", "gap_start", "gap_end"))
    return {"line": line, "kind": kind, "message": message} | nothing | told


def _warning(line: int, other_line: int | None, usage_id: int | None) -> Warning:
    # What is in the ledger already weighs more than what stands beside it.
    if usage_id is not None:
        return warning(line, "overlap", f"Its period overlaps that of usage {usage_id}.", overlaps_usage_id=usage_id)
    return warning(line, "overlap", f"Its period overlaps that of line {other_line}.", overlaps_line=other_line)

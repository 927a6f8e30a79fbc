"""Periods that overlap: a bill that came twice, or two bills for the same days of one meter."""

from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..db import db
from ..usages.models import Usage
from .reading import Row

Warnings = list[dict[str, Any]]
COLUMNS: dict[str, Any] = {
    "user_id": sa.BigInteger(),
    "usage_type_id": sa.BigInteger(),
    "meter": sa.Text(),
    "begin": sa.DateTime(timezone=True),
    "line": sa.BigInteger(),
    "end": sa.DateTime(timezone=True),
}


def overlaps(rows: list[Row], organization_id: int) -> Warnings:
    """A warning for each line whose period overlaps another line's, or a usage's, of the same user, type and meter.

    The meter is what stands before the last slash of the external_id; without one, all are of one meter.
    """
    periods = sorted(
        (usage["user_id"], usage["usage_type_id"], _meter(usage["external_id"]), usage["usage_at"], line, usage)
        for line, usage in rows
        if usage["usage_until"] is not None
    )
    if not periods:
        return []
    found = _in_the_file(periods) | _in_the_ledger(periods, organization_id)
    return [found[line] for line in sorted(found)]


def _in_the_file(periods: list[Any]) -> dict[int, dict[str, Any]]:
    """The warnings about lines that overlap another, by line."""
    found = {}
    for _, of_meter in groupby(periods, key=lambda period: period[:3]):
        furthest_line, furthest = 0, None
        for *_, begin, line, usage in of_meter:
            if furthest is not None and begin < furthest:
                first, second = sorted((line, furthest_line))
                found[second] = _warning(second, f"that of line {first}", line_overlapped=first)
            if furthest is None or usage["usage_until"] > furthest:
                furthest_line, furthest = line, usage["usage_until"]
    return found


def _in_the_ledger(periods: list[Any], organization_id: int) -> dict[int, dict[str, Any]]:
    """The warnings about lines that overlap a usage of the ledger, by line."""
    lists = zip(*((*known, usage["usage_until"]) for *known, usage in periods), strict=True)
    arrays = [sa.cast(list(values), ARRAY(type_)) for values, type_ in zip(lists, COLUMNS.values(), strict=True)]
    table = sa.func.unnest(*arrays).table_valued(*(sa.column(name, type_) for name, type_ in COLUMNS.items()))
    given = table.render_derived(name="given")
    meter = sa.func.coalesce(sa.func.substring(Usage.external_id, "^(.*)/"), "")
    overlapped = db.session.execute(
        sa.select(given.c.line, sa.func.min(Usage.id))
        .join(
            Usage,
            sa.and_(
                Usage.organization_id == organization_id,
                Usage.user_id == given.c.user_id,
                Usage.usage_type_id == given.c.usage_type_id,
                Usage.usage_at < given.c.end,
                Usage.usage_until > given.c.begin,
                meter == given.c.meter,
            ),
        )
        .group_by(given.c.line)
    )
    return {line: _warning(line, f"that of usage {id_}", usage_id=id_) for line, id_ in overlapped}


def _meter(external_id: str | None) -> str:
    return (external_id or "").rpartition("/")[0]


def _warning(
    line: int, what: str, *, line_overlapped: int | None = None, usage_id: int | None = None
) -> dict[str, Any]:
    return {
        "line": line,
        "message": f"Its period overlaps {what}.",
        "overlaps_line": line_overlapped,
        "overlaps_usage_id": usage_id,
    }

"""The summary: emissions in total, and by scope, usage type and user."""

import datetime as dt
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ..rest.fields import start_of_day
from .aggregation import Figures, aggregate, check_single_method, group_column, join_names, share, to_figures, totals
from .prorated_rows import TimeEdges
from .service import CachedQuery, RowSource, UsageSelection

BREAKDOWNS = ("scope", "usage_type", "user")
EDGES = TimeEdges("edges")
# All usages are between the midnights of these, in any time zone.
OUTER_DAYS = (dt.date(1899, 12, 30), dt.date(2201, 1, 3))


def summary(
    selection: UsageSelection, start: dt.datetime | None, end: dt.datetime | None, breakdowns: Collection[str]
) -> Figures:
    """Return the totals of usages within [start, end), and the figures and CO2e shares of each of these BREAKDOWNS.

    An interval that the range cuts counts with its part within the range.
    """
    breakdowns = tuple(breakdown for breakdown in BREAKDOWNS if breakdown in breakdowns)
    outermost = (start_of_day(day, selection.timezone) for day in OUTER_DAYS)
    edges = [instant or outer for instant, outer in zip((start, end), outermost, strict=True)]
    order = ", ".join(["co2e_kg DESC", *(f"{breakdown}_id NULLS LAST" for breakdown in breakdowns)])
    rows = selection.rows(CachedQuery(_sums, order, (breakdowns,)), {EDGES: edges}, by_days="user" not in breakdowns)
    # grouping() sets a bit for each key that a row is not grouped by. The first key has the highest bit.
    everything = (1 << len(breakdowns)) - 1
    levels = {everything ^ (1 << place): breakdown for place, breakdown in enumerate(reversed(breakdowns))}
    check_single_method(rows)
    whole = next(row for row in rows if row.level == everything)
    answer: Figures = to_figures(whole) if whole.usage_count else {"co2e_kg": 0, "usage_count": 0}
    answer["restatement_ids"] = whole.restatement_ids or []
    answer |= {f"by_{breakdown}": [] for breakdown in breakdowns}
    for row in rows:
        if row is not whole:
            breakdown = levels[row.level]
            group = {"id": getattr(row, f"{breakdown}_id"), "name": getattr(row, f"{breakdown}_name")}
            answer[f"by_{breakdown}"].append(group | to_figures(row) | {"share": share(row.co2e_kg, whole.co2e_kg)})
    return answer


def _sums(sources: tuple[RowSource, ...], breakdowns: tuple[str, ...]) -> sa.Select[Any]:
    """Select the sums of the whole, and by each breakdown."""
    (source,) = sources
    added = aggregate(source.parts, breakdowns, "restatement_id")
    groups = {breakdown: group_column(added, breakdown) for breakdown in breakdowns}
    keys = [key for key, _ in groups.values()]
    return join_names(
        sa.select(
            *totals(added),
            sa.func.grouping(*keys).label("level"),
            sa.func.array_agg(added.c.restatement_id.distinct())
            .filter(added.c.restatement_id.is_not(None))
            .label("restatement_ids"),
            *(key.label(f"{breakdown}_id") for breakdown, (key, _) in groups.items()),
            *(sa.func.min(name).label(f"{breakdown}_name") for breakdown, (_, name) in groups.items()),
        ),
        added,
    ).group_by(sa.func.grouping_sets(sa.text("()"), *(sa.tuple_(key) for key in keys)))

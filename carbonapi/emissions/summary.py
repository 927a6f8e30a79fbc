"""Emissions in total, and by whom and what they were caused."""

import datetime as dt
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ..rest.fields import start_of_day
from .aggregation import Figures, aggregate, check_single_method, group_column, join_names, share, to_figures, totals
from .figures_query import CachedQuery, RowSource, UsageSelection
from .prorated_rows import TimeEdges

BREAKDOWNS = ("scope", "usage_type", "user")
EDGES = TimeEdges()
# All usages lie between the midnights of these, in any time zone.
OUTER_DAYS = (dt.date(1899, 12, 30), dt.date(2201, 1, 3))


def summary(
    asked: UsageSelection, start: dt.datetime | None, end: dt.datetime | None, breakdowns: Collection[str]
) -> Figures:
    """The totals of these usages within [start, end), and by each of these BREAKDOWNS the figures and the shares.

    Of a period that the range cuts, it is the part within. Shares are of the CO2e.
    """
    breakdowns = tuple(breakdown for breakdown in BREAKDOWNS if breakdown in breakdowns)
    outermost = (start_of_day(day, asked.timezone) for day in OUTER_DAYS)
    edges = [moment or outer for moment, outer in zip((start, end), outermost, strict=True)]
    order = ", ".join(["co2e_kg DESC", *(f"{breakdown}_id NULLS LAST" for breakdown in breakdowns)])
    rows = asked.rows(CachedQuery(_sums, order, (breakdowns,)), {EDGES: edges}, by_days="user" not in breakdowns)
    # grouping() has a bit for each key that a row does not tell apart, the first key's highest.
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
    """The sums: of the whole, and by each breakdown."""
    (source,) = sources
    found = aggregate(source.parts, breakdowns, "restatement_id")
    groups = {breakdown: group_column(found, breakdown) for breakdown in breakdowns}
    keys = [key for key, _ in groups.values()]
    return join_names(
        sa.select(
            *totals(found),
            sa.func.grouping(*keys).label("level"),
            sa.func.array_agg(found.c.restatement_id.distinct())
            .filter(found.c.restatement_id.is_not(None))
            .label("restatement_ids"),
            *(key.label(f"{breakdown}_id") for breakdown, (key, _) in groups.items()),
            *(sa.func.min(name).label(f"{breakdown}_name") for breakdown, (_, name) in groups.items()),
        ),
        found,
    ).group_by(sa.func.grouping_sets(sa.text("()"), *(sa.tuple_(key) for key in keys)))

"""Emissions in total, and by whom and what they were caused."""

import datetime as dt
from functools import cache
from typing import Any

import sqlalchemy as sa

from .adding import Figures, add_up, figures_of, group_of, refuse_two_methods, share, sums, with_names
from .spreading import BEGIN_OF_TIME, END_OF_TIME, Edges, parts, rows_of

BREAKDOWNS = ("scope", "usage_type", "user")
EDGES = Edges()


def summary(usages: sa.Select[Any], start: dt.datetime | None = None, end: dt.datetime | None = None) -> Figures:
    """The totals of these usages within [start, end), and by scope, usage type and user each its figures and its share.

    usages: a SELECT of Usage, as the actor may see and has narrowed them, but for the range. Of a period that the range
    cuts, it is the part within. Shares are of the CO2e.
    """
    rows = rows_of(_statement(), usages, **EDGES.parameters([start or BEGIN_OF_TIME, end or END_OF_TIME]))
    # grouping() has a bit for each key that a row does not tell apart, the first key's highest.
    everything = (1 << len(BREAKDOWNS)) - 1
    levels = {everything ^ (1 << place): breakdown for place, breakdown in enumerate(reversed(BREAKDOWNS))}
    refuse_two_methods(rows)
    whole = next(row for row in rows if row.level == everything)
    answer: Figures = figures_of(whole) if whole.usage_count else {"co2e_kg": 0, "usage_count": 0}
    answer["restatement_ids"] = whole.restatement_ids or []
    answer |= {f"by_{breakdown}": [] for breakdown in BREAKDOWNS}
    for row in rows:
        if row.level in levels:
            breakdown = levels[row.level]
            group = {"id": getattr(row, f"{breakdown}_id"), "name": getattr(row, f"{breakdown}_name")}
            answer[f"by_{breakdown}"].append(group | figures_of(row) | {"share": share(row.co2e_kg, whole.co2e_kg)})
    return answer


@cache
def _statement() -> sa.Select[Any]:
    """The sums of ASKED: of the whole, and by each breakdown."""
    found = add_up(parts(EDGES), BREAKDOWNS, "restatement_id")
    groups = [group_of(found, breakdown) for breakdown in BREAKDOWNS]
    keys = [key for key, _ in groups]
    return (
        with_names(
            sa.select(
                *sums(found),
                sa.func.grouping(*keys).label("level"),
                sa.func.array_agg(found.c.restatement_id.distinct())
                .filter(found.c.restatement_id.is_not(None))
                .label("restatement_ids"),
                *(key.label(f"{breakdown}_id") for breakdown, key in zip(BREAKDOWNS, keys, strict=True)),
                *(
                    sa.func.min(name).label(f"{breakdown}_name")
                    for breakdown, (_, name) in zip(BREAKDOWNS, groups, strict=True)
                ),
            ),
            found,
        )
        .group_by(sa.func.grouping_sets(sa.text("()"), *(sa.tuple_(key) for key in keys)))
        .order_by(sa.text("co2e_kg DESC"), *(key.nulls_last() for key in keys))
    )

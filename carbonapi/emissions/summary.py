"""The summary: emissions in total, and by scope, category, usage type and user."""

import datetime as dt
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..rest.fields import start_of_day
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
from .prorated_rows import TimeEdges
from .service import CachedQuery, RowSource, UsageSelection

DEFAULT_BREAKDOWNS = ("scope", "category", "usage_type", "user")
BREAKDOWNS = (*DEFAULT_BREAKDOWNS, "site", "meter", "region")
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
    query = CachedQuery(_sums, "co2e_kg DESC, id NULLS LAST, name", (breakdowns, selection.basis))
    rows = selection.find(query, {EDGES: edges}, by_days=GROUPS_OF_USAGES.isdisjoint(breakdowns)).rows
    whole = next(row for row in rows if row.breakdown is None)
    nothing = dict.fromkeys(selection.basis.sums, 0)
    answer: Figures = to_figures(whole) if whole.usage_count else nothing
    answer["restatement_ids"] = whole.restatement_ids or []
    answer |= {f"by_{breakdown}": [] for breakdown in breakdowns}
    for row in rows:
        if row is not whole:
            group = {"id": row.id, "name": row.name}
            answer[f"by_{row.breakdown}"].append(group | to_figures(row) | {"share": share(row.co2e_kg, whole.co2e_kg)})
    return answer


def _sums(sources: tuple[RowSource, ...], breakdowns: tuple[str, ...], basis: Basis) -> sa.CompoundSelect[Any]:
    """Select the sums of the whole, whose `breakdown` is null, and of the groups of each breakdown."""
    (source,) = sources
    added = aggregate(source.parts, breakdowns, "restatement_id")
    evaluated = evaluate(added, basis)
    ids = sa.func.array_agg(added.c.restatement_id.distinct()).filter(added.c.restatement_id.is_not(None))
    restatement_ids = sa.select(ids).scalar_subquery()
    no_name = sa.cast(sa.null(), sa.Text)
    whole = (no_name.label("breakdown"), sa.cast(sa.null(), sa.BigInteger).label("id"), no_name.label("name"))
    statements = [
        join_names(sa.select(*whole, *totals(evaluated, basis), restatement_ids.label("restatement_ids")), evaluated)
    ]
    no_ids = sa.cast(sa.null(), ARRAY(sa.BigInteger))
    for breakdown in breakdowns:
        of_group = evaluate(added, basis, breakdown) if breakdown in LINE_GROUPS else evaluated
        key, id_, name = group_column(of_group, breakdown)
        group = (sa.literal(breakdown), sa.cast(sa.func.min(id_), sa.BigInteger), sa.func.min(name))
        sums = sa.select(*group, *totals(of_group, basis), no_ids)
        statements.append(join_names(sums, of_group, breakdown).group_by(key))
    return sa.union_all(*statements)

"""Why emissions changed from one range of time to another, in parts that add up to the difference exactly.

One thing is exchanged after another, for each usage type by itself, on the numbers as they were first booked:

1. started, ended: a usage type that has usages in only one of the ranges makes its whole difference there.
2. activity: the amount becomes that of the later range; a unit causes what it caused before, on average. It is rounded
   to the twelfth digit after the point.
3. factor: a unit causes what it causes now, on average: the difference that is left. Another factor shows here, and so
   does another mix of regions or months that have different factors.
4. restated: what restatements have changed since, of either range.
"""

import datetime as dt
from decimal import Decimal
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from ..catalogue.models import UsageType
from ..local_time.proration import LAST_DIGIT
from ..usages.models import UsageVersion
from .aggregation import Figures, check_single_method
from .figures_query import CachedQuery, RowSource, UsageSelection
from .prorated_rows import TimeEdges

BEFORE, AFTER = TimeEdges("edges_before"), TimeEdges("edges_after")
PARTS = ("activity_kg", "factor_kg", "restated_kg", "started_kg", "ended_kg")


def bridge(
    asked: UsageSelection, before: tuple[dt.datetime, dt.datetime], after: tuple[dt.datetime, dt.datetime]
) -> Figures:
    """The kg CO2e of both ranges [start, end), the difference, and its PARTS: of all, and by usage type.

    Of periods it is the part within. The usage types that changed most come first.
    """
    rows = asked.rows(CachedQuery(_sums, "id, is_after"), {BEFORE: before, AFTER: after}, by_days=False)
    check_single_method(rows)
    by_type = [
        {"id": id_, "name": name, "unit": unit, **_of_type({row.is_after: row for row in of_type})}
        for (id_, name, unit), of_type in groupby(rows, key=lambda row: (row.id, row.name, row.unit))
    ]
    by_type.sort(key=lambda of_type: (-abs(of_type["difference_kg"]), of_type["id"]))
    sums = ("before_kg", "after_kg", "difference_kg", *PARTS)
    return {
        **{name: sum((of_type[name] for of_type in by_type), Decimal(0)) for name in sums},
        "restatement_ids": sorted({id_ for row in rows for id_ in row.restatement_ids or ()}),
        "by_usage_type": by_type,
    }


def _of_type(rows: dict[bool, Any]) -> Figures:
    """The figures of one usage type, of its sums before and after as far as there are any."""
    amounts, first, booked = (
        {is_after: getattr(rows[is_after], name) if is_after in rows else Decimal(0) for is_after in (False, True)}
        for name in ("amount", "first_kg", "booked_kg")
    )
    first_difference = first[True] - first[False]
    parts = dict.fromkeys(PARTS, Decimal(0))
    parts["restated_kg"] = booked[True] - booked[False] - first_difference
    if len(rows) == 1:
        parts["started_kg" if True in rows else "ended_kg"] = first_difference
    else:
        more = amounts[True] - amounts[False]
        # Where nothing was used before, no unit caused anything: all of it is activity.
        activity = (more * first[False] / amounts[False]).quantize(LAST_DIGIT) if amounts[False] else first_difference
        parts |= {"activity_kg": activity, "factor_kg": first_difference - activity}
    return {
        "before_amount": amounts[False],
        "after_amount": amounts[True],
        "before_kg": booked[False],
        "after_kg": booked[True],
        "difference_kg": booked[True] - booked[False],
        **parts,
    }


def _sums(sources: tuple[RowSource, ...]) -> sa.CompoundSelect[Any]:
    """The sums of both ranges."""
    return sa.union_all(*(_sums_of(source.parts, is_after=source.edges is AFTER) for source in sources))


def _sums_of(found: Any, *, is_after: bool) -> sa.Select[Any]:
    """The sums of each usage type in a range, as they are booked and as they were booked first."""
    # The last booking before any restatement.
    earlier = (
        sa.select(UsageVersion.factor)
        .where(
            UsageVersion.organization_id == found.c.organization_id,
            UsageVersion.id == found.c.id,
            UsageVersion.version < found.c.version,
            UsageVersion.restatement_id.is_(None),
            found.c.restatement_id.is_not(None),
        )
        .order_by(UsageVersion.version.desc())
        .limit(1)
        .lateral("earlier")
    )
    first_factor = sa.func.coalesce(earlier.c.factor, found.c.factor)
    return (
        sa.select(
            sa.literal(is_after).label("is_after"),
            UsageType.id.label("id"),
            UsageType.name.label("name"),
            UsageType.unit.label("unit"),
            sa.func.sum(found.c.amount).label("amount"),
            sa.func.sum(found.c.amount * first_factor).label("first_kg"),
            sa.func.sum(found.c.co2e_kg).label("booked_kg"),
            sa.func.array_agg(found.c.restatement_id.distinct())
            .filter(found.c.restatement_id.is_not(None))
            .label("restatement_ids"),
            sa.func.min(found.c.method).label("first_method"),
            sa.func.max(found.c.method).label("last_method"),
        )
        .select_from(found)
        .join(UsageType, UsageType.id == found.c.usage_type_id)
        .outerjoin(earlier, sa.true())
        .group_by(UsageType.id)
    )

"""The bridge: why emissions changed from one range of time to another, in parts that add up to the difference exactly.

Each usage type is divided by itself, step by step, on the numbers as they were first recorded:

1. started, ended: the whole difference of a usage type that has usages in only one of the ranges.
2. activity: the change of the amount, at the average kg CO2e per unit of the earlier range. It is rounded to the
   twelfth digit after the point.
3. factor: the change of the average kg CO2e per unit, which is the remaining difference. It includes a different mix of
   regions or months that have different factors.
4. restated: the changes by restatements since, of both ranges.
"""

import datetime as dt
from decimal import Decimal
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from ..catalogue.models import UsageType
from ..catalogue.usage_valuations import usage_parts
from ..local_time.proration import LAST_DIGIT
from ..usages.models import UsageVersion, split_id
from .aggregation import Basis, Figures
from .prorated_rows import TimeEdges
from .service import CachedQuery, RowSource, UsageSelection

BEFORE, AFTER = TimeEdges("edges_before"), TimeEdges("edges_after")
PARTS = ("activity_kg", "factor_kg", "restated_kg", "started_kg", "ended_kg")


def bridge(
    selection: UsageSelection, before: tuple[dt.datetime, dt.datetime], after: tuple[dt.datetime, dt.datetime]
) -> Figures:
    """Return the kg CO2e of both ranges [start, end), the difference and its PARTS, in total and by usage type.

    An interval counts with its part within a range. The usage types that changed most are first.
    """
    query = CachedQuery(_sums, "id, is_after", (selection.basis,))
    rows = selection.find(query, {BEFORE: before, AFTER: after}, by_days=False).rows
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
    """Return the figures of one usage type from its sums before and after. One of them may be missing."""
    amounts, first, current = (
        {is_after: getattr(rows[is_after], name) if is_after in rows else Decimal(0) for is_after in (False, True)}
        for name in ("amount", "first_kg", "current_kg")
    )
    first_difference = first[True] - first[False]
    parts = dict.fromkeys(PARTS, Decimal(0))
    parts["restated_kg"] = current[True] - current[False] - first_difference
    if len(rows) == 1:
        parts["started_kg" if True in rows else "ended_kg"] = first_difference
    else:
        more = amounts[True] - amounts[False]
        # An amount of zero has no average per unit: the whole difference is activity.
        activity = (more * first[False] / amounts[False]).quantize(LAST_DIGIT) if amounts[False] else first_difference
        parts |= {"activity_kg": activity, "factor_kg": first_difference - activity}
    return {
        "before_amount": amounts[False],
        "after_amount": amounts[True],
        "before_kg": current[False],
        "after_kg": current[True],
        "difference_kg": current[True] - current[False],
        **parts,
    }


def _sums(sources: tuple[RowSource, ...], basis: Basis) -> sa.Select[Any]:
    """Select the sums of each usage type in both ranges, as they are now and as they were first recorded.

    The amounts are added up by both valuations before they are multiplied, so that few rows are.
    """
    of_ranges = (_by_valuations(source.parts, is_after=source.edges == AFTER) for source in sources)
    added = sa.union_all(*of_ranges).cte("added")
    current, first = (basis.line_factors().alias(name) for name in ("current_lines", "first_lines"))
    key: tuple[Any, ...] = (added.c.is_after, UsageType.id, UsageType.name, UsageType.unit)
    return (
        sa.select(
            *key,
            sa.func.sum(added.c.amount).label("amount"),
            sa.func.sum(added.c.amount * sa.func.coalesce(first.c[basis.method], 0)).label("first_kg"),
            sa.func.sum(added.c.amount * sa.func.coalesce(current.c[basis.method], 0)).label("current_kg"),
            sa.func.array_agg(added.c.restatement_id.distinct())
            .filter(added.c.restatement_id.is_not(None))
            .label("restatement_ids"),
        )
        .select_from(added)
        .join(UsageType, UsageType.id == added.c.usage_type_id)
        .outerjoin(current, _is_of(current, added, added.c.valuation_id))
        .outerjoin(first, _is_of(first, added, added.c.first_id))
        .group_by(added.c.is_after, UsageType.id)
    )


def _by_valuations(parts: Any, *, is_after: bool) -> sa.Select[Any]:
    """Select the amounts of parts by their current valuation, and by `first_id`, that of the first recording."""
    is_restated = parts.c.restatement_id.is_not(None)
    # The last version before any restatement.
    earlier = (
        sa.select(UsageVersion.valuation_id, split_id(UsageVersion).label("split_id"))
        .where(
            UsageVersion.organization_id == parts.c.organization_id,
            UsageVersion.id == parts.c.id,
            UsageVersion.version < parts.c.version,
            UsageVersion.restatement_id.is_(None),
            is_restated,
        )
        .order_by(UsageVersion.version.desc())
        .limit(1)
        .lateral("earlier")
    )
    earlier_id = sa.func.coalesce(earlier.c.valuation_id, parts.c.valuation_id)
    # An earlier version may have been split where the current one is not.
    split = usage_parts(parts.c, earlier_id, earlier.c.split_id, parts.c.part_start, parts.c.part_end, "first_parts")
    # The function is called for restated usages alone.
    first = sa.select(split.c.part_valuation_id, split.c.part_amount).where(is_restated).lateral("first")
    keys = {
        "organization_id": parts.c.organization_id,
        "usage_type_id": parts.c.usage_type_id,
        "valuation_id": parts.c.valuation_id,
        "first_id": sa.func.coalesce(first.c.part_valuation_id, parts.c.valuation_id),
        "restatement_id": parts.c.restatement_id,
    }
    amount = sa.func.sum(sa.func.coalesce(first.c.part_amount, parts.c.amount)).label("amount")
    return (
        sa.select(sa.literal(is_after).label("is_after"), *(key.label(name) for name, key in keys.items()), amount)
        .select_from(parts)
        .outerjoin(earlier, sa.true())
        .outerjoin(first, sa.true())
        .group_by(*keys.values())
    )


def _is_of(lines: Any, added: Any, valuation_id: Any) -> Any:
    return (lines.c.organization_id == added.c.organization_id) & (lines.c.valuation_id == valuation_id)

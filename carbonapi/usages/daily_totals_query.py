"""Read daily totals in place of usages: which totals cover a query exactly, and how many usages it selects."""

from functools import cache
from typing import Any

import sqlalchemy as sa

from ..accounts.models import Organization
from ..auth import current_actor, visible
from ..catalogue.models import UsageType
from ..local_time.clock import MICROSECOND, TIMESTAMPTZ, day_of, day_start, local_clock
from ..rest.paging import RowCount
from ..rest.query import QueryFilter
from .models import DailyTotal, Usage

# These roles see exactly the usages of their organization, so its daily totals cover what they see.
ROLES = frozenset({"manager", "auditor"})
FILTERS = {
    "usage_type_id": lambda ids: DailyTotal.usage_type_id.in_(ids),
    "scope": lambda scopes: DailyTotal.usage_type_id.in_(sa.select(UsageType.id).where(UsageType.scope.in_(scopes))),
    "method": lambda methods: DailyTotal.method.in_(methods),
    "restatement_id": lambda ids: DailyTotal.restatement_id.in_(ids),
}
RANGE = {"start", "end"}
EDGES = {"start": "first", "end": "last"}


def matching_daily_totals(query_filter: QueryFilter) -> sa.Select[Any] | None:
    """Select the daily totals of the queried usages, of all time. Return None if they do not cover the query."""
    names = query_filter.filters.keys() - RANGE
    actor = current_actor()
    if actor.role not in ROLES or query_filter.rewrites or not names <= FILTERS.keys():
        return None
    criteria = (FILTERS[name](query_filter.arguments[name]) for name in sorted(names))
    return sa.select(DailyTotal).where(DailyTotal.organization_id == actor.organization_id, *criteria)


def count_from_daily_totals(query_filter: QueryFilter) -> RowCount | None:
    """Return the number of queried usages, from the totals of whole days and the usages at the ends of the range."""
    totals = matching_daily_totals(query_filter)
    if totals is None:
        return None
    counts_and_range = cache(lambda: _counts_by_day(query_filter, totals))  # Built only where the statement needs it.
    if RANGE & query_filter.filters.keys():
        counts, _ = counts_and_range()
        total = sa.select(_sum(counts.c.number)).scalar_subquery()
    else:
        total = totals.with_only_columns(_sum(DailyTotal.usage_count)).scalar_subquery()
    (first_key, *_) = query_filter.order
    if first_key.element.key != Usage.usage_at.key:
        return RowCount(total)
    is_descending = first_key.modifier is sa.sql.operators.desc_op

    def around(offset: Any, page_size: Any) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[int]]:
        counts, whole_days = counts_and_range()
        order = counts.c.day.desc() if is_descending else counts.c.day
        until = sa.func.sum(counts.c.number).over(order_by=order)
        days = sa.select(counts.c.day, until.label("until"), (until - counts.c.number).label("before")).subquery("days")
        page_days = (
            sa.select(
                sa.func.min(days.c.day).label("first"),
                sa.func.max(days.c.day).label("last"),
                sa.cast(sa.func.min(days.c.before), sa.BigInteger).label("before"),
            )
            .where(days.c.before < offset + page_size, days.c.until > offset)
            .cte("page_days")
        )
        start, end = (
            sa.select(day_start(whole_days.c.timezone, day))
            .join_from(page_days, whole_days, sa.true())
            .scalar_subquery()
            for day in (page_days.c.first, page_days.c.last + 1)
        )
        return (Usage.usage_at >= start) & (Usage.usage_at < end), offset - _value(page_days.c.before)

    return RowCount(total, around)


def _counts_by_day(query_filter: QueryFilter, totals: sa.Select[Any]) -> tuple[sa.CTE, sa.CTE]:
    """Return the number of usages of each whole day and of the two ends of the range, and the row of `_whole_days`."""
    whole_days = _whole_days(query_filter)
    counts = totals.with_only_columns(DailyTotal.day, sa.func.sum(DailyTotal.usage_count).label("number"))
    usages = query_filter.unbounded(visible(Usage)).with_only_columns(sa.func.count())
    parts = []
    if query_filter.start is not None:
        counts = counts.where(DailyTotal.day >= _value(whole_days.c.first))
        before = usages.where(query_filter.criteria["start"], Usage.usage_at < _value(whole_days.c.start))
        parts.append(sa.select(_value(whole_days.c.first) - 1, before.scalar_subquery()))
    if query_filter.end is not None:
        counts = counts.where(DailyTotal.day < _value(whole_days.c.last))
        after = usages.where(Usage.usage_at >= _value(whole_days.c.end), query_filter.criteria["end"])
        parts.append(sa.select(_value(whole_days.c.last), after.scalar_subquery()))
    return sa.union_all(counts.group_by(DailyTotal.day), *parts).cte("counts"), whole_days


def _whole_days(query_filter: QueryFilter) -> sa.CTE:
    """Return one row: `first`, the first whole day in the range; `last`, the day after the last one; `timezone`.

    `start` and `end` are the instants between which the whole days are. They never leave the range: if it holds no
    whole day, all of it is before `start`.
    """
    zone = Organization.timezone
    days: dict[str, Any] = {"timezone": zone}
    if query_filter.start is not None:
        # A day that begins at the start of the range is whole. Any other day of the range begins later.
        instant_before = sa.literal(query_filter.start - MICROSECOND, TIMESTAMPTZ)
        days["first"] = day_of(local_clock(zone, instant_before)) + 1
    if query_filter.end is not None:
        range_end = sa.literal(query_filter.end, TIMESTAMPTZ)
        days["last"] = day_of(local_clock(zone, range_end))
    day = (
        sa.select(*(column.label(name) for name, column in days.items()))
        .where(Organization.id == current_actor().organization_id)
        .subquery("days_in_range")
        .c
    )
    instants = {name: day_start(day.timezone, day[edge]) for name, edge in EDGES.items() if edge in days}
    if len(instants) == len(EDGES):
        instants["start"] = sa.func.least(instants["start"], range_end)
        instants["end"] = sa.func.greatest(instants["end"], instants["start"])
    return sa.select(*day, *(instant.label(name) for name, instant in instants.items())).cte("whole_days")


def _sum(numbers: Any) -> Any:
    return sa.cast(sa.func.coalesce(sa.func.sum(numbers), 0), sa.BigInteger)


def _value(column: Any) -> Any:
    """Return the value of a column of a table of one row."""
    return sa.select(column).scalar_subquery()

"""The days of the ledger, as they answer for usages: which of them hold exactly the usages that are asked for."""

from typing import Any

import sqlalchemy as sa

from ..accounts.models import Organization
from ..auth import current_actor, visible
from ..catalogue.models import UsageType
from ..local_time.clock import MOMENT, day_of, day_start, local_clock
from ..rest.paging import RowCount
from ..rest.query import QueryFilter
from .models import DailyTotal, Usage

# They see all usages of their organization, and of no other: so they see its days.
SEE_ALL = frozenset({"manager", "auditor"})
FILTERS = {
    "usage_type_id": lambda ids: DailyTotal.usage_type_id.in_(ids),
    "scope": lambda scopes: DailyTotal.usage_type_id.in_(sa.select(UsageType.id).where(UsageType.scope.in_(scopes))),
    "method": lambda methods: DailyTotal.method.in_(methods),
    "restatement_id": lambda ids: DailyTotal.restatement_id.in_(ids),
}
RANGE = {"start", "end"}
BEFORE_ALL, AFTER_ALL = sa.literal_column("date '-infinity'", sa.Date), sa.literal_column("date 'infinity'", sa.Date)


def matching_daily_totals(narrow: QueryFilter) -> sa.Select[Any] | None:
    """The days of the usages that `narrow` asks for, but for its range; None where days cannot tell these apart."""
    asked = narrow.filters.keys() - RANGE
    if current_actor().role not in SEE_ALL or narrow.rewrites or not asked <= FILTERS.keys():
        return None
    criteria = (FILTERS[name](narrow.arguments[name]) for name in sorted(asked))
    return sa.select(DailyTotal).where(DailyTotal.organization_id == current_actor().organization_id, *criteria)


def count_from_daily_totals(narrow: QueryFilter) -> RowCount | None:
    """How many usages `narrow` asks for, from the days that are whole in its range and the usages at its ends."""
    days = matching_daily_totals(narrow)
    if days is None:
        return None
    bounds = _bounds(narrow)
    whole = days.with_only_columns(DailyTotal.day, sa.func.sum(DailyTotal.usage_count).label("number"))
    parts = [
        whole.where(DailyTotal.day >= _of(bounds.c.first), DailyTotal.day < _of(bounds.c.last)).group_by(DailyTotal.day)
    ]
    usages = narrow.unbounded(visible(Usage)).with_only_columns(sa.func.count().label("number"))
    if narrow.start is not None:
        front = usages.where(narrow.criteria["start"], Usage.usage_at < _of(bounds.c.front_end))
        parts.append(sa.select(_of(bounds.c.first) - 1, front.scalar_subquery()))
    if narrow.end is not None:
        back = usages.where(Usage.usage_at >= _of(bounds.c.back_begin), narrow.criteria["end"])
        parts.append(sa.select(_of(bounds.c.last), back.scalar_subquery()))
    numbers = sa.union_all(*parts).cte("numbers")
    total = sa.select(sa.cast(sa.func.coalesce(sa.func.sum(numbers.c.number), 0), sa.BigInteger)).scalar_subquery()
    (by, *_) = narrow.order
    if by.element.key != Usage.usage_at.key:
        return RowCount(total)

    descends = by.modifier is sa.sql.operators.desc_op

    def around(offset: Any, page_size: Any) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[int]]:
        so_far = sa.func.sum(numbers.c.number).over(order_by=numbers.c.day.desc() if descends else numbers.c.day)
        passed = sa.select(numbers.c.day, so_far.label("so_far"), (so_far - numbers.c.number).label("before"))
        days = passed.subquery("passed").c
        of_page = (
            sa.select(
                sa.func.min(days.day).label("first"),
                sa.func.max(days.day).label("last"),
                sa.cast(sa.func.min(days.before), sa.BigInteger).label("before"),
            )
            .where(days.before < offset + page_size, days.so_far > offset)
            .cte("days_of_page")
        )
        begin, end = (
            sa.select(day_start(bounds.c.timezone, day)).select_from(of_page.join(bounds, sa.true())).scalar_subquery()
            for day in (of_page.c.first, of_page.c.last + 1)
        )
        return (Usage.usage_at >= begin) & (Usage.usage_at < end), offset - _of(of_page.c.before)

    return RowCount(total, around)


def _bounds(narrow: QueryFilter) -> sa.CTE:
    """The first whole day of the range, `first`, and the one behind the last, `last`; and where its ends are cut off.

    Of the range, `front_end` ends what is before the first whole day, and `back_begin` begins what is after the last.
    """
    start, end = (
        sa.literal(narrow.arguments[name], MOMENT) if name in narrow.filters else None for name in ("start", "end")
    )
    timezone = sa.select(Organization.timezone).where(Organization.id == current_actor().organization_id).cte("local")
    zone = timezone.c.timezone
    first: Any = BEFORE_ALL
    if start is not None:
        day = day_of(local_clock(zone, start))
        first = sa.case((day_start(zone, day) == start, day), else_=day + 1)
    last = AFTER_ALL if end is None else day_of(local_clock(zone, end))
    days = sa.select(zone, first.label("first"), last.label("last")).cte("whole")
    begins = {"front_end": day_start(days.c.timezone, days.c.first) if start is not None else None,
              "back_begin": day_start(days.c.timezone, days.c.last) if end is not None else None}  # fmt: skip
    if start is not None and end is not None:
        # Both within one day: all of the range is at its front.
        begins["front_end"] = sa.func.least(begins["front_end"], end)
        begins["back_begin"] = sa.func.greatest(begins["back_begin"], begins["front_end"])
    return sa.select(days, *(begin.label(name) for name, begin in begins.items() if begin is not None)).cte("bounds")


def _of(column: Any) -> Any:
    """The value of a column of a table of one row."""
    return sa.select(column).scalar_subquery()

"""Read daily totals in place of usages: which totals cover a query exactly, and how many usages it selects."""

from functools import cache
from typing import Any

import sqlalchemy as sa

from ..accounts.models import Organization
from ..auth import current_actor
from ..local_time.clock import day_start
from ..rest.paging import RowCount
from ..rest.query import QueryFilter
from .models import DailyTotal, Usage

# These roles see all usages of their organization and no others, so its daily totals cover what they see.
ROLES = frozenset({"manager", "auditor"})
RANGE = {"start", "end"}
# The filters that daily totals can answer. The columns have the same names in daily totals and in usages.
CRITERIA = {
    "usage_type_id": "usage_type_id = ANY (:usage_type_id)",
    # A split usage has the lines of its segments.
    "scope": "valuation_id IN (SELECT valuation_id FROM valuation_lines WHERE organization_id = :organization_id "
    "AND scope = ANY (:scope) UNION ALL SELECT s.valuation_id FROM valuation_segments s JOIN valuation_lines l "
    "ON l.organization_id = s.organization_id AND l.valuation_id = s.segment_id "
    "WHERE s.organization_id = :organization_id AND l.scope = ANY (:scope))",
    "restatement_id": "restatement_id = ANY (:restatement_id)",
}
# The number of usages of each whole day within the range, and of the parts of days at its start and its end. The first
# whole day is the day after the one that holds the microsecond before the start. If the range is within one day, all of
# it is at its start. This is text because SQLAlchemy would take longer to build it for each list than PostgreSQL to run
# the list.
COUNTS_BY_DAY = """
WITH range AS (
    SELECT timezone, range_start, range_end, local_clock(timezone, range_end)::date AS last,
           local_clock(timezone, range_start - interval '1 microsecond')::date + 1 AS first
    FROM organizations,
         (SELECT CAST(:start AS timestamptz) AS range_start, CAST(:end AS timestamptz) AS range_end) AS query
    WHERE id = :organization_id)
SELECT day, sum(usage_count) AS number FROM daily_totals
WHERE organization_id = :organization_id{criteria}
      AND day >= coalesce((SELECT first FROM range), '-infinity')
      AND day < coalesce((SELECT last FROM range), 'infinity')
GROUP BY day
UNION ALL
SELECT first - 1, (SELECT count(*) FROM usages WHERE organization_id = :organization_id{criteria}
                   AND usage_at >= range_start AND usage_at < least(day_start(timezone, first), range_end))
FROM range WHERE range_start IS NOT NULL
UNION ALL
SELECT last, (SELECT count(*) FROM usages WHERE organization_id = :organization_id{criteria}
              AND usage_at >= day_start(timezone, last) AND usage_at < range_end)
FROM range WHERE range_end IS NOT NULL AND coalesce(first <= last, true)
"""


def matching_daily_totals(query_filter: QueryFilter) -> sa.Select[Any] | None:
    """Select the daily totals of the queried usages, of all time. Return None if they do not cover the query."""
    names = query_filter.filters.keys() - RANGE
    actor = current_actor()
    if actor.role not in ROLES or query_filter.rewrites or not names <= CRITERIA.keys():
        return None
    values = {**query_filter.arguments, "organization_id": actor.organization_id}
    criteria = (
        _bound(
            CRITERIA[name], {each: values[each] for each in (name, "organization_id") if f":{each}" in CRITERIA[name]}
        )
        for name in sorted(names)
    )
    return sa.select(DailyTotal).where(DailyTotal.organization_id == actor.organization_id, *criteria)


def count_from_daily_totals(query_filter: QueryFilter) -> RowCount | None:
    """Return the number of queried usages, from daily totals and the usages of the days that the range cuts."""
    totals = matching_daily_totals(query_filter)
    if totals is None:
        return None
    counts_by_day = cache(lambda: _counts_by_day(query_filter).c)  # One CTE, if the statement needs it.
    if RANGE & query_filter.filters.keys():
        total = sa.select(_sum(counts_by_day().number)).scalar_subquery()
    else:
        total = totals.with_only_columns(_sum(DailyTotal.usage_count)).scalar_subquery()
    (first_key, *_) = query_filter.order
    if first_key.element.key != Usage.usage_at.key:
        return RowCount(total)
    is_descending = first_key.modifier is sa.sql.operators.desc_op

    def around(offset: Any, page_size: Any) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[int]]:
        counts = counts_by_day()
        until = sa.func.sum(counts.number).over(order_by=counts.day.desc() if is_descending else counts.day)
        days = sa.select(counts.day, until.label("until"), (until - counts.number).label("before")).subquery("days").c
        page_days = (
            sa.select(
                sa.func.min(days.day).label("first"),
                sa.func.max(days.day).label("last"),
                sa.cast(sa.func.min(days.before), sa.BigInteger).label("before"),
            )
            .where(days.before < offset + page_size, days.until > offset)
            .cte("page_days")
        )
        own = Organization.id == current_actor().organization_id
        timezone = sa.select(Organization.timezone).where(own).scalar_subquery()
        start, end = (
            sa.select(day_start(timezone, day)).scalar_subquery() for day in (page_days.c.first, page_days.c.last + 1)
        )
        before = sa.select(page_days.c.before).scalar_subquery()
        return (Usage.usage_at >= start) & (Usage.usage_at < end), offset - before

    return RowCount(total, around)


def _counts_by_day(query_filter: QueryFilter) -> sa.CTE:
    """Return a CTE with the number of queried usages of each day: `day`, `number`."""
    values = {name: query_filter.arguments[name] for name in query_filter.filters}
    criteria = "".join(f" AND {CRITERIA[name]}" for name in sorted(values.keys() - RANGE))
    values |= {"organization_id": current_actor().organization_id, "start": query_filter.start, "end": query_filter.end}
    text = _bound(COUNTS_BY_DAY.format(criteria=criteria), values)
    return text.columns(sa.column("day", sa.Date), sa.column("number", sa.Numeric)).cte("counts")


def _bound(text: str, values: dict[str, Any]) -> sa.TextClause:
    """Return a text with its parameters. The type of an id does not depend on how large it is."""
    id_ = [sa.bindparam("organization_id", type_=sa.BigInteger)] if "organization_id" in values else []
    return sa.text(text).bindparams(*id_, **values)


def _sum(numbers: Any) -> Any:
    return sa.cast(sa.func.coalesce(sa.func.sum(numbers), 0), sa.BigInteger)

"""How much of the time there is data for: what is missing is told, rather than counted as nothing.

A usage type has data while somebody's period or reading lasts. A period lasts from its begin to its end. A reading, a
usage at an instant, lasts until the same user's next reading of the type, but no longer than is usual for the type:
the median time between one reading of a user and the next. Less than 20 hours are measured by the seconds, more by the
local clock, so that a day is a day when clocks are moved; 28 to 31 days are a month, 89 to 92 a quarter, 365 and 366 a
year. A type that was read only once lasts no time at all: nobody knows how long. Adjustments are no readings.

What is usual, and which types there should be data of, is told from two months before the range to two months after it:
so a short range with a gap in it is known to have one. Of several usage types the coverage is the mean.
"""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSTZRANGE

from .spreading import ASKED, Edges, within

TIMEZONE = sa.bindparam("timezone", type_=sa.Text)
MOMENT, RANGE = sa.DateTime(timezone=True), TSTZRANGE()
DAY = dt.timedelta(days=1)
HORIZON = 62 * DAY
SHORTEST_DAY = dt.timedelta(hours=20)
CALENDAR = (
    (28 * DAY, 31 * DAY, sa.text("INTERVAL '1 month'")),
    (89 * DAY, 92 * DAY, sa.text("INTERVAL '3 months'")),
    (365 * DAY, 366 * DAY, sa.text("INTERVAL '1 year'")),
)


def covered(edges: Edges) -> sa.Select[Any]:
    """Of ASKED, for each place that has data: `place`, `seconds` summed over the usage types, and `type_count`.

    type_count: how many usage types there are within the horizon, also those that have no data between the edges.
    """
    asked = ASKED.c
    at_once, over_time = within(edges.first - HORIZON, edges.last + HORIZON)
    following = sa.func.lead(asked.usage_at).over(
        partition_by=(asked.usage_type_id, asked.user_id), order_by=asked.usage_at
    )
    readings = (
        sa.select(asked.usage_type_id, asked.usage_at, following.label("next_at"))
        .where(at_once, asked.adjusts_period_id.is_(None))
        .cte(f"readings_{edges.name}")
    )
    periods = sa.select(asked.usage_type_id, asked.usage_at, asked.usage_until).where(
        over_time, asked.adjusts_period_id.is_(None)
    )
    usual = _usual(readings)
    longest = sa.case(
        (usual.c.interval < SHORTEST_DAY, readings.c.usage_at + usual.c.interval),
        else_=sa.func.timezone(TIMEZONE, sa.func.timezone(TIMEZONE, readings.c.usage_at) + usual.c.interval),
    )
    lasting = (
        sa.select(
            readings.c.usage_type_id,
            readings.c.usage_at.label("begin"),
            # Of a type that was read only once, the end is not known.
            sa.func.least(readings.c.next_at, longest).label("end"),
        )
        .outerjoin(usual, usual.c.usage_type_id == readings.c.usage_type_id)
        .union_all(periods)
        .cte(f"lasting_{edges.name}")
    )
    ranges = sa.func.tstzrange(
        sa.func.greatest(lasting.c.begin, edges.first), sa.func.least(lasting.c.end, edges.last), type_=RANGE
    )
    spans = (
        sa.select(lasting.c.usage_type_id, sa.func.unnest(sa.func.range_agg(ranges), type_=RANGE).label("span"))
        .where(lasting.c.end > edges.first, lasting.c.begin < edges.last)
        .group_by(lasting.c.usage_type_id)
        .subquery("spans")
    )
    begin, end = sa.func.lower(spans.c.span, type_=MOMENT), sa.func.upper(spans.c.span, type_=MOMENT)
    places = edges.places_of(begin, end)
    shared = sa.func.least(end, edges.end(places.c.place)) - sa.func.greatest(begin, edges.begin(places.c.place))
    types = sa.select(lasting.c.usage_type_id).distinct().subquery("types")
    type_count = sa.select(sa.func.count()).select_from(types).scalar_subquery()
    return (
        sa.select(
            places.c.place,
            sa.func.sum(sa.cast(sa.extract("epoch", shared), sa.Numeric)).label("seconds"),
            type_count.label("type_count"),
        )
        .select_from(spans)
        .join(edges.table, sa.true())
        .join(places, sa.true())
        .where(edges.begin(places.c.place) < edges.end(places.c.place))
        .group_by(places.c.place)
    )


def _usual(readings: sa.CTE) -> sa.CTE:
    """The usual `interval` between two readings of each usage type."""
    gap = readings.c.next_at - readings.c.usage_at
    local_gap = sa.func.timezone(TIMEZONE, readings.c.next_at) - sa.func.timezone(TIMEZONE, readings.c.usage_at)
    # Regular readings have few different gaps: these are counted, rather than all of them sorted.
    gaps = (
        sa.select(
            readings.c.usage_type_id,
            sa.case((gap < SHORTEST_DAY, gap), else_=local_gap).label("gap"),
            sa.func.count().label("number"),
        )
        .where(readings.c.next_at > readings.c.usage_at)
        .group_by(readings.c.usage_type_id, sa.text("2"))
        .subquery("gaps")
    )
    counted = sa.select(
        gaps.c.usage_type_id,
        gaps.c.gap,
        sa.func.sum(gaps.c.number).over(partition_by=gaps.c.usage_type_id, order_by=gaps.c.gap).label("so_far"),
        sa.func.sum(gaps.c.number).over(partition_by=gaps.c.usage_type_id).label("total"),
    ).subquery("counted")
    median = sa.func.min(counted.c.gap)
    calendar = ((median.between(shortest, longest), interval) for shortest, longest, interval in CALENDAR)
    return (
        sa.select(
            counted.c.usage_type_id, sa.type_coerce(sa.case(*calendar, else_=median), sa.Interval).label("interval")
        )
        .where(2 * counted.c.so_far >= counted.c.total)
        .group_by(counted.c.usage_type_id)
        .cte(f"usual_{readings.name}")
        # Otherwise it may be worked out for each reading anew.
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )

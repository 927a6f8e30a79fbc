"""The parts of usages between edges, from daily totals of whole days and from usages at both ends.

All edges but the first and the last must begin a day, so the days between them are whole. The first and the last edge
may cut a day: the front is before the first whole day, and the back is after the last. Their parts are computed from
usages. A year thus takes a few hundred rows of each usage type, however many usages it has.

Python and PostgreSQL have a time zone database each. The statement checks that both agree where the days begin; if not,
the caller reads the usages instead.
"""

import datetime as dt
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..accounts.models import Organization
from ..local_time.clock import TIMESTAMPTZ, day_start
from ..rest.fields import start_of_day
from .prorated_rows import SELECTED_TOTALS, TimeEdges, prorated_rows

ONE_DAY = dt.timedelta(days=1)
USAGE_COLUMNS = ("organization_id", "usage_type_id", "valuation_id", "restatement_id")
COLUMNS = ("place", *USAGE_COLUMNS, "amount", "estimated_amount", "usage_count")


class PartialDays(NamedTuple):
    """The ends of a range that cut a day."""

    has_front: bool
    has_back: bool


@cache
def daily_rows(edges: TimeEdges) -> "DailyRows":
    return DailyRows(edges)


class DailyRows:
    """The parts between edges: whole days, the front and the back."""

    def __init__(self, edges: TimeEdges) -> None:
        self.edges = edges
        name = edges.name
        self.front, self.back = TimeEdges(f"{name}_front"), TimeEdges(f"{name}_back")
        # The first whole day of each place and the day after the last, and the instants at which these days begin.
        days = sa.cast(sa.bindparam(f"{name}_days", type_=sa.Text), ARRAY(sa.Date))
        starts = sa.cast(sa.bindparam(f"{name}_day_starts", type_=sa.Text), ARRAY(TIMESTAMPTZ))
        self.table = sa.select(days.label("days"), starts.label("starts")).cte(f"{name}_of_days")
        self.back_is_place = sa.bindparam(f"{name}_back_is_place", type_=sa.Boolean)
        self.count = sa.bindparam(f"{name}_count", type_=sa.Integer)
        self.first, self.last = (sa.bindparam(f"{name}_{end}_day", type_=sa.Date) for end in ("first", "last"))

    def divide(self, instants: Sequence[dt.datetime], timezone: str) -> tuple[PartialDays, dict[str, Any]] | None:
        """Return the partial days of these edges, and their parameters.

        Return None if an inner edge does not begin a day, or if there is no whole day.
        """
        zone = ZoneInfo(timezone)
        first, *inner, last = instants
        days = [instant.astimezone(zone).date() for instant in inner]
        if any(start_of_day(day, timezone) != instant for day, instant in zip(days, inner, strict=True)):
            return None
        first_day, last_day = first.astimezone(zone).date(), last.astimezone(zone).date()
        has_front = start_of_day(first_day, timezone) != first
        if has_front:
            first_day += ONE_DAY
        start, end = start_of_day(first_day, timezone), start_of_day(last_day, timezone)
        if first_day >= last_day or any(day < first_day or day > last_day for day in days):
            return None
        if start < first or last < end:  # The range is cut while a clock repeats the time that it has shown.
            return None
        name = self.edges.name
        parameters: dict[str, Any] = {
            f"{name}_days": f"{{{','.join(day.isoformat() for day in (first_day, *days, last_day))}}}",
            f"{name}_day_starts": f"{{{','.join(instant.isoformat() for instant in (start, *inner, end))}}}",
            f"{name}_first_day": first_day,
            f"{name}_last_day": last_day,
            f"{name}_count": len(instants) - 1,
            f"{name}_back_is_place": instants[-2] == end,
        }
        for edges, ends in ((self.edges, instants), (self.front, [first, start]), (self.back, [end, last])):
            parameters |= edges.parameters(ends)
        return PartialDays(has_front, end != last), parameters

    def agree(self) -> sa.ScalarSelect[bool]:
        """Select whether PostgreSQL's days, in the time zone of the organization, begin when Python's do."""
        edge = sa.select(
            sa.func.unnest(self.table.c.days, type_=sa.Date).label("day"),
            sa.func.unnest(self.table.c.starts, type_=TIMESTAMPTZ).label("start"),
        ).subquery("day_edges")
        agree = sa.func.bool_and(day_start(Organization.timezone, edge.c.day) == edge.c.start)
        return sa.select(agree).correlate(Organization).scalar_subquery()

    def parts(self, partial_days: PartialDays, *, instants_only: bool = False) -> Any:
        """Return the parts of the selected daily totals and usages, as a table like `prorated_rows`: COLUMNS.

        instants_only: whether there are no intervals.
        """
        total = SELECTED_TOTALS.c
        days = self.table.c.days
        place = sa.func.width_bucket(total.day, days, type_=sa.Integer)
        # A place counts the intervals that began before it on its first day, unless the front has counted them.
        counts_carried = (total.day == days[place]) & sa.or_(place > 1, sa.literal(not partial_days.has_front))
        usage_count = total.usage_count + sa.case((counts_carried, total.carried_count), else_=0)
        sources = [
            sa.select(
                place.label("place"), total.organization_id, total.usage_type_id, total.valuation_id,
                sa.func.nullif(total.restatement_id, 0).label("restatement_id"), total.amount,
                total.estimated_amount, usage_count.label("usage_count"),
            )
            .select_from(SELECTED_TOTALS.join(self.table, sa.true()))
            .where(total.day >= self.first, total.day < self.last)
            # Totals of usages that are gone are zero.
            .where(sa.or_(total.usage_count + total.carried_count > 0, total.amount != 0))
        ]  # fmt: skip
        if partial_days.has_front:
            front = prorated_rows(self.front, USAGE_COLUMNS, instants_only=instants_only)
            sources.append(sa.select(*(front.c[name] for name in COLUMNS)))
        if partial_days.has_back:
            back = prorated_rows(self.back, USAGE_COLUMNS, instants_only=instants_only)
            is_counted_here = sa.or_(self.back_is_place, back.c.usage_at >= self.back.first)
            replaced = {"place": self.count, "usage_count": sa.case((is_counted_here, back.c.usage_count), else_=0)}
            sources.append(sa.select(*(replaced.get(name, back.c[name]).label(name) for name in COLUMNS)))
        return sa.union_all(*sources).subquery("parts")

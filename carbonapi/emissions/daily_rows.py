"""The parts of usages between edges, from the days of the ledger where these are whole, else from the usages.

Between two edges at which days begin, all days are whole. The first and the last edge may cut a day: what lies before
the first whole day, the front, and after the last, the back, are parts of usages. So a year takes a few hundred rows a
usage type, however many usages it has.

What a day is, Python and PostgreSQL each know from a time zone database of their own. Where these differ, the days do
not fit the edges: the statement tells, and the usages are asked instead.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..accounts.models import Organization
from ..local_time.clock import TIMESTAMPTZ, day_start
from ..rest.fields import start_of_day
from .prorated_rows import DAYS, TimeEdges, prorated_rows

A_DAY = dt.timedelta(days=1)
COLUMNS = (
    "place", "organization_id", "usage_type_id", "method", "restatement_id", "amount", "co2e_kg", "estimated_kg",
    "usage_count",
)  # fmt: skip


@dataclass(frozen=True)
class PartialDays:
    """Which parts there are beside the whole days."""

    has_front: bool
    has_back: bool

    @property
    def has_ends(self) -> bool:
        return self.has_front or self.has_back


@cache
def daily_rows(edges: TimeEdges) -> "DailyRows":
    return DailyRows(edges)


class DailyRows:
    """What lies between these edges, from the days of the ledger, its front and its back."""

    def __init__(self, edges: TimeEdges) -> None:
        self.edges = edges
        name = edges.name
        self.front, self.back = TimeEdges(f"{name}_front"), TimeEdges(f"{name}_back")
        # The first whole day of each place, and the one behind the last of all; and when these begin.
        days = sa.cast(sa.bindparam(f"{name}_days", type_=sa.Text), ARRAY(sa.Date))
        begins = sa.cast(sa.bindparam(f"{name}_begins", type_=sa.Text), ARRAY(TIMESTAMPTZ))
        self.table = sa.select(days.label("days"), begins.label("begins")).cte(f"{name}_of_days")
        self.back_is_alone = sa.bindparam(f"{name}_back_is_alone", type_=sa.Boolean)
        self.count = sa.bindparam(f"{name}_count", type_=sa.Integer)
        self.first, self.last = (sa.bindparam(f"{name}_{which}_day", type_=sa.Date) for which in ("first", "last"))

    def parameters(self, instants: Sequence[dt.datetime], timezone: str) -> tuple[PartialDays, dict[str, Any]] | None:
        """What tells these edges; None if not all but the first and the last begin a day, or no day is whole."""
        zone = ZoneInfo(timezone)
        first, *inner, last = instants
        days = [moment.astimezone(zone).date() for moment in inner]
        if any(start_of_day(day, timezone) != moment for day, moment in zip(days, inner, strict=True)):
            return None
        first_day, last_day = first.astimezone(zone).date(), last.astimezone(zone).date()
        has_front = start_of_day(first_day, timezone) != first
        if has_front:
            first_day += A_DAY
        begin, end = start_of_day(first_day, timezone), start_of_day(last_day, timezone)
        if first_day >= last_day or any(day < first_day or day > last_day for day in days):
            return None
        if begin < first or last < end:  # Cut while a clock shows what it has shown before.
            return None
        shape = PartialDays(has_front, end != last)
        name = self.edges.name
        told: dict[str, Any] = {
            f"{name}_days": f"{{{','.join(day.isoformat() for day in (first_day, *days, last_day))}}}",
            f"{name}_begins": f"{{{','.join(moment.isoformat() for moment in (begin, *inner, end))}}}",
        }
        told |= self.edges.parameters(instants) | self.front.parameters([first, begin])
        told |= self.back.parameters([end, last])
        told |= {f"{name}_first_day": first_day, f"{name}_last_day": last_day, f"{name}_count": len(instants) - 1}
        return shape, told | {f"{name}_back_is_alone": instants[-2] == end}

    def fit(self) -> sa.ScalarSelect[bool]:
        """Whether PostgreSQL has these days begin when Python does, in the time zone of the organization."""
        edges = sa.select(
            sa.func.unnest(self.table.c.days, type_=sa.Date).label("day"),
            sa.func.unnest(self.table.c.begins, type_=TIMESTAMPTZ).label("begin"),
        ).subquery("edges")
        begins = day_start(Organization.timezone, edges.c.day)
        return sa.select(sa.func.bool_and(begins == edges.c.begin)).correlate(Organization).scalar_subquery()

    def parts(self, shape: PartialDays) -> Any:
        """The parts of DAYS and ASKED between the edges, as a table, as `spreading.parts` has them: COLUMNS."""
        days = self.table.c.days
        place = sa.func.width_bucket(DAYS.c.day, days, type_=sa.Integer)
        # A period that began before is counted where a place begins, unless the front has counted it.
        opens = (DAYS.c.day == days[place]) & sa.or_(place > 1, sa.literal(not shape.has_front))
        number = DAYS.c.usage_count + sa.case((opens, DAYS.c.carried_count), else_=0)
        sources = [
            sa.select(
                place.label("place"), DAYS.c.organization_id, DAYS.c.usage_type_id, DAYS.c.method,
                sa.func.nullif(DAYS.c.restatement_id, 0).label("restatement_id"), DAYS.c.amount, DAYS.c.co2e_kg,
                DAYS.c.estimated_kg, number.label("usage_count"),
            )
            .select_from(DAYS.join(self.table, sa.true()))
            .where(DAYS.c.day >= self.first, DAYS.c.day < self.last, DAYS.c.usage_count + DAYS.c.carried_count > 0)
        ]  # fmt: skip
        if shape.has_front:
            front = prorated_rows(self.front)
            sources.append(sa.select(*(front.c[name] for name in COLUMNS)))
        if shape.has_back:
            back = prorated_rows(self.back)
            begins = sa.or_(self.back_is_alone, back.c.usage_at >= self.back.first)
            told = {"place": self.count, "usage_count": sa.case((begins, 1), else_=0)}
            sources.append(sa.select(*(told.get(name, back.c[name]).label(name) for name in COLUMNS)))
        return sa.union_all(*sources).subquery("parts")

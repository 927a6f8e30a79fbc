"""Usages spread over time: which part of each lies between which edges, exactly.

A usage at an instant is whole in the span that holds the instant; a period has a part in each that it shares time with.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..local_time.clock import MICROSECOND
from ..local_time.proration import prorated_amount
from ..rest.fields import format_datetime
from ..usages.models import DailyTotal, Usage

# What is asked of usages, beside what narrows them: the rest of a statement reads them by this name, and so it can be
# kept for the next request, whatever that asks for.
TOLD = (
    Usage.organization_id, Usage.id, Usage.version, Usage.user_id, Usage.usage_type_id, Usage.usage_at,
    Usage.usage_until, Usage.amount_in_type_unit, Usage.co2e_kg, Usage.factor, Usage.method, Usage.quality,
    Usage.adjusts_closed_period_id, Usage.restatement_id,
)  # fmt: skip
ASKED: Any = sa.table("asked", *(sa.column(told.key, told.type) for told in TOLD))
# The same of the days that hold these usages, where there are such.
DAYS: Any = sa.table("days_asked", *(sa.column(told.key, told.type) for told in DailyTotal.__table__.c))


class TimeEdges:
    """Instants of a statement, ascending, which its parameters tell: the places between them are counted from 1."""

    def __init__(self, name: str = "edges") -> None:
        self.name = name
        self.first = sa.bindparam(f"{name}_first", type_=sa.DateTime(timezone=True))
        self.last = sa.bindparam(f"{name}_last", type_=sa.DateTime(timezone=True))
        # One long literal, which stands in the statement once.
        array = sa.cast(sa.bindparam(f"{name}_instants", type_=sa.Text), ARRAY(sa.DateTime(timezone=True)))
        self.table = sa.select(array.label("instants")).cte(name)

    def parameters(self, instants: Sequence[dt.datetime]) -> dict[str, Any]:
        """What tells these instants."""
        text = "{" + ",".join(map(format_datetime, instants)) + "}"
        return {
            f"{self.name}_first": instants[0], f"{self.name}_last": instants[-1], f"{self.name}_instants": text
        }  # fmt: skip

    def place_of(self, moment: Any) -> Any:
        """The place that holds `moment`."""
        return sa.func.width_bucket(moment, self.table.c.instants, type_=sa.Integer)

    def begin(self, place: Any) -> Any:
        """The instant at which a place begins."""
        return self.table.c.instants[place]

    def end(self, place: Any) -> Any:
        """The instant at which a place ends."""
        return self.table.c.instants[place + 1]

    def places_of(self, begin: Any, end: Any) -> Any:
        """A table of the places, `place`, that share time with [begin, end), of which the edges hold some."""
        first = self.place_of(sa.func.greatest(begin, self.first))
        last = self.place_of(sa.func.least(end, self.last) - MICROSECOND)
        places: Any = sa.func.generate_series(first, last).table_valued("place").lateral("places")
        return places.render_derived()


def within(begin: Any, end: Any) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """What tells of ASKED those at an instant of [begin, end), and the periods that share time with it."""
    asked = ASKED.c
    return (
        asked.usage_until.is_(None) & (asked.usage_at >= begin) & (asked.usage_at < end),
        (asked.usage_until > begin) & (asked.usage_at < end),
    )


def prorated_rows(edges: TimeEdges) -> Any:
    """The parts of ASKED between the edges, as a table.

    Columns: `place`, counted from 1; the part's `amount`, in the unit of the type, `co2e_kg`, and `estimated_kg`, what
    of it is estimated; `usage_count`, 1; and others of ASKED.
    """
    asked = ASKED.c
    others = [column for column in asked if column.name not in ("usage_until", "amount_in_type_unit", "co2e_kg")]
    at_once, over_time = within(edges.first, edges.last)
    whole = (
        sa.select(
            edges.place_of(asked.usage_at).label("place"), asked.amount_in_type_unit.label("amount"), asked.co2e_kg
        )
        .add_columns(*others)
        .select_from(ASKED.join(edges.table, sa.true()))
        .where(at_once)
    )
    places = edges.places_of(asked.usage_at, asked.usage_until)
    begin, end = edges.begin(places.c.place), edges.end(places.c.place)
    amount = prorated_amount(asked.amount_in_type_unit, asked.usage_at, asked.usage_until, begin, end)
    period = (
        sa.select(places.c.place, amount.label("amount"), *others)
        .select_from(ASKED.join(edges.table, sa.true()).join(places, sa.true()))
        # Two edges may be one: a day that has no counterpart a year before.
        .where(over_time, begin < end)
        .subquery("periods")
    )
    spread = sa.select(
        period.c.place,
        period.c.amount,
        period.c.amount * period.c.factor,
        *(period.c[column.name] for column in others),
    )
    both = whole.union_all(spread).subquery("parts_found")
    estimated = sa.case((both.c.quality == "estimated", both.c.co2e_kg))
    return sa.select(both, sa.literal(1).label("usage_count"), estimated.label("estimated_kg")).subquery("parts")

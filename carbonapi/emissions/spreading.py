"""Usages spread over time: which part of each lies between which edges, exactly.

A usage at an instant is whole in the span that holds the instant. A period is spread evenly over its seconds as they
really pass: a day of 25 hours has 25 hours' worth of it. Up to an edge it has used its amount × the time passed ÷ its
whole time, rounded half up at the twelfth digit after the point, the last that the ledger stores; between two edges it
has used the difference. So a part is its exact share, rounded up or down in the last digit, and parts add up to the
whole wherever they are cut: days to their month, and a range and the next one to both. The CO2e of a part is its amount
times the factor that is frozen into the usage, exactly, so that adds up as well.
"""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..rest.fields import rfc3339
from ..usages.models import Usage

LAST_DIGIT = Decimal("1e-12")
INSTANT = dt.timedelta(microseconds=1)
# All usages lie between these.
BEGIN_OF_TIME, END_OF_TIME = (dt.datetime(year, 1, 1, tzinfo=dt.UTC) for year in (1900, 2201))
# What of a usage is told with each of its parts.
TOLD = (
    Usage.organization_id, Usage.id, Usage.version, Usage.user_id, Usage.usage_type_id, Usage.method, Usage.quality,
    Usage.factor, Usage.restatement_id,
)  # fmt: skip


class Edges:
    """Instants, ascending, in a statement: the places between them are counted from 1."""

    def __init__(self, instants: Sequence[dt.datetime], name: str = "edges") -> None:
        self.first, self.last = instants[0], instants[-1]
        # One long literal, which stands in the statement once.
        literal = sa.literal("{" + ",".join(map(rfc3339, instants)) + "}", sa.Text)
        array = sa.cast(literal, ARRAY(sa.DateTime(timezone=True)))
        self.table = sa.select(array.label("instants")).cte(name)

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
        last = self.place_of(sa.func.least(end, self.last) - INSTANT)
        places: Any = sa.func.generate_series(first, last).table_valued("place").lateral("places")
        return places.render_derived()


def within(usages: sa.Select[Any], begin: dt.datetime, end: dt.datetime) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """The usages at an instant of [begin, end), and the periods that share time with it."""
    instants = usages.where(Usage.usage_until.is_(None), Usage.usage_at >= begin, Usage.usage_at < end)
    return instants, usages.where(Usage.usage_until > begin, Usage.usage_at < end)


def parts(usages: sa.Select[Any], edges: Edges) -> Any:
    """The parts of these usages between the edges, as a table.

    Columns: `place`, counted from 1; the part's `amount`, in the unit of the type, and `co2e_kg`; and TOLD.
    """
    instants, periods = within(usages, edges.first, edges.last)
    places = edges.places_of(Usage.usage_at, Usage.usage_until)
    begin, end = edges.begin(places.c.place), edges.end(places.c.place)
    amount = part(Usage.amount_in_type_unit, Usage.usage_at, Usage.usage_until, begin, end)
    whole = instants.with_only_columns(
        edges.place_of(Usage.usage_at).label("place"),
        Usage.amount_in_type_unit.label("amount"),
        Usage.co2e_kg.label("co2e_kg"),
        *TOLD,
    )
    whole = whole.select_from(Usage).join(edges.table, sa.true())
    periods = (
        periods.with_only_columns(places.c.place, amount.label("amount"), *TOLD)
        .select_from(Usage)
        .join(edges.table, sa.true())
        .join(places, sa.true())
        # Two edges may be one: a day that has no counterpart a year before.
        .where(begin < end)
    )
    period = periods.subquery("periods")
    spread = sa.select(
        period.c.place,
        period.c.amount,
        period.c.amount * period.c.factor,
        *(period.c[column.key] for column in TOLD),
    )
    return whole.union_all(spread).subquery("parts")


def part(amount: Any, usage_at: Any, usage_until: Any, begin: Any, end: Any) -> Any:
    """How much of a period's amount was used within [begin, end)."""
    return _used_until(end, amount, usage_at, usage_until) - _used_until(begin, amount, usage_at, usage_until)


def _used_until(moment: Any, amount: Any, usage_at: Any, usage_until: Any) -> Any:
    passed = _seconds(sa.func.least(sa.func.greatest(moment, usage_at), usage_until) - usage_at)
    whole = _seconds(usage_until - usage_at)
    # Rounded half up in whole numbers: a quotient of numerics would be rounded twice.
    digits = sa.func.div(2 / LAST_DIGIT * sa.func.abs(amount) * passed + whole, 2 * whole)
    return sa.func.sign(amount) * digits * LAST_DIGIT


def _seconds(length: Any) -> Any:
    return sa.cast(sa.extract("epoch", length), sa.Numeric)

"""Usages prorated over time: the exact part of each usage between two edges.

A usage at an instant is whole in the place that holds the instant. An interval has a part in each place that it
overlaps.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..catalogue.usage_valuations import usage_parts
from ..local_time.clock import MICROSECOND, TIMESTAMPTZ
from ..local_time.proration import prorated_amount
from ..rest.fields import format_datetime
from ..sites.ownership import OWNERSHIP
from ..usages.models import DailyTotal, Usage, split_id

# A statement of figures reads the selected usages, and the daily totals that cover them, by these names. So one
# statement serves every selection: each request adds its own CTEs of these names.
USAGE_COLUMNS = (
    Usage.organization_id, Usage.id, Usage.version, Usage.user_id, Usage.usage_type_id, Usage.usage_at,
    Usage.usage_until, Usage.amount_in_type_unit, Usage.valuation_id, Usage.split_co2e_kg, Usage.quality,
    Usage.adjusts_closed_period_id, Usage.restatement_id, Usage.site_id, Usage.meter_id, Usage.region,
)  # fmt: skip
SELECTED_USAGES: Any = sa.table("usage_rows", *(sa.column(each.key, each.type) for each in USAGE_COLUMNS))
SELECTED_TOTALS: Any = sa.table("total_rows", *(sa.column(each.key, each.type) for each in DailyTotal.__table__.c))
# When the first interval of the organization ends; null if it has none.
FIRST_INTERVAL: Any = sa.table("first_interval", sa.column("usage_until", Usage.usage_until.type))
SELECTED_SITES: Any = sa.table("site_rows", sa.column("id", sa.BigInteger))

# The columns of a usage that its parts have.
PART_COLUMNS = (*(column.key for column in USAGE_COLUMNS), "part_start", "part_end")


@dataclass(frozen=True)
class TimeEdges:
    """Ascending instants of a statement, as its parameters. The places between them are numbered from 1."""

    name: str

    @cached_property
    def first(self) -> Any:
        return sa.bindparam(f"{self.name}_first", type_=TIMESTAMPTZ)

    @cached_property
    def last(self) -> Any:
        return sa.bindparam(f"{self.name}_last", type_=TIMESTAMPTZ)

    @cached_property
    def table(self) -> sa.CTE:
        """A CTE of one row: the array `instants`, which the statement contains and PostgreSQL reads once."""
        array = sa.cast(sa.bindparam(f"{self.name}_instants", type_=sa.Text), ARRAY(TIMESTAMPTZ))
        return sa.select(array.label("instants")).cte(self.name).prefix_with("MATERIALIZED", dialect="postgresql")

    def parameters(self, instants: Sequence[dt.datetime]) -> dict[str, Any]:
        """Return the parameters of these instants."""
        text = "{" + ",".join(map(format_datetime, instants)) + "}"
        return {
            f"{self.name}_first": instants[0], f"{self.name}_last": instants[-1], f"{self.name}_instants": text
        }  # fmt: skip

    def place_of(self, instant: Any) -> Any:
        """Return the place that holds an instant."""
        return sa.func.width_bucket(instant, self.table.c.instants, type_=sa.Integer)

    def places_of(self, start: Any, end: Any) -> Any:
        """Return a lateral table of each `place` that overlaps [start, end), which must overlap the edges."""
        first = self.place_of(sa.func.greatest(start, self.first))
        last = self.place_of(sa.func.least(end, self.last) - MICROSECOND)
        places: Any = sa.func.generate_series(first, last).table_valued("place").lateral("places")
        return places.render_derived()


def within(start: Any, end: Any) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Return two criteria of selected usages: at an instant in [start, end), and intervals that overlap it."""
    usage = SELECTED_USAGES.c
    return (
        usage.usage_until.is_(None) & (usage.usage_at >= start) & (usage.usage_at < end),
        (usage.usage_until > start) & (usage.usage_at < end),
    )


def prorated_rows(
    edges: TimeEdges,
    columns: Collection[str] = PART_COLUMNS,
    *,
    by_ownership: bool = False,
    instants_only: bool = False,
) -> Any:
    """Return the parts of the selected usages between the edges, as a table.

    Columns: `place`; the part's `amount`, in the unit of the type; `estimated_amount`, the same if it is estimated;
    `part_start` and `part_end` of an interval; `usage_count`, which is 1, or 0 if another part in the place counts
    the split usage; and the named columns of the usage. `valuation_id` is that of the part.
    by_ownership: multiply the amounts by the shares of OWNERSHIP. instants_only: whether there are no intervals.
    """
    usage = SELECTED_USAGES.c
    names = dict.fromkeys(("usage_at", "quality", *columns))
    others = [usage[name] for name in names if name in usage and name != "valuation_id"]
    ends = [name for name in names if name not in usage]
    is_instant, is_interval = within(edges.first, edges.last)
    amount: Any = usage.amount_in_type_unit
    whole_source: Any = SELECTED_USAGES.join(edges.table, sa.true())
    if by_ownership:
        is_owned_then = (OWNERSHIP.c.starts_at <= usage.usage_at) & (OWNERSHIP.c.ends_at > usage.usage_at)
        whole_source = whole_source.outerjoin(OWNERSHIP, _is_of_site(usage) & is_owned_then)
        amount = amount * sa.func.coalesce(OWNERSHIP.c.share, 1)
    whole = (
        sa.select(edges.place_of(usage.usage_at).label("place"), amount.label("amount"))
        .add_columns(usage.valuation_id, sa.literal(1).label("usage_count"), *others)
        .add_columns(*(sa.cast(None, TIMESTAMPTZ).label(name) for name in ends))
        .select_from(whole_source)
        .where(is_instant)
    )
    if instants_only:
        return _with_estimates(whole.subquery("parts_of_usages"))
    places = edges.places_of(usage.usage_at, usage.usage_until)
    instants, place = edges.table.c.instants, places.c.place
    start, end = instants[place], instants[place + 1]
    split = usage_parts(usage, usage.valuation_id, split_id(usage), start, end, "split")
    part_source: Any = SELECTED_USAGES.join(edges.table, sa.true()).join(places, sa.true()).join(split, sa.true())
    is_first, amount = split.c.is_first, split.c.part_amount
    if by_ownership:
        owned = OWNERSHIP.c
        is_owned_then = (owned.starts_at < split.c.part_end) & (owned.ends_at > split.c.part_start)
        part_source = part_source.outerjoin(OWNERSHIP, _is_of_site(usage) & is_owned_then)
        owned_from = sa.func.greatest(split.c.part_start, owned.starts_at)
        owned_until = sa.func.least(split.c.part_end, owned.ends_at)
        within_span = prorated_amount(
            usage.amount_in_type_unit, usage.usage_at, usage.usage_until, owned_from, owned_until
        )
        amount = sa.case((owned.share.is_(None), amount), else_=within_span * owned.share)
        is_first = is_first & sa.func.coalesce(owned.starts_at <= split.c.part_start, sa.true())
    part = (
        sa.select(place, amount.label("amount"), split.c.part_valuation_id.label("valuation_id"))
        .add_columns(sa.cast(is_first, sa.Integer).label("usage_count"), *others, *(split.c[name] for name in ends))
        .select_from(part_source)
        # Two edges are equal around a day that has no counterpart a year before.
        .where(is_interval, start < end)
        .subquery("pieces")
    )
    return _with_estimates(whole.union_all(sa.select(part)).subquery("parts_of_usages"))


def _with_estimates(parts: Any) -> Any:
    estimated = sa.case((parts.c.quality == "estimated", parts.c.amount))
    return sa.select(parts, estimated.label("estimated_amount")).subquery("parts")


def _is_of_site(usage: Any) -> sa.ColumnElement[bool]:
    owned = OWNERSHIP.c
    return (owned.organization_id == usage.organization_id) & (owned.site_id == usage.site_id)  # type: ignore[no-any-return]

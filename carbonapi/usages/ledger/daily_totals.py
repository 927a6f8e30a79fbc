"""The days of the ledger: what the usages of a local day add up to, kept by the statements that write usages.

Sums are added to and subtracted from, so that writers of one day need not know of each other. Hours in which there is a
usage cannot be subtracted: where one leaves a day, the day is marked, and `look_hours_up` looks the others up before
the commit. Rows are written in the order of their keys, so that of two writers one waits for the other.

In which time zone the days are is the organization's. When that is changed, all its days are counted anew: whoever
writes meanwhile waits, and finds the time zone that they have counted in gone (a foreign key tells, for every writer of
a row says which it was), so nothing of theirs is stored.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, insert

from ...accounts.models import Organization
from ...db import db, timeouts
from ...local_time.clock import MICROSECOND, MOMENT, SHOWN, day_of, day_start, local_clock
from ...local_time.hours import hour_bit, interval_hour_bits
from ...local_time.proration import prorated_amount
from ..models import DailyTotal, Usage

ZERO = sa.literal_column("0", sa.Integer)
SUMS = ("usage_count", "carried_count", "amount", "co2e_kg", "estimated_kg")
MASKS = ("reading_hours", "period_hours")
# What of a usage the days are made of.
COUNTED = (
    Usage.organization_id, Usage.usage_type_id, Usage.usage_at, Usage.usage_until, Usage.amount_in_type_unit,
    Usage.co2e_kg, Usage.factor, Usage.method, Usage.quality, Usage.restatement_id, Usage.adjusts_closed_period_id,
)  # fmt: skip
# A correction of these takes a usage out of what it was counted in.
MOVES = {"usage_type_id", "usage_at", "usage_until", "method", "restatement_id", "adjusts_closed_period_id"}


def added(usages: Any) -> sa.Select[Any]:
    """These usages, as those that begin to count. usages: a table that has the columns COUNTED."""
    return _counting(usages, 1, is_moved=False)


def removed(usages: Any, *, is_moved: bool = True) -> sa.Select[Any]:
    """These usages, as those that count no more. is_moved: whether the hours they were in may be empty now."""
    return _counting(usages, -1, is_moved=is_moved)


def update_totals_cte(*changes: sa.Select[Any]) -> sa.CTE:
    """What writes the days anew, to stand before a statement. changes: of `come` and `go`."""
    daily = _daily(sa.union_all(*changes).cte("changes")).subquery("told")
    key = [daily.c[name] for name in DailyTotal.KEY]
    told = {
        "timezone": sa.func.min(daily.c.timezone),
        **{name: sa.func.sum(daily.c[name]) for name in SUMS},
        **{name: sa.func.bit_or(daily.c[name]) for name in MASKS},
        "hours_stale": sa.func.bool_or(daily.c.hours_stale),
    }
    return _writing(sa.select(*key, *told.values()).group_by(*key).order_by(*key))


def update_totals_for_reading_cte(usage: Any) -> sa.CTE:
    """As `counting`, of a single usage at an instant, which comes: it is of one day, so there is nothing to add up.

    PostgreSQL takes longer to plan the sums than to make them.
    """
    return _writing(_of_readings(_local(added(usage).subquery("changes"))))


def _writing(rows: sa.Select[Any]) -> sa.CTE:
    """What adds these rows, as of `_rows`, to those that are there."""
    writing = insert(DailyTotal).from_select([*DailyTotal.KEY, "timezone", *SUMS, *MASKS, "hours_stale"], rows)
    table, new = DailyTotal.__table__.c, writing.excluded
    return writing.on_conflict_do_update(
        index_elements=DailyTotal.KEY,
        set_={"timezone": new.timezone}
        | {name: table[name] + new[name] for name in SUMS}
        | {name: table[name].op("|")(new[name]) for name in MASKS}
        | {"hours_stale": table.hours_stale | new.hours_stale},
    ).cte("days")


def refresh_hours(organization_ids: Iterable[int]) -> None:
    """Look the hours of the days up that usages of these organizations have left in this transaction."""
    for organization_id in sorted(set(organization_ids)):
        _look_hours_up(organization_id)


def _look_hours_up(organization_id: int) -> None:
    key = [getattr(DailyTotal, name) for name in DailyTotal.KEY]
    begin, end = (day_start(DailyTotal.timezone, day) for day in (DailyTotal.day, DailyTotal.day + 1))
    doubtful = (
        sa.select(*key, DailyTotal.timezone, begin.label("begin"), end.label("end"))
        .where(DailyTotal.organization_id == organization_id, DailyTotal.hours_stale)
        .cte("doubtful")
    )
    of_day = (
        Usage.organization_id == organization_id,
        Usage.usage_type_id == doubtful.c.usage_type_id,
        Usage.method == doubtful.c.method,
        sa.func.coalesce(Usage.restatement_id, 0) == doubtful.c.restatement_id,
        Usage.usage_at < doubtful.c.end,
        Usage.adjusts_closed_period_id.is_(None),
    )
    shown, last_shown = (
        local_clock(doubtful.c.timezone, moment) for moment in (Usage.usage_at, Usage.usage_until - MICROSECOND)
    )
    found = sa.union_all(
        sa.select(doubtful, hour_bit(shown).label("reading_hours"), ZERO.label("period_hours"))
        .where(*of_day, Usage.usage_at >= doubtful.c.begin, Usage.usage_until.is_(None)),
        sa.select(doubtful, ZERO, interval_hour_bits(shown, last_shown, doubtful.c.day))
        .where(*of_day, Usage.usage_until > doubtful.c.begin),
        sa.select(doubtful, ZERO, ZERO),
    ).subquery("found")  # fmt: skip
    key = [found.c[name] for name in DailyTotal.KEY]
    masks = {name: sa.func.bit_or(found.c[name]).label(name) for name in MASKS}
    anew = sa.select(*key, *masks.values()).group_by(*key).subquery("anew")
    db.session.execute(
        sa.update(DailyTotal)
        .where(*(getattr(DailyTotal, name) == anew.c[name] for name in DailyTotal.KEY))
        .values({name: anew.c[name] for name in MASKS} | {"hours_stale": False}),
        execution_options={"synchronize_session": False},
    )


class RebuildResult(NamedTuple):
    """How many days an organization has, and how many were not what its ledger adds up to before."""

    day_count: int
    corrected_count: int


def rebuild_daily_totals(organization_id: int) -> RebuildResult:
    """Count all days of an organization anew. Its writers wait meanwhile."""
    connection = db.session.connection()
    before = _by_key(_forget(connection, organization_id))
    _count(connection, organization_id)
    after = _by_key(connection.execute(sa.select(DailyTotal).where(DailyTotal.organization_id == organization_id)))
    return RebuildResult(len(after), sum(before.get(key) != after.get(key) for key in before.keys() | after.keys()))


def _by_key(days: sa.CursorResult[Any]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The figures of these days by their keys, but for days of which nothing is left."""
    figures = (*SUMS, *MASKS, "hours_stale")
    told = {
        tuple(day[name] for name in DailyTotal.KEY): tuple(day[name] for name in figures) for day in days.mappings()
    }
    return {key: found for key, found in told.items() if any(found)}


@contextlib.contextmanager
def rebuilding_daily_totals(organization_id: int) -> Iterator[None]:
    """Delete the daily totals of an organization before the block, which sets its time zone, and rebuild them after it.

    A foreign key ties each total to the time zone it was computed in, so none may exist while the zone changes.
    """
    connection = db.session.connection()
    _forget(connection, organization_id)
    yield
    _count(connection, organization_id)


def _forget(connection: sa.Connection, organization_id: int) -> sa.CursorResult[Any]:
    """Delete the days of an organization, and give what they were."""
    connection.execute(sa.text(timeouts(minutes=30)))
    # Locked before they are deleted: whoever makes a row meanwhile holds the organization, too.
    connection.execute(sa.select(Organization.id).where(Organization.id == organization_id).with_for_update())
    return connection.execute(
        sa.delete(DailyTotal).where(DailyTotal.organization_id == organization_id).returning(*DailyTotal.__table__.c)
    )


def _count(connection: sa.Connection, organization_id: int) -> None:
    mine = sa.select(*COUNTED).where(Usage.organization_id == organization_id).subquery("mine")
    connection.execute(sa.select(1).add_cte(update_totals_cte(added(mine))))


def _counting(usages: Any, sign: int, *, is_moved: bool) -> sa.Select[Any]:
    told = [sa.literal_column(str(sign), sa.Integer).label("sign"), sa.literal(is_moved).label("is_moved")]
    return sa.select(*(usages.c[column.key] for column in COUNTED), *told)


def _daily(changes: Any) -> Any:
    """What each change makes of each day it touches, as rows of UsageDay to be added up."""
    local = _local(changes)
    return sa.union_all(_of_readings(local), _of_periods(local))


def _local(changes: Any) -> Any:
    """The changes, with the time zone of their organizations and what its clock shows then."""
    return (
        sa.select(changes, Organization.timezone, local_clock(Organization.timezone, changes.c.usage_at).label("shown"))
        .join(Organization, Organization.id == changes.c.organization_id)
        .subquery(f"local_{changes.name}")
    )


def _of_readings(local: Any) -> sa.Select[Any]:
    c = local.c
    hours = {"reading_hours": hour_bit(c.shown)}
    return _rows(local, day_of(c.shown), c.amount_in_type_unit, c.co2e_kg, sa.true(), hours).where(
        c.usage_until.is_(None)
    )


def _of_periods(local: Any) -> sa.Select[Any]:
    a_day = sa.text("INTERVAL '1 day'")
    last_shown = local_clock(local.c.timezone, local.c.usage_until - MICROSECOND)
    periods = (
        sa.select(local, last_shown.label("last_shown")).where(local.c.usage_until.is_not(None)).cte("periods_counted")
    )
    c = periods.c
    reach = (
        sa.select(
            c.timezone, sa.func.min(day_of(c.shown)).label("first"), sa.func.max(day_of(c.last_shown)).label("last")
        )
        .group_by(c.timezone)
        .subquery("reach")
    )
    day = day_of(sa.func.generate_series(sa.cast(reach.c.first, SHOWN), sa.cast(reach.c.last + 1, SHOWN), a_day))
    midnights = sa.select(reach.c.timezone, reach.c.first, day.label("day")).subquery("midnights")
    begins = sa.func.array_agg(
        aggregate_order_by(day_start(midnights.c.timezone, midnights.c.day), midnights.c.day), type_=ARRAY(MOMENT)
    )
    # Each day's edges are looked up once, not once for each period; and stand in order, so that none is searched for.
    edges = (
        sa.select(midnights.c.timezone, midnights.c.first, begins.label("begins"))
        .group_by(midnights.c.timezone, midnights.c.first)
        .cte("edges")
    )
    touched: Any = sa.func.generate_series(day_of(c.shown) - edges.c.first, day_of(c.last_shown) - edges.c.first)
    touched = touched.table_valued("place").lateral("touched").render_derived()
    begin, end = edges.c.begins[touched.c.place + 1], edges.c.begins[touched.c.place + 2]
    amount = prorated_amount(c.amount_in_type_unit, c.usage_at, c.usage_until, begin, end)
    spread = (
        sa.select(
            periods,
            (edges.c.first + touched.c.place).label("day"),
            begin.label("begin"),
            end.label("end"),
            amount.label("part"),
        )
        .select_from(periods.join(edges, edges.c.timezone == c.timezone).join(touched, sa.true()))
        # Some zones have skipped a day, which then has no time in it.
        .where(begin < end)
        .subquery("spread")
    )
    c = spread.c
    hours = {"period_hours": interval_hour_bits(c.shown, c.last_shown, c.day)}
    return _rows(spread, c.day, c.part, c.part * c.factor, c.usage_at >= c.begin, hours)


def _rows(usages: Any, day: Any, amount: Any, co2e_kg: Any, is_first: Any, hours: dict[str, Any]) -> sa.Select[Any]:
    c = usages.c
    has_data = (c.sign > 0) & c.adjusts_closed_period_id.is_(None)
    return sa.select(
        c.organization_id,
        c.usage_type_id,
        day.label("day"),
        c.method,
        sa.func.coalesce(c.restatement_id, 0).label("restatement_id"),
        c.timezone,
        sa.case((is_first, c.sign), else_=ZERO).label("usage_count"),
        sa.case((is_first, ZERO), else_=c.sign).label("carried_count"),
        (c.sign * amount).label("amount"),
        (c.sign * co2e_kg).label("co2e_kg"),
        sa.case((c.quality == "estimated", c.sign * co2e_kg), else_=ZERO).label("estimated_kg"),
        *(sa.case((has_data, hours[name]), else_=ZERO).label(name) if name in hours else ZERO.label(name)
          for name in MASKS),
        (c.is_moved & c.adjusts_closed_period_id.is_(None)).label("hours_stale"),
    )  # fmt: skip

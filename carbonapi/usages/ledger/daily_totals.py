"""Daily totals: the sums of the usages of each local day, updated by the statements that write usages.

Writers add to the sums and subtract from them, so that two writers of the same day do not conflict. The hours that have
data cannot be subtracted: where a usage leaves a day, the hours of the day are marked stale, and `refresh_hours` reads
them again before the commit. Rows are written in the order of their keys, so that two writers never deadlock.

The days are those of the organization's time zone. When the time zone changes, all its daily totals are rebuilt. A
writer at the same time waits for the rebuild, and then fails: each row names the time zone of its day, and a foreign
key requires that it is the organization's.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ...accounts.models import Organization
from ...catalogue.usage_valuations import forget_splits
from ...catalogue.valuations import ValuationSegment
from ...db import db, timeouts
from ...local_time.clock import MICROSECOND, day_start, hour_bit, interval_hours, local_clock
from ...local_time.proration import usage_by_day
from ..models import DailyTotal, Usage, split_id

ZERO = sa.literal_column("0", sa.Integer)
SUMS = ("usage_count", "carried_count", "amount", "estimated_amount")
HOURS = ("reading_hours", "period_hours")
# The columns of a usage that its daily totals depend on.
SOURCE_COLUMNS = (
    Usage.organization_id, Usage.usage_type_id, Usage.usage_at, Usage.usage_until, Usage.amount_in_type_unit,
    Usage.valuation_id, Usage.split_co2e_kg, Usage.quality, Usage.restatement_id, Usage.adjusts_closed_period_id,
)  # fmt: skip
# A correction of one of these moves a usage to other daily totals, or changes the hours that have data.
KEY_COLUMNS = {
    "usage_type_id", "usage_at", "usage_until", "valuation_id", "restatement_id", "adjusts_closed_period_id",
}  # fmt: skip


def added(usages: Any) -> sa.Select[Any]:
    """Return the changes that add these usages. usages: a table with SOURCE_COLUMNS."""
    return _changes(usages, 1, moves=False)


def removed(usages: Any, *, moves: bool = True) -> sa.Select[Any]:
    """Return the changes that subtract these usages. moves: whether their hours may have no data afterwards."""
    return _changes(usages, -1, moves=moves)


def update_totals_cte(*changes: sa.Select[Any]) -> sa.CTE:
    """Return a CTE that applies the changes of `added` and `removed` to the daily totals."""
    days = _by_day(sa.union_all(*changes).cte("changes")).subquery("days")
    key = [days.c[name] for name in DailyTotal.KEY]
    rows = sa.select(
        *key,
        sa.func.min(days.c.timezone),
        *(sa.func.sum(days.c[name]) for name in SUMS),
        *(sa.func.bit_or(days.c[name]) for name in HOURS),
        sa.func.bool_or(days.c.hours_stale),
    )
    return _upsert(rows.group_by(*key).order_by(*key))


def update_totals_of_one_cte(usage: Any) -> sa.CTE:
    """Return a CTE that adds a single usage to the daily totals.

    No two of its rows are of the same day, so it needs no sums. PostgreSQL takes longer to plan sums than to add up.
    """
    return _upsert(_by_day(added(usage).subquery("changes")))


def _changes(usages: Any, sign: int, *, moves: bool) -> sa.Select[Any]:
    return sa.select(
        *(usages.c[column.key] for column in SOURCE_COLUMNS),
        sa.literal_column(str(sign), sa.Integer).label("sign"),
        sa.literal(moves).label("moves"),
    )


def _by_day(changes: Any) -> sa.Select[Any]:
    """Return rows to add to the daily totals: one for each change and each day that it touches, days in order."""
    change = changes.c
    usage_day = usage_by_day(
        Organization.timezone, change.usage_at, change.usage_until, change.amount_in_type_unit,
        change.organization_id, change.valuation_id, split_id(change),
    )  # fmt: skip
    day = usage_day.c
    has_data = (change.sign > 0) & change.adjusts_closed_period_id.is_(None)
    amount = change.sign * day.day_amount
    return (
        sa.select(
            change.organization_id,
            change.usage_type_id,
            day.day,
            day.day_valuation_id.label("valuation_id"),
            sa.func.coalesce(change.restatement_id, ZERO).label("restatement_id"),
            Organization.timezone,
            (change.sign * day.usage_count).label("usage_count"),
            (change.sign * day.carried_count).label("carried_count"),
            amount.label("amount"),
            sa.case((change.quality == "estimated", amount), else_=ZERO).label("estimated_amount"),
            *(sa.case((has_data, day[name]), else_=ZERO).label(name) for name in HOURS),
            (change.moves & change.adjusts_closed_period_id.is_(None)).label("hours_stale"),
        )
        .join_from(changes, Organization, Organization.id == change.organization_id)
        .join(usage_day, sa.true())
    )


def _upsert(rows: sa.Select[Any]) -> sa.CTE:
    """Return a CTE that adds the rows to the daily totals."""
    upsert = insert(DailyTotal).from_select([*DailyTotal.KEY, "timezone", *SUMS, *HOURS, "hours_stale"], rows)
    stored, new = DailyTotal.__table__.c, upsert.excluded
    return upsert.on_conflict_do_update(
        index_elements=DailyTotal.KEY,
        set_={"timezone": new.timezone}
        | {name: stored[name] + new[name] for name in SUMS}
        | {name: stored[name].op("|")(new[name]) for name in HOURS}
        | {"hours_stale": stored.hours_stale | new.hours_stale},
    ).cte("updated_totals")


def refresh_hours(organization_id: int) -> None:
    """Read the stale hours of an organization again, which usages have left in this transaction."""
    key = [getattr(DailyTotal, name) for name in DailyTotal.KEY]
    start, end = (day_start(DailyTotal.timezone, day) for day in (DailyTotal.day, DailyTotal.day + 1))
    stale = (
        sa.select(*key, DailyTotal.timezone, start.label("day_start"), end.label("day_end"))
        .where(DailyTotal.organization_id == organization_id, DailyTotal.hours_stale)
        .cte("stale")
    )
    segment = ValuationSegment.__table__.c
    has_segment = sa.exists().where(
        segment.organization_id == organization_id,
        segment.valuation_id == Usage.valuation_id,
        segment.segment_id == stale.c.valuation_id,
        segment.starts_at < stale.c.day_end,
        segment.ends_at.is_(None) | (segment.ends_at > sa.func.greatest(stale.c.day_start, Usage.usage_at)),
        segment.starts_at < Usage.usage_until,
    )
    has_valuation = sa.case(
        (Usage.split_co2e_kg.is_(None), Usage.valuation_id == stale.c.valuation_id), else_=has_segment
    )
    of_day = (
        Usage.organization_id == organization_id,
        Usage.usage_type_id == stale.c.usage_type_id,
        sa.func.coalesce(Usage.restatement_id, 0) == stale.c.restatement_id,
        Usage.usage_at < stale.c.day_end,
        Usage.adjusts_closed_period_id.is_(None),
    )
    first_time, last_time = (
        local_clock(stale.c.timezone, instant) for instant in (Usage.usage_at, Usage.usage_until - MICROSECOND)
    )
    found = sa.union_all(
        sa.select(stale, hour_bit(first_time).label("reading_hours"), ZERO.label("period_hours"))
        .where(*of_day, Usage.valuation_id == stale.c.valuation_id, Usage.usage_at >= stale.c.day_start,
               Usage.usage_until.is_(None)),
        sa.select(stale, ZERO, interval_hours(first_time, last_time, stale.c.day))
        .where(*of_day, has_valuation, Usage.usage_until > stale.c.day_start),
        sa.select(stale, ZERO, ZERO),
    ).subquery("found")  # fmt: skip
    key = [found.c[name] for name in DailyTotal.KEY]
    hours = {name: sa.func.bit_or(found.c[name]).label(name) for name in HOURS}
    refreshed = sa.select(*key, *hours.values()).group_by(*key).subquery("refreshed")
    db.session.execute(
        sa.update(DailyTotal)
        .where(*(getattr(DailyTotal, name) == refreshed.c[name] for name in DailyTotal.KEY))
        .values({name: refreshed.c[name] for name in HOURS} | {"hours_stale": False}),
        execution_options={"synchronize_session": False},
    )


class RebuildResult(NamedTuple):
    """The number of daily totals of an organization, and the number of those that the rebuild has changed."""

    day_count: int
    corrected_count: int


def rebuild_daily_totals(organization_id: int) -> RebuildResult:
    """Delete the daily totals of an organization and compute them again from its usages. Its writers wait."""
    connection = db.session.connection()
    before = _by_key(_delete_totals(connection, organization_id))
    _insert_totals(connection, organization_id)
    after = _by_key(connection.execute(sa.select(DailyTotal).where(DailyTotal.organization_id == organization_id)))
    return RebuildResult(len(after), sum(before.get(key) != after.get(key) for key in before.keys() | after.keys()))


def _by_key(totals: sa.CursorResult[Any]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return the figures of daily totals by their keys, without totals that are zero."""
    names = (*SUMS, *HOURS, "hours_stale")
    by_key = {
        tuple(total[name] for name in DailyTotal.KEY): tuple(total[name] for name in names)
        for total in totals.mappings()
    }
    return {key: figures for key, figures in by_key.items() if any(figures)}


@contextlib.contextmanager
def rebuilding_daily_totals(organization_id: int) -> Iterator[None]:
    """Delete the daily totals of an organization before the block, which sets its time zone, and rebuild them after it.

    A foreign key ties each total to the time zone of its day, so none may exist while the time zone changes.
    """
    connection = db.session.connection()
    _delete_totals(connection, organization_id)
    forget_splits(organization_id)
    yield
    _insert_totals(connection, organization_id)


def _delete_totals(connection: sa.Connection, organization_id: int) -> sa.CursorResult[Any]:
    """Delete the daily totals of an organization, and return them."""
    connection.execute(sa.text(timeouts(minutes=30)))
    # A writer locks the organization by the foreign key of its daily totals: lock it first, so that none is inserted.
    connection.execute(sa.select(Organization.id).where(Organization.id == organization_id).with_for_update())
    return connection.execute(
        sa.delete(DailyTotal).where(DailyTotal.organization_id == organization_id).returning(*DailyTotal.__table__.c)
    )


def _insert_totals(connection: sa.Connection, organization_id: int) -> None:
    usages = sa.select(*SOURCE_COLUMNS).where(Usage.organization_id == organization_id).subquery("usages_to_add")
    connection.execute(sa.select(1).add_cte(update_totals_cte(added(usages))))

"""The statements that all writes of the ledger share: insert usages, and archive their versions."""

import datetime as dt
from typing import Any

import sqlalchemy as sa

from ...accounts.models import Organization, User
from ...auth import current_actor
from ...catalogue.models import UsageType
from ...catalogue.valuations import FACTORS_OF_USAGE
from ...db import Viewer
from ...periods.service import is_open
from ..candidates import COLUMNS, valuation_lateral
from ..models import Usage, UsageVersion, ledger_columns

VALUATION_DEPENDS_ON = {"usage_type_id", "usage_at", "usage_until", "region"}
SPLIT = ("split_co2e_kg", "split_market_co2e_kg")
# The clocks of two machines may differ, but each version must end after it begins.
MIN_VERSION_AGE = dt.timedelta(microseconds=1)
# An audit entry has columns of its own for whose usage it is, when it was written, by whom and why.
AUDITED_COLUMNS = [
    column
    for column in ledger_columns(Usage)
    if column.name not in {"organization_id", "id", "version", "recorded_at", "recorded_by", "reason"}
]


def insert_usages(
    candidates: Any,
    actor: Viewer,
    *user_criteria: sa.ColumnElement[bool],
    now: dt.datetime | None = None,
    import_id: int | None = None,
    all_or_none: bool = False,
) -> sa.Insert:
    """Return the statement that inserts candidates, except those that cannot be recorded.

    candidates: a table with the columns COLUMNS and `place`. now: the time of recording, by default one that the
    statement takes. The ids of `actor`: values, or parameters of a statement that is compiled once.
    all_or_none: whether to insert none if one cannot be recorded. The rows are inserted in the order of their places.
    """
    valuation = valuation_lateral(candidates)
    is_user = sa.and_(User.id == candidates.c.user_id, *User.visible_to(actor), *user_criteria)
    users = sa.join(candidates, User, is_user)
    recorded_at: sa.ColumnElement[Any] = sa.cast(now, sa.DateTime(timezone=True))
    is_time_open = is_open(User.organization_id, candidates.c.usage_at)
    if now is None:
        recorded_at = sa.func.recording_time_if_open(User.organization_id, candidates.c.usage_at).column_valued(
            "recorded_at"
        )
        is_time_open = recorded_at.is_not(None)
    if all_or_none:
        times = _recording_times(users, candidates.c.usage_at)
        users = users.join(times, times.c.organization_id == User.organization_id)
        recorded_at, is_time_open = times.c.recorded_at, times.c.recorded_at.is_not(None)
    defaults = {
        "unit": sa.func.coalesce(candidates.c.unit, UsageType.unit),
        "amount_in_type_unit": sa.func.coalesce(candidates.c.amount_in_type_unit, candidates.c.amount),
    }
    difference = split_difference(
        Organization.id, valuation.c.split_id, defaults["amount_in_type_unit"], candidates.c.usage_at,
        candidates.c.usage_until,
    )  # fmt: skip
    columns = {
        "organization_id": User.organization_id,
        **{name: candidates.c[name] for name in COLUMNS},
        **defaults,
        "valuation_id": valuation.c.id,
        **{name: valuation.c[name] for name in FACTORS_OF_USAGE},
        **{name: difference.c[name] for name in SPLIT},
        "import_id": sa.literal(import_id, sa.BigInteger),
        "recorded_at": recorded_at,
        "recorded_by": sa.cast(actor.id, sa.BigInteger),
        "version": sa.literal(1),
    }
    rows = (
        sa.select(*(column.label(name) for name, column in columns.items()))
        .select_from(users)
        .join(Organization, Organization.id == User.organization_id)
        .join(UsageType, (UsageType.id == candidates.c.usage_type_id) & ~UsageType.archived)
        .join(valuation, sa.true())
        .join(difference, sa.true())
        .where(is_time_open)
    )
    if all_or_none:
        ready = rows.add_columns(candidates.c.place).cte("ready")
        counts = [sa.select(sa.func.count()).select_from(table).scalar_subquery() for table in (ready, candidates)]
        rows = sa.select(*(ready.c[name] for name in columns)).where(counts[0] == counts[1]).order_by(ready.c.place)
    else:
        rows = rows.order_by(candidates.c.place)
    return sa.insert(Usage).from_select(list(columns), rows)


def _recording_times(users: Any, usage_at: Any) -> Any:
    """Return a table with the `recorded_at` of each organization of candidates; null if the time of one is closed."""
    taken = sa.func.recording_time_if_open(User.organization_id, sa.func.min(usage_at)).label("recorded_at")
    times = sa.select(User.organization_id, taken).select_from(users).group_by(User.organization_id)
    # PostgreSQL must call the function once for each organization, not for each candidate.
    return times.cte("times").prefix_with("MATERIALIZED")


def split_difference(organization_id: Any, split_id: Any, amount: Any, usage_at: Any, usage_until: Any) -> Any:
    """Return a lateral table of one row with the columns SPLIT of a usage. split_id: its valuation if that is split."""
    found = sa.func.split_difference(organization_id, split_id, amount, usage_at, usage_until)
    return found.table_valued(*(sa.column(name, sa.Numeric) for name in SPLIT)).lateral("difference")


def archive_versions(
    now: dt.datetime, reason: str | None, *criteria: sa.ColumnElement[bool], deleted: bool
) -> sa.Insert:
    """Return the statement that copies the current versions of usages to the history, superseded now."""
    columns = [column for column in ledger_columns(Usage) if column.computed is None]
    superseded = {
        "superseded_at": sa.func.greatest(now, Usage.recorded_at + MIN_VERSION_AGE),
        "superseded_by": sa.literal(current_actor().id, sa.BigInteger),
        "superseded_reason": sa.cast(reason, sa.Text),
        "deleted": sa.literal(deleted),
    }
    targets = [*(column.name for column in columns), *superseded]
    return sa.insert(UsageVersion).from_select(targets, sa.select(*columns, *superseded.values()).where(*criteria))

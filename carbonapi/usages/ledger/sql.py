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


def insert_usages(
    candidates: Any,
    actor: Viewer,
    *user_criteria: sa.ColumnElement[bool],
    now: dt.datetime | None = None,
    import_id: int | None = None,
) -> sa.Insert:
    """Return the statement that inserts candidates, except those that cannot be recorded.

    candidates: a table with the columns COLUMNS and `place`. now: the time of recording, by default one that the
    statement takes. The ids of `actor`: values, or parameters of a statement that is compiled once.
    """
    valuation = valuation_lateral(candidates)
    recorded_at: sa.ColumnElement[Any] = sa.cast(now, sa.DateTime(timezone=True))
    is_time_open = is_open(User.organization_id, candidates.c.usage_at)
    if now is None:
        taken = sa.func.recording_time_if_open(User.organization_id, candidates.c.usage_at)
        recorded_at = taken.column_valued("recorded_at")
        is_time_open = recorded_at.is_not(None)
    defaults = {
        "unit": sa.func.coalesce(candidates.c.unit, UsageType.unit),
        "amount_in_type_unit": sa.func.coalesce(candidates.c.amount_in_type_unit, candidates.c.amount),
    }
    difference = split_difference(
        Organization.id, valuation.c.split_id, defaults["amount_in_type_unit"], candidates.c.usage_at,
        candidates.c.usage_until,
    )  # fmt: skip
    rows = (
        sa.select(
            User.organization_id,
            *(defaults.get(name, candidates.c[name]) for name in COLUMNS),
            valuation.c.id,
            *(valuation.c[name] for name in FACTORS_OF_USAGE),
            *(difference.c[name] for name in SPLIT),
            sa.literal(import_id, sa.BigInteger),
            recorded_at,
            sa.cast(actor.id, sa.BigInteger),
            sa.literal(1),
        )
        .select_from(candidates)
        .join(User, sa.and_(User.id == candidates.c.user_id, *User.visible_to(actor), *user_criteria))
        .join(Organization, Organization.id == User.organization_id)
        .join(UsageType, (UsageType.id == candidates.c.usage_type_id) & ~UsageType.archived)
        .join(valuation, sa.true())
        .join(difference, sa.true())
        .where(is_time_open)
        .order_by(candidates.c.place)
    )
    derived = ("valuation_id", *FACTORS_OF_USAGE, *SPLIT, "import_id", "recorded_at", "recorded_by", "version")
    return sa.insert(Usage).from_select(["organization_id", *COLUMNS, *derived], rows)


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

"""What the writes of the ledger are made of: the statement that records, and the one that keeps what was believed."""

import datetime as dt
from typing import Any

import sqlalchemy as sa

from ...accounts.models import Organization, User
from ...auth import current_actor
from ...catalogue.models import UsageType
from ...db import Viewer
from ...periods.service import is_open
from ..candidates import COLUMNS, factor_lateral
from ..models import Usage, UsageVersion, ledger_columns

FACTOR_DEPENDS_ON = {"usage_type_id", "usage_at", "region", "method"}
MIN_VERSION_AGE = dt.timedelta(microseconds=1)


def insert_usages(
    given: Any,
    now: Any,
    by: Viewer,
    *whose: sa.ColumnElement[bool],
    import_id: int | None = None,
) -> sa.Insert:
    """The statement that records these usages, but for those to which something is lacking.

    now, and the ids of `by`: values, or parameters of a statement that is kept.
    """
    factor = factor_lateral(given)
    filled = {
        "unit": sa.func.coalesce(given.c.unit, UsageType.unit),
        "amount_in_type_unit": sa.func.coalesce(given.c.amount_in_type_unit, given.c.amount),
    }
    source = (
        sa.select(
            User.organization_id,
            *(filled.get(name, given.c[name]) for name in COLUMNS),
            factor.c.id,
            factor.c.factor,
            sa.literal(import_id, sa.BigInteger),
            sa.cast(now, sa.DateTime(timezone=True)),
            sa.cast(by.id, sa.BigInteger),
            sa.literal(1),
        )
        .select_from(given)
        .join(User, sa.and_(User.id == given.c.user_id, *User.visible_to(by), *whose))
        .join(Organization, Organization.id == User.organization_id)
        .join(UsageType, (UsageType.id == given.c.usage_type_id) & ~UsageType.archived)
        .join(factor, sa.true())
        .where(is_open(User.organization_id, given.c.usage_at))
        .order_by(given.c.place)
    )
    booked = ["emission_factor_id", "factor", "import_id", "recorded_at", "recorded_by", "version"]
    targets = ["organization_id", *COLUMNS, *booked]
    return sa.insert(Usage).from_select(targets, source)


def archive_versions(
    now: dt.datetime, reason: str | None, *criteria: sa.ColumnElement[bool], deleted: bool
) -> sa.Insert:
    """The statement that keeps what is believed now as versions that end now."""
    columns = [column for column in ledger_columns(Usage) if column.computed is None]
    ended = {
        "superseded_at": sa.func.greatest(now, Usage.recorded_at + MIN_VERSION_AGE),
        "superseded_by": sa.literal(current_actor().id, sa.BigInteger),
        "superseded_reason": sa.cast(reason, sa.Text),
        "deleted": sa.literal(deleted),
    }
    targets = [*(column.name for column in columns), *ended]
    return sa.insert(UsageVersion).from_select(targets, sa.select(*columns, *ended.values()).where(*criteria))

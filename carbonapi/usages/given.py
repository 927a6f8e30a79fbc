"""Usages as they are given: as a table of the statement that records them, and why some of them cannot be."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..access import seen_by_actor
from ..accounts.models import Organization, User
from ..catalogue.choice import Want, no_factor
from ..catalogue.models import UsageType
from ..db import db
from ..errors import CarbonError
from .closing import closed_over, is_open, refusal
from .models import Usage
from .refusals import archived, no_usage_type, no_user

# What a usage consists of as it is recorded; the rest follows from these.
COLUMNS = {
    column.key: column.type
    for column in (
        Usage.user_id,
        Usage.usage_type_id,
        Usage.usage_at,
        Usage.usage_until,
        Usage.amount,
        Usage.unit,
        Usage.amount_in_type_unit,
        Usage.region,
        Usage.method,
        Usage.quality,
        Usage.note,
        Usage.external_id,
        Usage.adjusts_period_id,
    )
}


def as_rows(usages: Sequence[dict[str, Any]]) -> Any:
    """The usages as a table of the statement: columns as in COLUMNS, and `place` from 1."""
    arrays = [sa.cast([usage.get(name) for usage in usages], ARRAY(type_)) for name, type_ in COLUMNS.items()]
    columns = [sa.column(name, type_) for name, type_ in COLUMNS.items()]
    return sa.func.unnest(*arrays).table_valued(*columns, with_ordinality="place").render_derived(name="given")


def region_of(given: Any) -> sa.ColumnElement[str]:
    return sa.func.coalesce(given.c.region, Organization.region)


def factor_of(given: Any) -> Any:
    """The factor of each usage given, beside it in the statement."""
    want = Want(given.c.usage_type_id, Organization.id, region_of(given), given.c.method, given.c.usage_at)
    return want.chosen().lateral("factor")


def faults_of(usages: Sequence[dict[str, Any]], *whose: sa.ColumnElement[bool]) -> dict[int, CarbonError]:
    """Why these usages were refused, by their place from 0."""
    given = as_rows(usages)
    factor = factor_of(given)
    refused = db.session.execute(
        sa.select(given.c.place, User.id, User.organization_id, UsageType, region_of(given))
        .select_from(given)
        .outerjoin(User, sa.and_(User.id == given.c.user_id, *seen_by_actor(User), *whose))
        .outerjoin(Organization, Organization.id == User.organization_id)
        .outerjoin(UsageType, UsageType.id == given.c.usage_type_id)
        .outerjoin(factor, sa.true())
        .where(
            sa.or_(
                User.id.is_(None),
                UsageType.id.is_(None),
                UsageType.archived,
                factor.c.id.is_(None),
                ~is_open(User.organization_id, given.c.usage_at),
            )
        )
        .order_by(given.c.place)
    ).all()
    faults: dict[int, CarbonError] = {}
    for place, user_id, organization_id, usage_type, region in refused:
        usage = usages[place - 1]
        if user_id is None:
            faults[place - 1] = no_user(usage["user_id"])
        elif usage_type is None:
            faults[place - 1] = no_usage_type(usage["usage_type_id"])
        elif usage_type.archived:
            faults[place - 1] = archived(usage_type)
        elif closed_over(organization_id, usage["usage_at"]):
            faults[place - 1] = refusal(organization_id, usage["usage_at"])
        else:
            want = Want(usage_type.id, organization_id, region, usage["method"], usage["usage_at"])
            faults[place - 1] = no_factor(usage_type, want)
    return faults

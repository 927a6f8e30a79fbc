"""Candidates: usages about to be recorded, as a table of the statement, and the reasons why some cannot be."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ..accounts.models import Organization, User
from ..auth import scope_criteria
from ..catalogue.factor_selection import country_of
from ..catalogue.models import UsageType
from ..catalogue.usage_valuations import choose_valuation, current_key, missing_time, valuation_of
from ..catalogue.valuations import Valuation
from ..db import db
from ..errors import CarbonError, MissingFactor, ValidationFailed
from ..periods.service import closed_error, is_open
from .models import Usage
from .validation import UNKNOWN_USER, archived_type, unknown_usage_type

# The columns that a caller sets; the others are derived.
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
        Usage.site_id,
        Usage.meter_id,
        Usage.quality,
        Usage.note,
        Usage.external_id,
        Usage.adjusts_closed_period_id,
    )
}


def candidate_row(values: dict[str, Any]) -> Any:
    """Return a usage as a table of one row, with the columns COLUMNS and `place`, which is 1."""
    columns = [sa.cast(values.get(name), type_).label(name) for name, type_ in COLUMNS.items()]
    return sa.select(sa.literal(1).label("place"), *columns).subquery("candidate")


def effective_region(candidates: Any) -> sa.ColumnElement[str]:
    """Return the region of each candidate, or that of its organization."""
    return sa.func.coalesce(candidates.c.region, Organization.region)


def valuation_lateral(candidates: Any) -> Any:
    """Return a lateral table with the current valuation of each candidate: `id`, FACTORS_OF_USAGE and `split_id`."""
    candidate = candidates.c
    return valuation_of(
        candidate.usage_type_id, effective_region(candidates), candidate.usage_at, candidate.usage_until
    )


def is_outdated() -> sa.ColumnElement[bool]:
    """Return the condition that a usage would now get other factors. It is false where none are chosen yet."""
    region = sa.func.coalesce(Usage.region, Organization.region)
    current = current_key(Usage.usage_type_id, region, Usage.usage_at, Usage.usage_until)
    now = (
        sa.select(current.c.key)
        .select_from(sa.join(Organization, current, sa.true()))
        .where(Organization.id == Usage.organization_id)
        .correlate(Usage)
        .scalar_subquery()
    )
    frozen = (Valuation.organization_id == Usage.organization_id, Valuation.id == Usage.valuation_id)
    frozen_key = sa.select(Valuation.key).where(*frozen).correlate(Usage).scalar_subquery()
    return sa.func.coalesce(now != frozen_key, sa.false())


def is_in_region(regions: Sequence[str]) -> sa.ColumnElement[bool]:
    """Return the condition that a usage is in one of these regions, by its own or its organization's."""
    of_organization = sa.select(Organization.region).where(Organization.id == Usage.organization_id).correlate(Usage)
    region = sa.func.coalesce(Usage.region, of_organization.scalar_subquery())
    return sa.or_(region.in_(regions), country_of(region).in_(regions))


def unrecordable(candidates: Any, *user_criteria: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Select the candidates that cannot be recorded, each with the rows that it refers to."""
    candidate = candidates.c
    valuation = valuation_lateral(candidates)
    is_time_open = is_open(User.organization_id, candidate.usage_at)
    return (
        sa.select(
            candidate.place,
            candidate.user_id,
            candidate.usage_type_id,
            candidate.usage_at,
            candidate.usage_until,
            missing_time(
                candidate.usage_type_id, effective_region(candidates), candidate.usage_at, candidate.usage_until
            ).label("missing_at"),
            User.id.label("known_user_id"),
            User.organization_id,
            effective_region(candidates).label("region"),
            UsageType.id.label("known_type_id"),
            UsageType.name,
            UsageType.unit,
            UsageType.archived,
            is_time_open.label("is_open"),
        )
        .select_from(candidates)
        .outerjoin(User, sa.and_(User.id == candidate.user_id, *scope_criteria(User), *user_criteria))
        .outerjoin(Organization, Organization.id == User.organization_id)
        .outerjoin(UsageType, UsageType.id == candidate.usage_type_id)
        .outerjoin(valuation, sa.true())
        .where(
            sa.or_(
                User.id.is_(None), UsageType.id.is_(None), UsageType.archived, valuation.c.id.is_(None), ~is_time_open
            )
        )
        .order_by(candidate.place)
    )


def create_missing_valuation(candidate: Any) -> CarbonError | None:
    """Create the valuation that the only candidate of a table lacks, or return the error that prevents recording it."""
    row = db.session.execute(unrecordable(candidate).limit(1)).one_or_none()
    if row is None:  # Another request has created the valuation since.
        return None
    if row.known_user_id is None:
        return ValidationFailed(UNKNOWN_USER % row.user_id, field="user_id")
    if row.known_type_id is None:
        return unknown_usage_type(row.usage_type_id)
    usage_type = db.session.get_one(UsageType, row.known_type_id)
    if usage_type.archived:
        return archived_type(usage_type)
    if not row.is_open:
        return closed_error(row.organization_id, row.usage_at)
    try:
        choose_valuation(row.organization_id, usage_type, row.region, row.usage_at, row.usage_until)
    except MissingFactor as error:
        return error
    return None

"""Every write of usage types and emission factors."""

from typing import Any

import sqlalchemy as sa

from .. import audit
from ..accounts.models import Organization
from ..auth import current_actor, display_name, get_referenced, get_visible
from ..db import db, row_security
from ..errors import Conflict, NotFound
from .models import DEFAULT_METHOD, EmissionFactor, UsageType


def create_usage_type(**fields: Any) -> UsageType:
    """Create a usage type. It has no factor yet."""
    usage_type = UsageType(**fields)
    db.session.add(usage_type)
    return _flush(usage_type)


def change_usage_type(usage_type: UsageType, **fields: Any) -> UsageType:
    """Change a usage type. Recorded usages stay as they are.

    Raise Conflict for another unit if the type has factors, because these are per unit.
    """
    if fields.get("unit", usage_type.unit) != usage_type.unit and db.session.scalar(
        sa.select(sa.exists().where(EmissionFactor.usage_type_id == usage_type.id))
    ):
        raise Conflict(
            f"The factors of {usage_type.name} are per {usage_type.unit}, so its unit cannot change. Create another "
            "usage type."
        )
    for name, value in fields.items():
        setattr(usage_type, name, value)
    return _flush(usage_type)


def delete_usage_type(usage_type: UsageType) -> None:
    """Delete a usage type and its factors. Raise Conflict if a usage refers to it."""
    factors = sa.select(EmissionFactor).where(EmissionFactor.usage_type_id == usage_type.id)
    try:
        with db.session.begin_nested():
            for factor in db.session.scalars(factors):
                db.session.delete(factor)
            audit.flush()  # Factors refer to their type, so they are deleted first.
            db.session.delete(usage_type)
            audit.flush()
    except sa.exc.IntegrityError:
        raise Conflict(
            f"The {display_name(UsageType)} {usage_type.name} ({usage_type.unit}) is in use. Set `archived` to hide it."
        ) from None


def lock_usage_type(usage_type_id: int) -> UsageType:
    """Return the visible usage type with this id, locked until the commit. It may be shared."""
    # Row-level security lets an organization read shared types, but not lock them.
    with row_security.for_all_organizations():
        return get_visible(UsageType, usage_type_id, lock=True)


def create_factor(usage_type: UsageType, organization_id: int | None = None, **fields: Any) -> EmissionFactor:
    """Create a factor of the actor's organization. An admin's factor is shared unless it names an organization.

    Raise ValidationFailed for an organization that the actor cannot see.
    """
    actor = current_actor()
    if not actor.is_admin:
        organization_id = organization_id or actor.organization_id
    if organization_id is not None:
        get_referenced(Organization, organization_id, "organization_id")
    return insert_factor(usage_type, organization_id=organization_id, **fields)


def insert_factor(usage_type: UsageType, **fields: Any) -> EmissionFactor:
    """Create a factor. Without an end, it ends the previous open-ended factor of its owner, region and method.

    An exclusion constraint prevents overlapping validity.
    """
    factor = EmissionFactor(usage_type_id=usage_type.id, **({"method": DEFAULT_METHOD} | fields))
    if factor.valid_until is None:
        previous = db.session.scalar(
            sa.select(EmissionFactor).where(
                EmissionFactor.usage_type_id == usage_type.id,
                EmissionFactor.organization_id.is_not_distinct_from(factor.organization_id),
                EmissionFactor.region.is_not_distinct_from(factor.region),
                EmissionFactor.method == factor.method,
                EmissionFactor.valid_until.is_(None),
                EmissionFactor.valid_from < factor.valid_from,
            )
        )
        if previous is not None:
            previous.valid_until = factor.valid_from
            audit.flush()  # Before the INSERT, which would overlap it otherwise.
    db.session.add(factor)
    audit.flush()
    return factor


def get_factor(usage_type: UsageType, factor_id: int) -> EmissionFactor:
    """Return the factor with this id. Raise NotFound if it does not exist or has another usage type."""
    factor = get_visible(EmissionFactor, factor_id)
    if factor.usage_type_id != usage_type.id:
        raise NotFound(f"Usage type {usage_type.id} has no emission factor {factor_id}.")
    return factor


def _flush(usage_type: UsageType) -> UsageType:
    audit.flush()
    db.session.refresh(usage_type)  # The database determines the current factor.
    return usage_type

"""Every write of the catalogue: usage types, and their emission factors."""

from typing import Any

import sqlalchemy as sa

from .. import audit
from ..accounts.models import Organization
from ..auth import current_actor, display_name, get_referenced, get_visible
from ..db import db
from ..errors import Conflict, NotFound
from .models import EmissionFactor, UsageType


def create_usage_type(**fields: Any) -> UsageType:
    """A new usage type, without a factor yet."""
    usage_type = UsageType(**fields)
    db.session.add(usage_type)
    return _written(usage_type)


def change_usage_type(usage_type: UsageType, **fields: Any) -> UsageType:
    """Change what is told of a usage type. Numbers that are recorded already stay as they are.

    Raises Conflict for another unit once there are factors: they are of the unit it has.
    """
    if fields.get("unit", usage_type.unit) != usage_type.unit and db.session.scalar(
        sa.select(sa.exists().where(EmissionFactor.usage_type_id == usage_type.id))
    ):
        raise Conflict(
            f"The factors of {usage_type.name} are per {usage_type.unit}, so its unit stays. Create another usage type."
        )
    for name, value in fields.items():
        setattr(usage_type, name, value)
    return _written(usage_type)


def delete_usage_type(usage_type: UsageType) -> None:
    """Remove a usage type and its factors. Raises Conflict if a usage needs it: archive it instead."""
    try:
        with db.session.begin_nested():
            _remove_factors(usage_type)
            db.session.delete(usage_type)
    except sa.exc.IntegrityError:
        raise Conflict(
            f"The {display_name(UsageType)} {usage_type.name} ({usage_type.unit}) is in use. Set `archived` to hide it."
        ) from None


def create_factor(usage_type: UsageType, organization_id: int | None = None, **fields: Any) -> EmissionFactor:
    """A new factor by the actor: an admin's is everybody's unless it names an organization, another's their own.

    Raises Invalid for an organization that the actor does not see; otherwise as `add_factor`.
    """
    actor = current_actor()
    if not actor.is_admin:
        organization_id = organization_id or actor.organization_id
    if organization_id is not None:
        get_referenced(Organization, organization_id, "organization_id")
    return insert_factor(usage_type, organization_id=organization_id, **fields)


def insert_factor(usage_type: UsageType, **fields: Any) -> EmissionFactor:
    """A new factor of a usage type. Without an end it closes the open one before it of its owner, region and method.

    The database refuses, as a conflict, validity that overlaps another factor's.
    """
    factor = EmissionFactor(usage_type_id=usage_type.id, **({"method": "location"} | fields))
    if factor.valid_until is None:
        before = db.session.scalar(
            sa.select(EmissionFactor).where(
                EmissionFactor.usage_type_id == usage_type.id,
                EmissionFactor.organization_id.is_not_distinct_from(factor.organization_id),
                EmissionFactor.region.is_not_distinct_from(factor.region),
                EmissionFactor.method == factor.method,
                EmissionFactor.valid_until.is_(None),
                EmissionFactor.valid_from < factor.valid_from,
            )
        )
        if before is not None:
            before.valid_until = factor.valid_from
            db.session.flush()  # It makes room for the new one, which would be written first otherwise.
    db.session.add(factor)
    db.session.flush()
    return factor


def get_factor(usage_type: UsageType, factor_id: int) -> EmissionFactor:
    """The factor of this id. Raises NotFound if there is none, or it is another usage type's."""
    factor = get_visible(EmissionFactor, factor_id)
    if factor.usage_type_id != usage_type.id:
        raise NotFound(f"There is no emission factor {factor_id} of usage type {usage_type.id}.")
    return factor


def _remove_factors(usage_type: UsageType) -> None:
    removing = sa.delete(EmissionFactor).where(EmissionFactor.usage_type_id == usage_type.id)
    removed = removing.returning(*EmissionFactor.__table__.columns).cte("removed")
    columns = EmissionFactor.__table__.columns
    old = audit.as_jsonb("removed", *(columns[name] for name in EmissionFactor.AUDIT.columns))
    told = audit.entries_cte(removed, EmissionFactor, "deleted", old=old)
    db.session.execute(sa.select(removed.c.id).add_cte(told))


def _written(usage_type: UsageType) -> UsageType:
    db.session.flush()
    db.session.refresh(usage_type)  # The factor in force is looked up by the database.
    return usage_type

"""Every write of usage types, emission factors and factor sets."""

import datetime as dt
from typing import Any, TypeVar

import sqlalchemy as sa

from .. import audit
from ..accounts.models import Organization
from ..auth import current_actor, display_name, get_referenced, get_visible
from ..db import db, row_security
from ..errors import Conflict, Forbidden, NotFound, ValidationFailed
from ..rest import lock_for_update
from .models import CATEGORIES, DEFAULT_METHOD, SCOPES, EmissionFactor, FactorSet, UpstreamLine, UsageType
from .valuation_choice import choosing_again, delete_valuations

# The columns that a factor has in common with the one that it supersedes.
OF_PLACE = ("usage_type_id", "organization_id", "region", "method", "valid_from", "valid_until")


Row = TypeVar("Row", UsageType, EmissionFactor, FactorSet)


def lock_own(model: type[Row], id_: int) -> Row:
    """Return the row with this id, locked until the commit, if the actor may change it.

    Raise NotFound or PreconditionFailed like `lock_for_update`, and Forbidden for a shared row unless for an admin.
    """
    if not current_actor().is_admin:  # Row-level security would hide a shared row from the lock.
        require_owner(get_visible(model, id_))
    return lock_for_update(model, id_)


def require_owner(row: Row) -> None:
    """Raise Forbidden for a shared row unless the actor is an admin."""
    if row.organization_id is None and not current_actor().is_admin:
        name = display_name(type(row))
        raise Forbidden(
            f"This {name} is shared, so only admins can change it. Create one of your organization instead."
        )


def owner_of_new_row(organization_id: int | None) -> int | None:
    """Return the organization that owns a new row: the actor's. An admin's row is shared unless it names one.

    Raise ValidationFailed for an organization that the actor cannot see.
    """
    actor = current_actor()
    if not actor.is_admin:
        organization_id = organization_id or actor.organization_id
    if organization_id is not None:
        get_referenced(Organization, organization_id, "organization_id")
    return organization_id


def create_usage_type(organization_id: int | None = None, **fields: Any) -> UsageType:
    """Create a usage type. It has no factor yet."""
    usage_type = UsageType(organization_id=organization_id, **fields)
    _check_classification(usage_type)
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
    with choosing_again(usage_type.id):
        for name, value in fields.items():
            setattr(usage_type, name, value)
        _check_classification(usage_type)
    return _flush(usage_type)


def _check_classification(usage_type: UsageType) -> None:
    """Raise ValidationFailed unless the scope fits the category, and is null outside of the scopes."""
    category, scope = usage_type.category, usage_type.scope
    if usage_type.outside_of_scopes and scope is not None:
        raise ValidationFailed("scope must be null for a usage type outside of the scopes.", field="scope")
    if category is None or SCOPES[category] == scope:
        return
    if usage_type.outside_of_scopes:
        raise ValidationFailed("category must be null for a usage type outside of the scopes.", field="category")
    choices = f" For scope {scope}, choose one of {', '.join(CATEGORIES[scope])}." if scope else ""
    message = f"category {category} belongs to scope {SCOPES[category]}, so set scope to {SCOPES[category]}.{choices}"
    raise ValidationFailed(message, field="category")


def delete_usage_type(usage_type: UsageType) -> None:
    """Delete a usage type and its factors. Raise Conflict if a usage refers to it."""
    lines = sa.select(UpstreamLine).where(UpstreamLine.usage_type_id == usage_type.id)
    factors = sa.select(EmissionFactor).where(EmissionFactor.usage_type_id == usage_type.id)
    try:
        with db.session.begin_nested():
            delete_valuations(usage_type_ids=[usage_type.id])
            # Factors refer to their type and to the factors that they supersede, so they are deleted first, one by one.
            for row in (*db.session.scalars(lines), *db.session.scalars(factors.order_by(EmissionFactor.id.desc()))):
                db.session.delete(row)
                audit.flush()
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
    """Create a factor of the actor's organization. An admin's factor has the owner of the type unless it names one.

    Raise ValidationFailed for an organization that the actor cannot see, or that is not the owner of the type.
    """
    owner = owner_of_new_row(organization_id)
    if usage_type.organization_id not in (None, owner):
        if organization_id is not None:
            message = f"The usage type belongs to organization {usage_type.organization_id}, and so do its factors."
            raise ValidationFailed(message, field="organization_id")
        owner = usage_type.organization_id
    _check_set(owner, fields)
    return insert_factor(usage_type, organization_id=owner, **fields)


def insert_factor(usage_type: UsageType, **fields: Any) -> EmissionFactor:
    """Create a factor. Without an end, it ends the previous open-ended factor of its owner, region and method.

    An exclusion constraint prevents overlapping validity.
    """
    factor = EmissionFactor(usage_type_id=usage_type.id, **({"method": DEFAULT_METHOD} | fields))
    with choosing_again(usage_type.id):
        _add_factor(factor)
    return factor


def _add_factor(factor: EmissionFactor) -> None:
    if factor.valid_until is None:
        previous = db.session.scalar(
            sa.select(EmissionFactor).where(
                EmissionFactor.usage_type_id == factor.usage_type_id,
                EmissionFactor.organization_id.is_not_distinct_from(factor.organization_id),
                EmissionFactor.region.is_not_distinct_from(factor.region),
                EmissionFactor.method == factor.method,
                EmissionFactor.valid_until.is_(None),
                EmissionFactor.superseded_at.is_(None),
                EmissionFactor.valid_from < factor.valid_from,
            )
        )
        if previous is not None:
            previous.valid_until = factor.valid_from
            audit.flush()  # Before the INSERT, which would overlap it otherwise.
    db.session.add(factor)
    audit.flush()


def get_factor(usage_type: UsageType, factor_id: int) -> EmissionFactor:
    """Return the factor with this id. Raise NotFound if it does not exist or has another usage type."""
    factor = get_visible(EmissionFactor, factor_id)
    if factor.usage_type_id != usage_type.id:
        raise NotFound(f"Usage type {usage_type.id} has no emission factor {factor_id}.")
    return factor


def lock_own_factor(usage_type_id: int, factor_id: int) -> EmissionFactor:
    """Return a factor that the actor may change. It and its usage type are locked until the commit."""
    get_factor(lock_usage_type(usage_type_id), factor_id)
    return lock_own(EmissionFactor, factor_id)


def change_factor(factor: EmissionFactor, /, **fields: Any) -> EmissionFactor:
    """Change a factor that no usage has. Raise Conflict if one has it, or if the factor is superseded."""
    _require_in_force(factor)
    _check_set(factor.organization_id, fields)
    with choosing_again(factor.usage_type_id):
        try:
            with db.session.begin_nested():
                delete_valuations(factor_ids=[factor.id])
        except sa.exc.IntegrityError:
            raise _in_use(factor, "changed") from None
        for name, value in fields.items():
            setattr(factor, name, value)
        if factor.valid_until is not None and factor.valid_until <= factor.valid_from:
            raise ValidationFailed("valid_until must be later than valid_from.", field="valid_until")
    return factor


def delete_factor(factor: EmissionFactor) -> None:
    """Delete a factor. Raise Conflict if a usage has it, or another factor supersedes it."""
    with choosing_again(factor.usage_type_id):
        try:
            with db.session.begin_nested():
                delete_valuations(factor_ids=[factor.id])
                db.session.delete(factor)
                audit.flush()
        except sa.exc.IntegrityError:
            _require_in_force(factor)
            raise _in_use(factor, "deleted") from None


def supersede_factor(factor: EmissionFactor, now: dt.datetime, /, reason: str, **fields: Any) -> EmissionFactor:
    """Create the factor that takes the place of another one, with the same validity, region, method and owner.

    Recorded usages keep the old one. Raise Conflict if the factor is superseded already.
    """
    _require_in_force(factor)
    _check_set(factor.organization_id, fields)
    with choosing_again(factor.usage_type_id):
        factor.superseded_at, factor.superseded_by, factor.superseded_reason = now, current_actor().id or None, reason
        audit.flush()  # Before the INSERT, whose validity would overlap it otherwise.
        same = {name: getattr(factor, name) for name in OF_PLACE}
        successor = EmissionFactor(supersedes_id=factor.id, **same, **fields)
        db.session.add(successor)
    return successor


def _require_in_force(factor: EmissionFactor) -> None:
    if factor.superseded_at is not None:
        successor = db.session.scalar(sa.select(EmissionFactor.id).where(EmissionFactor.supersedes_id == factor.id))
        raise Conflict(
            f"Emission factor {factor.id} is superseded by {successor}. Change or supersede that one instead."
        )


def _in_use(factor: EmissionFactor, action: str) -> Conflict:
    path = f"/usage-types/{factor.usage_type_id}/factors/{factor.id}/supersede"
    return Conflict(
        f"Usages have emission factor {factor.id}, so it cannot be {action}. Supersede it with POST {path}: recorded "
        "usages keep it until a restatement, and new usages get the new one."
    )


def _check_set(organization_id: int | None, fields: dict[str, Any]) -> None:
    """Raise ValidationFailed for a factor set that some users of a factor with this owner cannot see."""
    if fields.get("factor_set_id") is not None:
        factor_set = get_referenced(FactorSet, fields["factor_set_id"], "factor_set_id")
        if factor_set.organization_id not in (None, organization_id):
            message = f"factor_set_id must be a shared factor set, or one with the factor's owner: {organization_id}."
            raise ValidationFailed(message, field="factor_set_id")


def create_factor_set(organization_id: int | None = None, **fields: Any) -> FactorSet:
    """Create a factor set. It has no factors yet."""
    factor_set = FactorSet(organization_id=organization_id, **fields)
    db.session.add(factor_set)
    audit.flush()
    return factor_set


def change_factor_set(factor_set: FactorSet, **fields: Any) -> FactorSet:
    """Change the description of a factor set. Its factors stay as they are."""
    for name, value in fields.items():
        setattr(factor_set, name, value)
    audit.flush()
    return factor_set


def delete_factor_set(factor_set: FactorSet) -> None:
    """Delete a factor set. Raise Conflict if it has factors."""
    try:
        with db.session.begin_nested():
            db.session.delete(factor_set)
            audit.flush()
    except sa.exc.IntegrityError:
        raise Conflict(
            f"Factor set {factor_set.id} has factors, so it cannot be deleted. Delete them first, or change their "
            "factor_set_id."
        ) from None


def create_upstream_line(usage_type: UsageType, line: str, factor_type_id: int) -> UpstreamLine:
    """Create a line of the actor's organization, or a shared one of an admin. Both types must have the same unit."""
    actor = current_actor()
    factor_type = get_referenced(UsageType, factor_type_id, "factor_type_id")
    if factor_type.id == usage_type.id:
        raise ValidationFailed("Must be another usage type.", field="factor_type_id")
    if factor_type.unit != usage_type.unit:
        raise ValidationFailed(
            f"Its factors are per {factor_type.unit}, but amounts of {usage_type.name} are in {usage_type.unit}.",
            field="factor_type_id",
        )
    created = UpstreamLine(
        usage_type_id=usage_type.id,
        organization_id=None if actor.is_admin else actor.organization_id,
        line=line,
        factor_type_id=factor_type.id,
    )
    with choosing_again(usage_type.id):
        db.session.add(created)
        audit.flush()
    return created


def delete_upstream_line(line: UpstreamLine) -> None:
    """Delete a line. Raise Forbidden for a shared one, unless the actor is an admin."""
    if line.organization_id is None and not current_actor().is_admin:
        raise Forbidden("Only admins delete shared lines. Create a line of this name for your organization instead.")
    with choosing_again(line.usage_type_id):
        db.session.delete(line)
        audit.flush()


def get_upstream_line(usage_type: UsageType, line_id: int) -> UpstreamLine:
    """Return the line with this id. Raise NotFound if it does not exist or has another usage type."""
    line = get_visible(UpstreamLine, line_id)
    if line.usage_type_id != usage_type.id:
        raise NotFound(f"Usage type {usage_type.id} has no upstream line {line_id}.")
    return line


def _flush(usage_type: UsageType) -> UsageType:
    audit.flush()
    db.session.refresh(usage_type)  # The database determines the current factor.
    return usage_type

"""Look up users by e-mail address and usage types by name."""

from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa

from ...accounts.models import User
from ...auth import current_actor, get_referenced, scope_criteria, visible
from ...catalogue.models import UsageType
from ...catalogue.units import find_unit
from ...db import db
from ...errors import ValidationFailed
from ...usages.validation import UNKNOWN_USAGE_TYPE, UNKNOWN_USER
from ..models import Import
from ..staging import IS_VALID, STAGED, Row, distinct_pairs, reject, values_table


def default_user(defaults: dict[str, Any]) -> User:
    """Return the user of rows that do not name one, by default the actor, and set `user_id` in the defaults.

    Raise ValidationFailed that names the query parameter for an unknown user.
    """
    email = defaults.pop("user_email", None)
    if email is None:
        return get_referenced(User, defaults.setdefault("user_id", current_actor().id), "user_id", "query")
    user: User | None = db.session.scalar(visible(User).where(User.email_key == email.lower()))
    if user is None:
        raise ValidationFailed(UNKNOWN_USER % email, {"query": {"user_email": [UNKNOWN_USER % email]}})
    defaults["user_id"] = user.id
    return user


def resolve_type(organization_id: int, defaults: dict[str, Any]) -> None:
    """Replace the name of the default usage type by its id, unless several usage types have that name.

    Raise ValidationFailed that names the query parameter for an unknown name.
    """
    name = defaults.get("usage_type")
    if name is None:
        return
    types = types_by_name(organization_id, [name])
    if name not in types:
        raise ValidationFailed(UNKNOWN_USAGE_TYPE % name, {"query": {"usage_type": [UNKNOWN_USAGE_TYPE % name]}})
    if len(types[name]) == 1:
        del defaults["usage_type"]
        defaults["usage_type_id"] = types[name][0].id


def resolve_names(imp: Import, columns: Collection[str]) -> None:
    """Set the ids of the users and usage types that rows name. Reject rows with unknown or ambiguous names."""
    if "user_email" in columns:
        _resolve_users(imp.organization_id)
    if "usage_type" in columns:
        _resolve_types(imp.organization_id)


def types_by_name(organization_id: int, names: Iterable[str]) -> dict[str, list[UsageType]]:
    """Return the usage types with these names that an organization can use.

    An archived type counts only if all types of its name are archived. A type of the organization takes precedence over
    the shared one of the same name and unit.
    """
    named = sa.select(UsageType).where(UsageType.is_of(organization_id), UsageType.name.in_(names))
    types: dict[str, list[UsageType]] = {}
    for usage_type in db.session.scalars(named.order_by(UsageType.id)):
        types.setdefault(usage_type.name, []).append(usage_type)
    active = {name: [one for one in found if not one.archived] or found for name, found in types.items()}
    return {name: _without_hidden(found) for name, found in active.items()}


def _without_hidden(types: list[UsageType]) -> list[UsageType]:
    own_units = {one.unit for one in types if one.organization_id is not None}
    return [one for one in types if one.organization_id is not None or one.unit not in own_units]


def pick_type(name: str, types: dict[str, list[UsageType]], unit: str) -> UsageType:
    """Return the usage type with this name; of several, the one in this unit, which may be empty.

    Raise ValidationFailed for an unknown or ambiguous name.
    """
    same_name = types.get(name, [])
    if not same_name:
        raise ValidationFailed(UNKNOWN_USAGE_TYPE % name)
    in_unit = [one for one in same_name if unit and _is_unit(unit, one.unit)]
    if len(same_name) > 1 and len(in_unit) != 1:
        choices = ", ".join(f"{one.id} ({one.unit})" for one in same_name)
        raise ValidationFailed(f"{name} is ambiguous: {choices}. Give the id of one, or its unit.")
    return (in_unit or same_name)[0]


def _resolve_users(organization_id: int) -> None:
    is_named = (
        User.organization_id == organization_id,
        *scope_criteria(User),
        User.email_key == sa.func.lower(Row.user_email),
    )
    message = sa.func.format(UNKNOWN_USER, Row.user_email)
    reject("user_email", Row.user_email, message, Row.user_email.is_not(None), ~sa.exists().where(*is_named))
    db.session.execute(sa.update(STAGED).where(IS_VALID, *is_named).values(user_id=User.id))


def _resolve_types(organization_id: int) -> None:
    is_named, unit = Row.usage_type.is_not(None), sa.func.coalesce(Row.unit, "")
    exists = sa.exists().where(UsageType.is_of(organization_id), UsageType.name == Row.usage_type)
    reject("usage_type", Row.usage_type, sa.func.format(UNKNOWN_USAGE_TYPE, Row.usage_type), is_named, ~exists)
    pairs = distinct_pairs(Row.usage_type, unit, "pairs of usage type and unit")
    types = types_by_name(organization_id, {name for name, _ in pairs})
    found: list[tuple[str, str, int | None, str | None]] = []
    for name, row_unit in pairs:
        try:
            found.append((name, row_unit, pick_type(name, types, row_unit).id, None))
        except ValidationFailed as error:
            found.append((name, row_unit, None, str(error)))
    table = values_table(found, usage_type=sa.Text, unit=sa.Text, id=sa.BigInteger, message=sa.Text)
    is_found = (Row.usage_type == table.c.usage_type, unit == table.c.unit)
    reject("usage_type", Row.usage_type, table.c.message, *is_found, table.c.message.is_not(None))
    db.session.execute(sa.update(STAGED).where(IS_VALID, *is_found).values(usage_type_id=table.c.id))


def _is_unit(unit: str, type_unit: str) -> bool:
    """Whether this is the unit of a usage type, in any spelling: kwh and kWh are the same."""
    try:
        return find_unit(unit, type_unit).unit == type_unit
    except ValidationFailed:
        return False

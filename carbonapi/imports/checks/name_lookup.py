"""What a file names rather than numbers: users by their e-mail addresses, usage types by their names."""

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
from ..formats.text_files import rows_rejected
from ..staging import GOOD, MOST_UNITS, STAGED, Row, add_error, values_table

Called = dict[str, list[UsageType]]  # Usage types by their names.


def default_user(defaults: dict[str, Any]) -> User:
    """Whose usages they are where a file does not say it: the actor's own by default. `user_id` then says so too.

    Raises Invalid that names the query's argument.
    """
    email = defaults.pop("user_email", None)
    if email is None:
        return get_referenced(User, defaults.setdefault("user_id", current_actor().id), "user_id", "query")
    owner: User | None = db.session.scalar(visible(User).where(User.email_key == email.lower()))
    if owner is None:
        message = UNKNOWN_USER % email
        raise ValidationFailed(message, {"query": {"user_email": [message]}})
    defaults["user_id"] = owner.id
    return owner


def resolve_type(defaults: dict[str, Any]) -> None:
    """Put the id in place of the query's usage type. Of several types of one name, the unit of each line decides.

    Raises Invalid that names the query's argument.
    """
    name = defaults.get("usage_type")
    if name is None:
        return
    types = types_by_name([name])
    if name not in types:
        message = str(unknown_type(name))
        raise ValidationFailed(message, {"query": {"usage_type": [message]}})
    if len(types[name]) == 1:
        del defaults["usage_type"]
        defaults["usage_type_id"] = types[name][0].id


def resolve_names(organization_id: int, used: Collection[str]) -> int:
    """Put ids in place of the names in lines. Gives how many lines have a fault by that.

    organization_id: the import's, of which the users must be. used: the columns that the file says anything in.
    """
    faulty = _number_users(organization_id) if "user_email" in used else 0
    return faulty + (_number_types() if "usage_type" in used else 0)


def types_by_name(names: Iterable[str]) -> Called:
    """The usage types of these names. An archived one is among them only where all of its name are."""
    types: Called = {}
    for usage_type in db.session.scalars(visible(UsageType).where(UsageType.name.in_(names)).order_by(UsageType.id)):
        types.setdefault(usage_type.name, []).append(usage_type)
    return {name: [one for one in called if not one.archived] or called for name, called in types.items()}


def pick_type(name: str, types: Called, unit: str) -> UsageType:
    """The one usage type of this name, or of several the one that is in this unit, which may be empty.

    Raises Invalid where there is none, and where it could be several.
    """
    called = types.get(name, [])
    if not called:
        raise unknown_type(name)
    of_unit = [one for one in called if unit and _is_unit(unit, one.unit)]
    if len(called) > 1 and len(of_unit) != 1:
        those = ", ".join(f"{one.id} ({one.unit})" for one in called)
        raise ValidationFailed(f"{name} is ambiguous: {those}. Give the id of one, or its unit.")
    return (of_unit or called)[0]


def unknown_type(name: str) -> ValidationFailed:
    return ValidationFailed(UNKNOWN_USAGE_TYPE % name)


def _number_users(organization_id: int) -> int:
    meant = (
        User.organization_id == organization_id,
        *scope_criteria(User),
        User.email_key == sa.func.lower(Row.user_email),
    )
    message = sa.func.format(UNKNOWN_USER, Row.user_email)
    nobodys = (Row.user_email.is_not(None), ~sa.exists().where(*meant))
    faulty = add_error("user_email", Row.user_email, message, *nobodys)
    db.session.execute(sa.update(STAGED).where(GOOD, *meant).values(user_id=User.id))
    return faulty


def _number_types() -> int:
    is_named, unit = Row.usage_type.is_not(None), sa.func.coalesce(Row.unit, "")
    there = sa.exists().where(*scope_criteria(UsageType), UsageType.name == Row.usage_type)
    message = sa.func.format(UNKNOWN_USAGE_TYPE, Row.usage_type)
    faulty = add_error("usage_type", Row.usage_type, message, is_named, ~there)
    asked = sa.select(Row.usage_type, unit).where(GOOD, is_named).distinct().limit(MOST_UNITS + 1)
    pairs = db.session.execute(asked).all()
    if len(pairs) > MOST_UNITS:
        raise rows_rejected({1: [f"There are more than {MOST_UNITS} different usage types and units in the file."]})
    types = types_by_name({name for name, _ in pairs})
    known, ambiguous = [], []
    for name, of_unit in pairs:
        try:
            known.append((name, of_unit, pick_type(name, types, of_unit).id))
        except ValidationFailed as error:
            ambiguous.append((name, of_unit, str(error)))
    if ambiguous:
        wrong = values_table(ambiguous, usage_type=sa.Text, unit=sa.Text, message=sa.Text)
        its = (Row.usage_type == wrong.c.usage_type, unit == wrong.c.unit)
        faulty += add_error("usage_type", Row.usage_type, wrong.c.message, *its)
    if known:
        right = values_table(known, usage_type=sa.Text, unit=sa.Text, id=sa.BigInteger)
        its = (Row.usage_type == right.c.usage_type, unit == right.c.unit)
        db.session.execute(sa.update(STAGED).where(GOOD, *its).values(usage_type_id=right.c.id))
    return faulty


def _is_unit(unit: str, type_unit: str) -> bool:
    """Whether a usage type's unit is this one: kwh and kWh are one."""
    try:
        return find_unit(unit, type_unit).unit == type_unit
    except ValidationFailed:
        return False

"""What a file names rather than numbers: users by their e-mail addresses, usage types by their names."""

from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa

from ...accounts.models import User
from ...auth import current_actor, named, seen_by_actor, visible
from ...catalogue.models import UsageType
from ...catalogue.units import unit_in
from ...db import db
from ...errors import Invalid
from ...usages.validation import NO_USAGE_TYPE, NO_USER
from ..formats.text_files import refused
from ..staging import GOOD, MOST_UNITS, STAGED, Row, mark, table_of

Called = dict[str, list[UsageType]]  # Usage types by their names.


def owner_of(defaults: dict[str, Any]) -> User:
    """Whose usages they are where a file does not say it: the actor's own by default. `user_id` then says so too.

    Raises Invalid that names the query's argument.
    """
    email = defaults.pop("user_email", None)
    if email is None:
        return named(User, defaults.setdefault("user_id", current_actor().id), "user_id", "query")
    owner: User | None = db.session.scalar(visible(User).where(User.email_key == email.lower()))
    if owner is None:
        message = NO_USER % email
        raise Invalid(message, {"query": {"user_email": [message]}})
    defaults["user_id"] = owner.id
    return owner


def settle_type(defaults: dict[str, Any]) -> None:
    """Put the id in place of the query's usage type. Of several types of one name, the unit of each line decides.

    Raises Invalid that names the query's argument.
    """
    name = defaults.get("usage_type")
    if name is None:
        return
    types = types_called([name])
    if name not in types:
        message = str(unknown(name))
        raise Invalid(message, {"query": {"usage_type": [message]}})
    if len(types[name]) == 1:
        del defaults["usage_type"]
        defaults["usage_type_id"] = types[name][0].id


def find_named(organization_id: int, used: Collection[str]) -> int:
    """Put ids in place of the names in lines. Gives how many lines have a fault by that.

    organization_id: the import's, of which the users must be. used: the columns that the file says anything in.
    """
    faulty = _number_users(organization_id) if "user_email" in used else 0
    return faulty + (_number_types() if "usage_type" in used else 0)


def types_called(names: Iterable[str]) -> Called:
    """The usage types of these names. An archived one is among them only where all of its name are."""
    types: Called = {}
    for usage_type in db.session.scalars(visible(UsageType).where(UsageType.name.in_(names)).order_by(UsageType.id)):
        types.setdefault(usage_type.name, []).append(usage_type)
    return {name: [one for one in called if not one.archived] or called for name, called in types.items()}


def chosen(name: str, types: Called, unit: str) -> UsageType:
    """The one usage type of this name, or of several the one that is in this unit, which may be empty.

    Raises Invalid where there is none, and where it could be several.
    """
    called = types.get(name, [])
    if not called:
        raise unknown(name)
    of_unit = [one for one in called if unit and _is_unit(unit, one.unit)]
    if len(called) > 1 and len(of_unit) != 1:
        those = ", ".join(f"{one.id} ({one.unit})" for one in called)
        raise Invalid(f"{name} is ambiguous: {those}. Give the id of one, or its unit.")
    return (of_unit or called)[0]


def unknown(name: str) -> Invalid:
    return Invalid(NO_USAGE_TYPE % name)


def _number_users(organization_id: int) -> int:
    meant = (
        User.organization_id == organization_id,
        *seen_by_actor(User),
        User.email_key == sa.func.lower(Row.user_email),
    )
    message = sa.func.format(NO_USER, Row.user_email)
    nobodys = (Row.user_email.is_not(None), ~sa.exists().where(*meant))
    faulty = mark("user_email", Row.user_email, message, *nobodys)
    db.session.execute(sa.update(STAGED).where(GOOD, *meant).values(user_id=User.id))
    return faulty


def _number_types() -> int:
    is_named, unit = Row.usage_type.is_not(None), sa.func.coalesce(Row.unit, "")
    there = sa.exists().where(*seen_by_actor(UsageType), UsageType.name == Row.usage_type)
    message = sa.func.format(NO_USAGE_TYPE, Row.usage_type)
    faulty = mark("usage_type", Row.usage_type, message, is_named, ~there)
    asked = sa.select(Row.usage_type, unit).where(GOOD, is_named).distinct().limit(MOST_UNITS + 1)
    pairs = db.session.execute(asked).all()
    if len(pairs) > MOST_UNITS:
        raise refused({1: [f"There are more than {MOST_UNITS} different usage types and units in the file."]})
    types = types_called({name for name, _ in pairs})
    known, ambiguous = [], []
    for name, of_unit in pairs:
        try:
            known.append((name, of_unit, chosen(name, types, of_unit).id))
        except Invalid as error:
            ambiguous.append((name, of_unit, str(error)))
    if ambiguous:
        wrong = table_of(ambiguous, usage_type=sa.Text, unit=sa.Text, message=sa.Text)
        its = (Row.usage_type == wrong.c.usage_type, unit == wrong.c.unit)
        faulty += mark("usage_type", Row.usage_type, wrong.c.message, *its)
    if known:
        right = table_of(known, usage_type=sa.Text, unit=sa.Text, id=sa.BigInteger)
        its = (Row.usage_type == right.c.usage_type, unit == right.c.unit)
        db.session.execute(sa.update(STAGED).where(GOOD, *its).values(usage_type_id=right.c.id))
    return faulty


def _is_unit(unit: str, type_unit: str) -> bool:
    """Whether a usage type's unit is this one: kwh and kWh are one."""
    try:
        return unit_in(unit, type_unit).unit == type_unit
    except Invalid:
        return False

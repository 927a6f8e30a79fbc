"""Why a usage cannot be recorded or corrected, in words for the caller."""

import datetime as dt

from ..accounts.models import User
from ..auth import fetch, named
from ..catalogue.models import UsageType
from ..errors import Invalid, NotFound

# What is missing is put in for each %s, here and by PostgreSQL.
NO_USER = "There is no user %s."
NO_USAGE_TYPE = "There is no usage type %s; GET /usage-types lists them."
ARCHIVED = "%s (%s) is archived: nothing new is recorded for it."
ENDS_BEFORE_IT_BEGINS = "Must be later than usage_at: a period is [usage_at, usage_until)."
LONGEST_PERIOD = dt.timedelta(days=3653)
LASTS_TOO_LONG = "A period is at most ten years long. Divide it into several."


def fault_of_period(usage_at: dt.datetime, usage_until: dt.datetime) -> str | None:
    """Why these cannot be the begin and the end of a period; None if they can."""
    if usage_until <= usage_at:
        return ENDS_BEFORE_IT_BEGINS
    return LASTS_TOO_LONG if usage_until - usage_at > LONGEST_PERIOD else None


def refuse_stranger(user_id: int, organization_id: int) -> None:
    if named(User, user_id, "user_id").organization_id != organization_id:
        raise Invalid(f"User {user_id} is of another organization than the usage.", field="user_id")


def usable_type(usage_type_id: int, current_id: int | None = None) -> UsageType:
    """The usage type, which must not be archived unless the usage has it already."""
    try:
        usage_type = fetch(UsageType, usage_type_id)
    except NotFound:
        raise no_usage_type(usage_type_id) from None
    if usage_type.archived and usage_type_id != current_id:
        raise archived(usage_type)
    return usage_type


def no_user(user_id: int) -> Invalid:
    return Invalid(NO_USER % user_id, field="user_id")


def no_usage_type(usage_type_id: int) -> Invalid:
    return Invalid(NO_USAGE_TYPE % usage_type_id, field="usage_type_id")


def archived(usage_type: UsageType) -> Invalid:
    return Invalid(ARCHIVED % (usage_type.name, usage_type.unit), field="usage_type_id")

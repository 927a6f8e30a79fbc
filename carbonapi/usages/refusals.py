"""Why a usage cannot be recorded or corrected, in words for the caller."""

import datetime as dt

from ..access import fetch, named
from ..accounts.models import User
from ..catalogue.models import UsageType
from ..errors import Invalid, NotFound

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
    return Invalid(f"There is no user {user_id}.", field="user_id")


def no_usage_type(usage_type_id: int) -> Invalid:
    return Invalid(f"There is no usage type {usage_type_id}; GET /usage-types lists them.", field="usage_type_id")


def archived(usage_type: UsageType) -> Invalid:
    return Invalid(
        f"{usage_type.name} ({usage_type.unit}) is archived: nothing new is recorded for it.", field="usage_type_id"
    )

"""Validation of usages, and the errors for usages that cannot be recorded or corrected."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from ..auth import get_visible
from ..catalogue.models import UsageType
from ..errors import NotFound, ValidationFailed

# Python or PostgreSQL replaces each %s.
UNKNOWN_USER = "There is no user %s."
UNKNOWN_USAGE_TYPE = "There is no usage type %s; GET /usage-types lists them."
ARCHIVED_TYPE = "%s (%s) is archived and accepts no new usages."
END_BEFORE_START = "usage_until must be later than usage_at."
MAX_INTERVAL = dt.timedelta(days=3653)
INTERVAL_TOO_LONG = "An interval must not be longer than ten years. Divide it into several usages."

# Each day of an interval has a daily total. To write a million takes seconds.
MAX_DAYS = 1_000_000
TOO_MANY_DAYS = f"The intervals of an array must not have more than {MAX_DAYS:,} days together. Send several arrays."


def check_days(usages: Iterable[Mapping[str, Any]]) -> None:
    """Raise ValidationFailed if the intervals of usages to record have more than MAX_DAYS days together."""
    intervals = (fields for fields in usages if fields.get("usage_until") is not None)
    if sum((fields["usage_until"] - fields["usage_at"]).days for fields in intervals) > MAX_DAYS:
        raise ValidationFailed(TOO_MANY_DAYS, field="_schema")


def interval_error(usage_at: dt.datetime | None, usage_until: dt.datetime | None) -> str | None:
    """Return why an interval is invalid, or None if it is valid or not an interval."""
    if usage_at is None or usage_until is None:
        return None
    if usage_until <= usage_at:
        return END_BEFORE_START
    return INTERVAL_TOO_LONG if usage_until - usage_at > MAX_INTERVAL else None


def get_active_type(usage_type_id: int, current_id: int | None = None) -> UsageType:
    """Return the usage type. It must not be archived, unless it is the current type of the usage."""
    try:
        usage_type = get_visible(UsageType, usage_type_id)
    except NotFound:
        raise unknown_usage_type(usage_type_id) from None
    return usage_type if usage_type_id == current_id else pick_active_type({usage_type_id: usage_type}, usage_type_id)


def pick_active_type(found: Mapping[int, UsageType], usage_type_id: int) -> UsageType:
    """Return one of the usage types that were found. It must not be archived."""
    usage_type = found.get(usage_type_id)
    if usage_type is None:
        raise unknown_usage_type(usage_type_id)
    if usage_type.archived:
        raise archived_type(usage_type)
    return usage_type


def unknown_usage_type(usage_type_id: int) -> ValidationFailed:
    return ValidationFailed(UNKNOWN_USAGE_TYPE % usage_type_id, field="usage_type_id")


def archived_type(usage_type: Any) -> ValidationFailed:
    """Return the error for an archived usage type. usage_type: its row, with `name` and `unit`."""
    return ValidationFailed(ARCHIVED_TYPE % (usage_type.name, usage_type.unit), field="usage_type_id")

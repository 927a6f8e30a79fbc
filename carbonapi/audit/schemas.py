"""Audit entries in requests and responses."""

from functools import partial
from typing import Any

import marshmallow as ma

from ..rest import (
    ExportQuerySchema,
    FilterSchema,
    ListQuerySchema,
    Schema,
    Sort,
    any_of,
    equal_to,
    flag,
    time_range,
    time_zone,
)
from ..rest.fields import StrictInteger, Text, UtcDateTime, returned
from .models import ACTIONS, SHARED, AuditEntry

HIDDEN = "for shared data unless you are an admin"


class AuditEntrySchema(Schema):
    """One act: the actor, the action, its subject, and the values before and after."""

    id = returned(ma.fields.Integer, 1)
    organization_id = returned(
        partial(ma.fields.Integer, attribute="shown_organization_id"),
        1,
        "`null` for shared data, such as a usage type. `0` if none, as at a login with an unknown address.",
        nullable=True,
    )
    occurred_at = returned(UtcDateTime, "2026-01-31T12:00:01Z")
    actor_id = returned(
        partial(ma.fields.Integer, attribute="shown_actor_id"),
        1,
        f"`null` without a login, and {HIDDEN}.",
        nullable=True,
    )
    actor_role = returned(ma.fields.String, "manager", "The actor's role at that time.", nullable=True)
    api_key_id = returned(
        partial(ma.fields.Integer, attribute="shown_api_key_id"),
        None,
        f"The actor's key, if one was used. `null` {HIDDEN}.",
        nullable=True,
    )
    action = ma.fields.String(required=True, metadata={"enum": list(ACTIONS), "example": "changed"})
    subject = returned(ma.fields.String, "organization")
    subject_id = returned(ma.fields.Integer, 1, nullable=True)
    address = returned(
        partial(ma.fields.String, attribute="shown_address"),
        "192.0.2.1",
        f"IP address of the client. `null` for the command line, and {HIDDEN}.",
        nullable=True,
    )
    request_id = returned(
        partial(ma.fields.String, attribute="shown_request_id"),
        "0f8fad5bd9cb469fa16570867728950e",
        f"`null` for the command line, and {HIDDEN}.",
        nullable=True,
    )
    old = returned(
        ma.fields.Dict, {"region": None}, "Values before the change. For a deletion, all values.", nullable=True
    )
    new = returned(
        ma.fields.Dict, {"region": "GB"}, "Values after the change. For a new row, all values.", nullable=True
    )
    reason = returned(ma.fields.String, None, "From the request.", nullable=True)


def _shown(name: str) -> ma.fields.Field[Any]:
    """Return a filter by the values that the caller sees: it must not reveal who changed shared data."""
    column: Any = getattr(AuditEntry, f"shown_{name}")
    return any_of(lambda values: column.in_(values), StrictInteger(), f"Return only rows with this {name}.")


class OrderedAuditEntries(FilterSchema):
    """Filters and order of the list and the export."""

    start, end = time_range(AuditEntry.occurred_at)
    timezone = time_zone()
    organization_id = equal_to(AuditEntry.organization_id, StrictInteger(0))
    shared = flag(
        AuditEntry.organization_id == SHARED,
        "With `true`, return only entries about shared data. With `false`, omit them.",
    )
    actor_id = _shown("actor_id")
    api_key_id = _shown("api_key_id")
    action = equal_to(AuditEntry.action, Text(validate=ma.validate.OneOf(ACTIONS)))
    subject = equal_to(AuditEntry.subject, Text(validate=ma.validate.Length(1, 100)))
    subject_id = equal_to(AuditEntry.subject_id)
    sort = Sort(AuditEntry.occurred_at, AuditEntry.id, default="-occurred_at")


class AuditEntryQuery(ListQuerySchema, OrderedAuditEntries):
    """Query of the list."""


class AuditEntryExportQuery(ExportQuerySchema, OrderedAuditEntries):
    """Query of the export."""

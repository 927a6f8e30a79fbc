"""Audit entries in requests and responses."""

import marshmallow as ma

from ..rest import ExportQuerySchema, FilterSchema, ListQuerySchema, Schema, Sort, equal_to, time_range, time_zone
from ..rest.fields import StrictInteger, Text, UtcDateTime
from .models import ACTIONS, AuditEntry


class AuditEntrySchema(Schema):
    """One act: the actor, the action, its subject, and the values before and after."""

    id = ma.fields.Integer(required=True, metadata={"example": 1})
    organization_id = ma.fields.Integer(
        required=True, metadata={"example": 1, "description": "`0` if none, as at a login with an unknown address."}
    )
    occurred_at = UtcDateTime(required=True, metadata={"example": "2026-01-31T12:00:01Z"})
    actor_id = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": 1, "description": "`null` without a login."}
    )
    actor_role = ma.fields.String(
        required=True, allow_none=True, metadata={"example": "manager", "description": "The actor's role at that time."}
    )
    api_key_id = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": None, "description": "The actor's key, if one was used."}
    )
    action = ma.fields.String(required=True, metadata={"enum": list(ACTIONS), "example": "changed"})
    subject = ma.fields.String(required=True, metadata={"example": "organization"})
    subject_id = ma.fields.Integer(required=True, allow_none=True, metadata={"example": 1})
    address = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"example": "192.0.2.1", "description": "IP address of the client. `null` for the command line."},
    )
    request_id = ma.fields.String(
        required=True, allow_none=True, metadata={"example": "0f8fad5bd9cb469fa16570867728950e"}
    )
    old = ma.fields.Dict(
        required=True,
        allow_none=True,
        metadata={"example": {"region": None}, "description": "Values before the change. For a deletion, all values."},
    )
    new = ma.fields.Dict(
        required=True,
        allow_none=True,
        metadata={"example": {"region": "GB"}, "description": "Values after the change. For a new row, all values."},
    )
    reason = ma.fields.String(
        required=True, allow_none=True, metadata={"example": None, "description": "From the request."}
    )


class OrderedAuditEntries(FilterSchema):
    """Filters and order of the list and the export."""

    start, end = time_range(AuditEntry.occurred_at)
    timezone = time_zone()
    organization_id = equal_to(AuditEntry.organization_id, StrictInteger(0))
    actor_id = equal_to(AuditEntry.actor_id)
    api_key_id = equal_to(AuditEntry.api_key_id)
    action = equal_to(AuditEntry.action, Text(validate=ma.validate.OneOf(ACTIONS)))
    subject = equal_to(AuditEntry.subject, Text(validate=ma.validate.Length(1, 100)))
    subject_id = equal_to(AuditEntry.subject_id)
    sort = Sort(AuditEntry.occurred_at, AuditEntry.id, default="-occurred_at")


class AuditEntryQuery(ListQuerySchema, OrderedAuditEntries):
    """Query of the list."""


class AuditEntryExportQuery(ExportQuerySchema, OrderedAuditEntries):
    """Query of the export."""

"""What audit entries look like on the wire."""

import marshmallow as ma

from ..rest import ExportQuerySchema, FilterSchema, ListQuerySchema, Schema, Sort, equal_to, time_range, time_zone
from ..rest.fields import StrictInteger, Text, UtcDateTime
from .models import ACTIONS, AuditEntry


class AuditEntrySchema(Schema):
    """Who changed what, when, from where, and what it was before."""

    id = ma.fields.Integer(required=True, metadata={"example": 1})
    organization_id = ma.fields.Integer(
        required=True, metadata={"example": 1, "description": "Whose; 0: nobody's, such as a stranger's sign-in."}
    )
    occurred_at = UtcDateTime(required=True, metadata={"example": "2026-01-31T12:00:01Z"})
    actor_id = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": 1, "description": "null: nobody was signed in."}
    )
    actor_role = ma.fields.String(
        required=True, allow_none=True, metadata={"example": "manager", "description": "The role they had then."}
    )
    api_key_id = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": None, "description": "With which key a machine did it."}
    )
    action = ma.fields.String(required=True, metadata={"enum": list(ACTIONS), "example": "changed"})
    subject = ma.fields.String(required=True, metadata={"example": "organization"})
    subject_id = ma.fields.Integer(required=True, allow_none=True, metadata={"example": 1})
    address = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"example": "192.0.2.1", "description": "Where the request came from; null: the command line."},
    )
    request_id = ma.fields.String(
        required=True, allow_none=True, metadata={"example": "0f8fad5bd9cb469fa16570867728950e"}
    )
    old = ma.fields.Dict(
        required=True,
        allow_none=True,
        metadata={"example": {"region": None}, "description": "What it was; of a deletion all of it."},
    )
    new = ma.fields.Dict(
        required=True,
        allow_none=True,
        metadata={"example": {"region": "GB"}, "description": "What it became; of a new row all of it."},
    )
    reason = ma.fields.String(required=True, allow_none=True, metadata={"example": None, "description": "As given."})


class OrderedAuditEntries(FilterSchema):
    """Which audit entries, and in which order: shared by the list and the export."""

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
    """Which page of them."""


class AuditEntryExportQuery(ExportQuerySchema, OrderedAuditEntries):
    """As which kind of file."""

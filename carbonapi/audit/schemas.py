"""Audit entries in requests and responses."""

import marshmallow as ma

from ..rest import ExportQuerySchema, FilterSchema, ListQuerySchema, Schema, Sort, equal_to, time_range, time_zone
from ..rest.fields import StrictInteger, Text, UtcDateTime, returned
from .models import ACTIONS, AuditEntry


class AuditEntrySchema(Schema):
    """One act: the actor, the action, its subject, and the values before and after."""

    id = returned(ma.fields.Integer, 1)
    organization_id = returned(ma.fields.Integer, 1, "`0` if none, as at a login with an unknown address.")
    occurred_at = returned(UtcDateTime, "2026-01-31T12:00:01Z")
    actor_id = returned(ma.fields.Integer, 1, "`null` without a login.", nullable=True)
    actor_role = returned(ma.fields.String, "manager", "The actor's role at that time.", nullable=True)
    api_key_id = returned(ma.fields.Integer, None, "The actor's key, if one was used.", nullable=True)
    action = ma.fields.String(required=True, metadata={"enum": list(ACTIONS), "example": "changed"})
    subject = returned(ma.fields.String, "organization")
    subject_id = returned(ma.fields.Integer, 1, nullable=True)
    address = returned(
        ma.fields.String, "192.0.2.1", "IP address of the client. `null` for the command line.", nullable=True
    )
    request_id = returned(ma.fields.String, "0f8fad5bd9cb469fa16570867728950e", nullable=True)
    old = returned(
        ma.fields.Dict, {"region": None}, "Values before the change. For a deletion, all values.", nullable=True
    )
    new = returned(
        ma.fields.Dict, {"region": "GB"}, "Values after the change. For a new row, all values.", nullable=True
    )
    reason = returned(ma.fields.String, None, "From the request.", nullable=True)


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

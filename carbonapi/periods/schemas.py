"""What closed periods look like on the wire."""

import marshmallow as ma

from ..rest import ListQuerySchema, Schema, Sort
from ..rest.fields import Name, Text, UtcDateTime
from .models import ClosedPeriod


class ClosedPeriodSchema(Schema):
    """The books of an organization, closed up to an instant."""

    id = ma.fields.Integer(required=True, metadata={"example": 1})
    organization_id = ma.fields.Integer(required=True, metadata={"example": 1})
    until = UtcDateTime(required=True, metadata={"example": "2026-01-01T00:00:00Z", "description": "Not included."})
    note = ma.fields.String(required=True, allow_none=True, metadata={"example": "Annual report 2025"})
    closed_at = UtcDateTime(required=True, metadata={"example": "2026-03-31T12:00:00Z"})
    closed_by = ma.fields.Integer(required=True, metadata={"example": 1})
    reopened_at = UtcDateTime(
        required=True, allow_none=True, metadata={"example": None, "description": "null: it is closed."}
    )
    reopened_by = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": None, "description": "The user who did."}
    )
    reopen_reason = ma.fields.String(
        required=True, allow_none=True, metadata={"example": None, "description": "Why, as they say."}
    )


class NewClosedPeriodSchema(Schema):
    """Up to when the books are closed."""

    until = UtcDateTime(required=True, metadata={"example": "2026-01-01T00:00:00Z", "description": "Not included."})
    note = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(max=2000),
        metadata={"example": "Annual report 2025"},
    )


class ReopenSchema(Schema):
    """Why the books are reopened."""

    reason = Name(
        required=True, validate=ma.validate.Length(1, 2000), metadata={"example": "A meter had been left out."}
    )


class ClosedPeriodQuery(ListQuerySchema):
    sort = Sort(ClosedPeriod.until, ClosedPeriod.closed_at, ClosedPeriod.id, default="-until")

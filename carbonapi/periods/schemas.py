"""Closed periods in requests and responses."""

import marshmallow as ma

from ..rest import ListQuerySchema, Schema, Sort
from ..rest.fields import Name, Text, UtcDateTime
from .models import ClosedPeriod


class ClosedPeriodSchema(Schema):
    """The accounting period of an organization up to an instant, closed."""

    id = ma.fields.Integer(required=True, metadata={"example": 1})
    organization_id = ma.fields.Integer(required=True, metadata={"example": 1})
    until = UtcDateTime(required=True, metadata={"example": "2026-01-01T00:00:00Z", "description": "Exclusive."})
    note = ma.fields.String(required=True, allow_none=True, metadata={"example": "Annual report 2025"})
    closed_at = UtcDateTime(required=True, metadata={"example": "2026-03-31T12:00:00Z"})
    closed_by = ma.fields.Integer(required=True, metadata={"example": 1})
    reopened_at = UtcDateTime(
        required=True, allow_none=True, metadata={"example": None, "description": "`null` while the period is closed."}
    )
    reopened_by = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": None, "description": "The user who reopened it."}
    )
    reopen_reason = ma.fields.String(
        required=True, allow_none=True, metadata={"example": None, "description": "Why it was reopened."}
    )


class NewClosedPeriodSchema(Schema):
    """The end of the period to close."""

    until = UtcDateTime(required=True, metadata={"example": "2026-01-01T00:00:00Z", "description": "Exclusive."})
    note = Text(
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(max=2000),
        metadata={"example": "Annual report 2025"},
    )


class ReopenSchema(Schema):
    """The reason for reopening a period."""

    reason = Name(
        required=True, validate=ma.validate.Length(1, 2000), metadata={"example": "A meter had been left out."}
    )


class ClosedPeriodQuery(ListQuerySchema):
    sort = Sort(ClosedPeriod.until, ClosedPeriod.closed_at, ClosedPeriod.id, default="-until")

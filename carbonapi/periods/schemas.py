"""Closed periods in requests and responses."""

from functools import partial

import marshmallow as ma

from ..rest import ListQuerySchema, Schema, Sort
from ..rest.fields import Name, Text, UtcDateTime, optional, returned
from .models import ClosedPeriod


class ClosedPeriodSchema(Schema):
    """The accounting period of an organization up to an instant, closed."""

    id = returned(ma.fields.Integer, 1)
    organization_id = returned(ma.fields.Integer, 1)
    until = returned(UtcDateTime, "2026-01-01T00:00:00Z", "Exclusive.")
    note = returned(ma.fields.String, "Annual report 2025", nullable=True)
    closed_at = returned(UtcDateTime, "2026-03-31T12:00:00Z")
    closed_by = returned(ma.fields.Integer, 1)
    reopened_at = returned(UtcDateTime, None, "`null` while the period is closed.", nullable=True)
    reopened_by = returned(ma.fields.Integer, None, "The user who reopened it.", nullable=True)
    reopen_reason = returned(ma.fields.String, None, "Why it was reopened.", nullable=True)


class NewClosedPeriodSchema(Schema):
    """The end of the period to close."""

    until = returned(UtcDateTime, "2026-01-01T00:00:00Z", "Exclusive.")
    note = optional(Text, ma.validate.Length(max=2000), example="Annual report 2025")


class ReopenSchema(Schema):
    """The reason for reopening a period."""

    reason = returned(partial(Name, validate=ma.validate.Length(1, 2000)), "A meter was missing.")


class ClosedPeriodQuery(ListQuerySchema):
    sort = Sort(ClosedPeriod.until, ClosedPeriod.closed_at, ClosedPeriod.id, default="-until")

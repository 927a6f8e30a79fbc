"""Restatements in requests and responses."""

from typing import Any

import marshmallow as ma

from ..rest import ListQuerySchema, Schema, Sort, equal_to, time_range, time_zone
from ..rest.fields import ExactDecimal, Name, Region, StrictInteger, Text, UtcDateTime
from .models import Restatement


class NewRestatementSchema(Schema):
    """Which usages to restate, and why."""

    usage_type_id = StrictInteger(required=True, metadata={"example": 100})
    start = UtcDateTime(load_default=None, allow_none=True, metadata={"description": "Earliest usage_at, inclusive."})
    end = UtcDateTime(load_default=None, allow_none=True, metadata={"description": "Latest usage_at, exclusive."})
    region = Region(
        load_default=None, allow_none=True, metadata={"description": "Only usages of this region. Default: all."}
    )
    reason = Name(
        required=True,
        validate=ma.validate.Length(1, 2000),
        metadata={"example": "The supplier has corrected its factors."},
    )
    mode = Text(
        load_default="preview",
        validate=ma.validate.OneOf(["preview", "apply"]),
        metadata={"example": "preview", "description": "`preview` returns the changes; `apply` makes them."},
    )

    @ma.validates_schema
    def start_before_end(self, fields: dict[str, Any], **kwargs: Any) -> None:
        start, end = fields.get("start"), fields.get("end")
        if start is not None and end is not None and end <= start:
            raise ma.ValidationError("Must be later than start: a range is [start, end).", "end")


class RestatedMonthSchema(Schema):
    """The changes of a restatement in one month, in the time zone of the organization."""

    month = ma.fields.String(required=True, metadata={"example": "2026-01"})
    usage_count = ma.fields.Integer(
        required=True, metadata={"example": 744, "description": "Number of changed usages with a part in the month."}
    )
    before_kg = ExactDecimal(required=True, metadata={"example": 18.75})
    after_kg = ExactDecimal(required=True, metadata={"example": 15})
    difference_kg = ExactDecimal(required=True, metadata={"example": -3.75})


class RestatementSchema(Schema):
    """The changes of a restatement, or of its preview."""

    id = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": 1, "description": "`null` if nothing was changed."}
    )
    organization_id = ma.fields.Integer(required=True, metadata={"example": 1})
    usage_type_id = ma.fields.Integer(required=True, metadata={"example": 100})
    start = UtcDateTime(required=True, allow_none=True, metadata={"example": "2026-01-01T00:00:00Z"})
    end = UtcDateTime(required=True, allow_none=True, metadata={"example": "2027-01-01T00:00:00Z"})
    region = ma.fields.String(required=True, allow_none=True, metadata={"example": "GB"})
    reason = ma.fields.String(required=True, metadata={"example": "The supplier has corrected its factors."})
    usage_count = ma.fields.Integer(required=True, metadata={"example": 744, "description": "Changed usages."})
    before_kg = ExactDecimal(required=True, metadata={"example": 18.75})
    after_kg = ExactDecimal(required=True, metadata={"example": 15})
    difference_kg = ExactDecimal(required=True, metadata={"example": -3.75})
    difference_percent = ExactDecimal(
        required=True, allow_none=True, metadata={"example": -20, "description": "Percentage, to four digits."}
    )
    significance_threshold = ExactDecimal(
        required=True, metadata={"example": 5, "description": "Percentage, as it was set at that time."}
    )
    significant = ma.fields.Boolean(
        required=True, metadata={"example": True, "description": "Whether the difference reaches the threshold."}
    )
    months = ma.fields.List(ma.fields.Nested(RestatedMonthSchema), required=True)
    recorded_at = UtcDateTime(required=True, metadata={"example": "2026-01-31T12:00:01Z"})
    recorded_by = ma.fields.Integer(required=True, metadata={"example": 1})


class RestatementQuery(ListQuerySchema):
    start, end = time_range(Restatement.recorded_at)
    timezone = time_zone()
    usage_type_id = equal_to(Restatement.usage_type_id)
    sort = Sort(Restatement.recorded_at, Restatement.id, default="-recorded_at")

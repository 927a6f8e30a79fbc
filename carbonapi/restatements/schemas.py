"""Restatements in requests and responses."""

from functools import partial
from typing import Any

import marshmallow as ma

from ..rest import ListQuerySchema, Schema, Sort, equal_to, time_range, time_zone
from ..rest.fields import ExactDecimal, Name, Region, StrictInteger, Text, UtcDateTime, optional, returned
from .models import Restatement


class NewRestatementSchema(Schema):
    """Which usages to restate, and why."""

    usage_type_id = returned(StrictInteger, 100)
    start = optional(UtcDateTime, description="Earliest usage_at, inclusive.")
    end = optional(UtcDateTime, description="Latest usage_at, exclusive.")
    region = optional(Region, description="Only usages of this region. Default: all.")
    reason = returned(partial(Name, validate=ma.validate.Length(1, 2000)), "The supplier has corrected its factors.")
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

    month = returned(ma.fields.String, "2026-01")
    usage_count = returned(ma.fields.Integer, 744, "Number of changed usages with a part in the month.")
    before_kg = returned(ExactDecimal, 18.75)
    after_kg = returned(ExactDecimal, 15)
    difference_kg = returned(ExactDecimal, -3.75)


class RestatementSchema(Schema):
    """The changes of a restatement, or of its preview."""

    id = returned(ma.fields.Integer, 1, "`null` if nothing was changed.", nullable=True)
    organization_id = returned(ma.fields.Integer, 1)
    usage_type_id = returned(ma.fields.Integer, 100)
    start = returned(UtcDateTime, "2026-01-01T00:00:00Z", nullable=True)
    end = returned(UtcDateTime, "2027-01-01T00:00:00Z", nullable=True)
    region = returned(ma.fields.String, "GB", nullable=True)
    reason = returned(ma.fields.String, "The supplier has corrected its factors.")
    usage_count = returned(ma.fields.Integer, 744, "Changed usages.")
    before_kg = returned(ExactDecimal, 18.75)
    after_kg = returned(ExactDecimal, 15)
    difference_kg = returned(ExactDecimal, -3.75)
    difference_percent = returned(ExactDecimal, -20, "Percentage, to four digits.", nullable=True)
    significance_threshold = returned(ExactDecimal, 5, "Percentage, as it was set at that time.")
    significant = returned(ma.fields.Boolean, True, "Whether the difference reaches the threshold.")
    months = ma.fields.List(ma.fields.Nested(RestatedMonthSchema), required=True)
    recorded_at = returned(UtcDateTime, "2026-01-31T12:00:01Z")
    recorded_by = returned(ma.fields.Integer, 1)


class RestatementQuery(ListQuerySchema):
    start, end = time_range(Restatement.recorded_at)
    timezone = time_zone()
    usage_type_id = equal_to(Restatement.usage_type_id)
    sort = Sort(Restatement.recorded_at, Restatement.id, default="-recorded_at")

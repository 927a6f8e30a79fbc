"""Restatements in requests and responses."""

from functools import partial
from typing import Any

import marshmallow as ma
import sqlalchemy as sa

from ..rest import FilterSchema, ListQuerySchema, Schema, Sort, any_of, equal_to, time_range, time_zone
from ..rest.fields import ExactDecimal, Name, Region, StrictInteger, Text, UtcDateTime, optional, returned
from ..usages.models import Usage
from .models import Restatement

ONLY_REGION = "Only usages of this region. A country includes its subdivisions."
ONLY_SITE = "Only usages at this site and at the sites below it."


class NewRestatementSchema(Schema):
    """Which usages to restate, and why."""

    start = optional(UtcDateTime, description="Earliest usage_at, inclusive.")
    end = optional(UtcDateTime, description="Latest usage_at, exclusive.")
    region = optional(Region, description=f"{ONLY_REGION} Default: all.")
    site_id = StrictInteger(
        load_default=None,
        allow_none=True,
        metadata={"example": None, "description": f"{ONLY_SITE} Default: all."},
    )
    usage_type_ids = ma.fields.List(
        StrictInteger(),
        load_default=None,
        allow_none=True,
        validate=ma.validate.Length(1, 1000),
        metadata={"example": [100], "description": "Only usages of these usage types. Default: all."},
    )
    factor_set_id = StrictInteger(
        load_default=None,
        allow_none=True,
        metadata={
            "example": None,
            "description": "Only usages that would get a factor of this set, in any of their lines. Default: all.",
        },
    )
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


class ChangeSchema(Schema):
    """kg CO2e before and after a restatement, and the difference: location-based, and market-based."""

    before_kg = returned(ExactDecimal, 18.75)
    after_kg = returned(ExactDecimal, 15)
    difference_kg = returned(ExactDecimal, -3.75)
    market_before_kg = returned(ExactDecimal, 18.75)
    market_after_kg = returned(ExactDecimal, 15)
    market_difference_kg = returned(ExactDecimal, -3.75)


class RestatedMonthSchema(ChangeSchema):
    """The changes of a restatement in one month, in the time zone of the organization."""

    class Meta:
        fields = ("month", "usage_count", *ChangeSchema().fields)

    month = returned(ma.fields.String, "2026-01")
    usage_count = returned(ma.fields.Integer, 744, "Number of changed usages with a part in the month.")


class RestatedTypeSchema(ChangeSchema):
    """The changes of a restatement in one usage type."""

    class Meta:
        fields = ("id", "name", "unit", "usage_count", *ChangeSchema().fields, "months")

    id = returned(ma.fields.Integer, 100)
    name = returned(ma.fields.String, "electricity")
    unit = returned(ma.fields.String, "kwh")
    usage_count = returned(ma.fields.Integer, 744, "Changed usages.")
    months = ma.fields.List(ma.fields.Nested(RestatedMonthSchema), metadata={"description": "Its changes by month."})


class EffectSchema(ChangeSchema):
    """The changes that a restatement would make."""

    class Meta:
        fields = ("usage_count", *ChangeSchema().fields, "difference_percent", "significant", "months", "by_usage_type")

    usage_count = returned(ma.fields.Integer, 744, "Changed usages.")
    difference_percent = returned(ExactDecimal, -20, "Percentage, to four digits.", nullable=True)
    significant = returned(ma.fields.Boolean, True, "Whether a difference reaches the organization's threshold.")
    months = ma.fields.List(ma.fields.Nested(RestatedMonthSchema), required=True)
    by_usage_type = ma.fields.List(ma.fields.Nested(RestatedTypeSchema), required=True)


class RestatementSchema(EffectSchema):
    """The changes of a restatement, or of its preview."""

    class Meta:
        fields = (
            "id", "organization_id", "usage_type_ids", "factor_set_id", "start", "end", "region", "site_id", "reason",
            *EffectSchema.Meta.fields, "significance_threshold", "recorded_at", "recorded_by",
        )  # fmt: skip

    id = returned(ma.fields.Integer, 1, "`null` if nothing was changed.", nullable=True)
    organization_id = returned(ma.fields.Integer, 1)
    usage_type_ids = ma.fields.List(
        ma.fields.Integer(),
        required=True,
        allow_none=True,
        metadata={"example": [100], "description": "The usage types that were restated. `null`: all."},
    )
    factor_set_id = returned(ma.fields.Integer, None, "The factor set that was restated, if one was.", nullable=True)
    start = returned(UtcDateTime, "2026-01-01T00:00:00Z", nullable=True)
    end = returned(UtcDateTime, "2027-01-01T00:00:00Z", nullable=True)
    region = returned(ma.fields.String, "GB", nullable=True)
    site_id = returned(ma.fields.Integer, None, "The site that was restated, if one was.", nullable=True)
    reason = returned(ma.fields.String, "The supplier has corrected its factors.")
    significance_threshold = returned(ExactDecimal, 5, "Percentage, as it was set at that time.")
    recorded_at = returned(UtcDateTime, "2026-01-31T12:00:01Z")
    recorded_by = returned(ma.fields.Integer, 1)


class EffectQuery(FilterSchema):
    """The usages whose restatement is previewed."""

    start, end = time_range(Usage.usage_at)
    timezone = time_zone()
    region = Region(metadata={"description": f"{ONLY_REGION} Default: all.", "example": "GB"})
    site_id = StrictInteger(metadata={"description": f"{ONLY_SITE} Default: all."})


class RestatementQuery(ListQuerySchema):
    start, end = time_range(Restatement.recorded_at)
    timezone = time_zone()
    usage_type_id = any_of(
        lambda ids: sa.or_(*(sa.cast(id_, sa.BigInteger) == sa.any_(Restatement.usage_type_ids) for id_ in ids)),
        StrictInteger(),
        "Return only restatements of this usage type.",
    )
    factor_set_id = equal_to(Restatement.factor_set_id)
    site_id = equal_to(Restatement.site_id)
    sort = Sort(Restatement.recorded_at, Restatement.id, default="-recorded_at")

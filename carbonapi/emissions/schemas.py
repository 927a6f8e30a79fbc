"""What figures look like on the wire."""

import marshmallow as ma

from ..rest import Schema
from ..rest.fields import Figure, Instant
from ..usages.schemas import UsageFilter
from .adding import GROUPS
from .buckets import BUCKETS
from .comparison import COMPARISONS


class TrendQuery(UsageFilter):
    bucket = ma.fields.String(
        load_default="month",
        validate=ma.validate.OneOf(BUCKETS),
        metadata={"description": "How long a bucket is, in local time of `timezone`; weeks begin on Mondays."},
    )
    compare = ma.fields.String(
        validate=ma.validate.OneOf(COMPARISONS),
        metadata={"description": "Put the same buckets of the period or the year before beside them, as `previous`."},
    )
    group_by = ma.fields.String(
        validate=ma.validate.OneOf(GROUPS), metadata={"description": "Split each bucket by this."}
    )


class FiguresSchema(Schema):
    """What some usages add up to."""

    co2e_kg = Figure(required=True, metadata={"example": 18.75, "description": "The exact sum."})
    usage_count = ma.fields.Integer(
        required=True, metadata={"example": 1, "description": "How many usages have a part in it."}
    )
    amount = Figure(metadata={"example": 12.5, "description": "Only where all usages are of one usage type."})
    unit = ma.fields.String(metadata={"example": "kwh", "description": "The unit of `amount`."})


class GroupSchema(FiguresSchema):
    """The part of one usage type, user, scope or organization."""

    class Meta:
        fields = ("id", "name", "co2e_kg", "usage_count", "amount", "unit")

    id = ma.fields.Integer(
        required=True, allow_none=True, metadata={"example": 100, "description": "Of what it is grouped by; the scope."}
    )
    name = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"example": "electricity", "description": "null for no scope, and for a user who was deleted."},
    )


class SpanSchema(FiguresSchema):
    """What some usages add up to within a span of time."""

    coverage = Figure(
        required=True,
        allow_none=True,
        metadata={
            "example": 1,
            "description": "The share of the time that has data, rounded down to six digits; null of no time.",
        },
    )
    estimated_share = Figure(
        required=True,
        allow_none=True,
        metadata={
            "example": 0,
            "description": "The share of the CO2e that was estimated, to six digits; null of no CO2e.",
        },
    )


PER_DAY = {"example": 0.604839, "description": "With `compare`: of a day on average, to six digits; null of no time."}


class PreviousBucketSchema(SpanSchema):
    """The bucket that a bucket is compared with."""

    class Meta:
        fields = (
            "bucket_start", "bucket_end", "co2e_kg", "usage_count", "amount", "unit", "coverage", "estimated_share",
            "co2e_kg_per_day", "folded",
        )  # fmt: skip

    bucket_start = Instant(required=True, metadata={"example": "2025-01-01T00:00:00Z"})
    bucket_end = Instant(required=True, metadata={"example": "2025-02-01T00:00:00Z"})
    co2e_kg_per_day = Figure(required=True, allow_none=True, metadata=PER_DAY)
    folded = ma.fields.Boolean(
        required=True,
        metadata={"example": False, "description": "Whether 29 February was folded into it, or out."},
    )


class BucketSchema(SpanSchema):
    """One span of the trend, [bucket_start, bucket_end). An empty one is present, with a usage_count of 0."""

    class Meta:
        fields = (
            "bucket_start",
            "bucket_end",
            "co2e_kg",
            "usage_count",
            "amount",
            "unit",
            "coverage",
            "estimated_share",
            "partial",
            "groups",
            "co2e_kg_per_day",
            "previous",
        )

    bucket_start = Instant(required=True, metadata={"example": "2026-01-01T00:00:00Z"})
    bucket_end = Instant(required=True, metadata={"example": "2026-02-01T00:00:00Z"})
    partial = ma.fields.Boolean(  # type: ignore[assignment]  # The contract's word; an attribute of Schema too.
        required=True, metadata={"example": False, "description": "Whether the range asked for cuts the bucket."}
    )
    co2e_kg_per_day = Figure(metadata=PER_DAY)
    previous = ma.fields.Nested(
        PreviousBucketSchema, metadata={"description": "With `compare`: what it is compared with."}
    )
    groups = ma.fields.List(ma.fields.Nested(GroupSchema), metadata={"description": "With `group_by`: its parts."})


class ShareSchema(GroupSchema):
    """A part with its share of the whole."""

    class Meta:
        fields = (*GroupSchema.Meta.fields, "share")

    share = Figure(
        required=True, allow_none=True, metadata={"example": 1, "description": "Of the CO2e, to six digits; 0 to 1."}
    )


class SummarySchema(FiguresSchema):
    """What the usages add up to, and the parts, the largest first."""

    restatement_ids = ma.fields.List(
        ma.fields.Integer(),
        required=True,
        metadata={"example": [], "description": "The restatements by which some were booked."},
    )
    by_scope = ma.fields.List(ma.fields.Nested(ShareSchema), required=True)
    by_usage_type = ma.fields.List(ma.fields.Nested(ShareSchema), required=True)
    by_user = ma.fields.List(ma.fields.Nested(ShareSchema), required=True)

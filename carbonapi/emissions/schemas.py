"""What figures look like on the wire."""

import marshmallow as ma

from ..rest import Schema
from ..rest.fields import ExactDecimal, UtcDateTime, UtcDateTimeOrDate
from ..usages.schemas import UsageFilter
from .aggregation import GROUPS
from .buckets import BUCKETS
from .comparison import COMPARISONS
from .summary import BREAKDOWNS


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


class SummaryQuery(UsageFilter):
    by = ma.fields.List(
        ma.fields.String(validate=ma.validate.OneOf(BREAKDOWNS)),
        load_default=lambda: list(BREAKDOWNS),
        validate=ma.validate.Length(1, len(BREAKDOWNS)),
        metadata={
            "description": "By what the total is broken down; repeat it to mean several, by default all. Without "
            "`user`, an organization's whole is told at once, however many usages it has."
        },
    )


class BridgeQuery(UsageFilter):
    start = UtcDateTimeOrDate(
        required=True, metadata={"description": "The begin of the later range, included.", "example": "2026-01-01"}
    )
    end = UtcDateTimeOrDate(
        required=True, metadata={"description": "The end of the later range, not included.", "example": "2027-01-01"}
    )
    compare_start = UtcDateTimeOrDate(
        required=True, metadata={"description": "The begin of the earlier range, included.", "example": "2025-01-01"}
    )
    compare_end = UtcDateTimeOrDate(
        required=True, metadata={"description": "The end of the earlier range, not included.", "example": "2026-01-01"}
    )


class FiguresSchema(Schema):
    """What some usages add up to."""

    co2e_kg = ExactDecimal(required=True, metadata={"example": 18.75, "description": "The exact sum."})
    usage_count = ma.fields.Integer(
        required=True, metadata={"example": 1, "description": "How many usages have a part in it."}
    )
    amount = ExactDecimal(metadata={"example": 12.5, "description": "Only where all usages are of one usage type."})
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

    coverage = ExactDecimal(
        required=True,
        allow_none=True,
        metadata={
            "example": 1,
            "description": "The share of the time that has data, rounded down to six digits; null of no time.",
        },
    )
    estimated_share = ExactDecimal(
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

    bucket_start = UtcDateTime(required=True, metadata={"example": "2025-01-01T00:00:00Z"})
    bucket_end = UtcDateTime(required=True, metadata={"example": "2025-02-01T00:00:00Z"})
    co2e_kg_per_day = ExactDecimal(required=True, allow_none=True, metadata=PER_DAY)
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

    bucket_start = UtcDateTime(required=True, metadata={"example": "2026-01-01T00:00:00Z"})
    bucket_end = UtcDateTime(required=True, metadata={"example": "2026-02-01T00:00:00Z"})
    partial = ma.fields.Boolean(  # type: ignore[assignment]  # The contract's word; an attribute of Schema too.
        required=True, metadata={"example": False, "description": "Whether the range asked for cuts the bucket."}
    )
    co2e_kg_per_day = ExactDecimal(metadata=PER_DAY)
    previous = ma.fields.Nested(
        PreviousBucketSchema, metadata={"description": "With `compare`: what it is compared with."}
    )
    groups = ma.fields.List(ma.fields.Nested(GroupSchema), metadata={"description": "With `group_by`: its parts."})


class ContributionSchema(GroupSchema):
    """A part with its share of the whole."""

    class Meta:
        fields = (*GroupSchema.Meta.fields, "share")

    share = ExactDecimal(
        required=True, allow_none=True, metadata={"example": 1, "description": "Of the CO2e, to six digits; 0 to 1."}
    )


class SummarySchema(FiguresSchema):
    """What the usages add up to, and the parts, the largest first."""

    restatement_ids = ma.fields.List(
        ma.fields.Integer(),
        required=True,
        metadata={"example": [], "description": "The restatements by which some were booked."},
    )
    by_scope = ma.fields.List(
        ma.fields.Nested(ContributionSchema), metadata={"description": "Only if it is asked for."}
    )
    by_usage_type = ma.fields.List(
        ma.fields.Nested(ContributionSchema), metadata={"description": "Only if it is asked for."}
    )
    by_user = ma.fields.List(ma.fields.Nested(ContributionSchema), metadata={"description": "Only if it is asked for."})


class DifferenceSchema(Schema):
    """Two totals, and why the later one differs: the five parts add up to the difference, exactly."""

    before_kg = ExactDecimal(required=True, metadata={"example": 100, "description": "kg CO2e of the earlier range."})
    after_kg = ExactDecimal(required=True, metadata={"example": 90, "description": "kg CO2e of the later range."})
    difference_kg = ExactDecimal(required=True, metadata={"example": -10})
    activity_kg = ExactDecimal(
        required=True, metadata={"example": 20, "description": "More or less was used, at what a unit caused before."}
    )
    factor_kg = ExactDecimal(
        required=True, metadata={"example": -30, "description": "A unit causes more or less, on average."}
    )
    restated_kg = ExactDecimal(
        required=True, metadata={"example": 0, "description": "Restatements have changed it since it was booked."}
    )
    started_kg = ExactDecimal(
        required=True, metadata={"example": 0, "description": "Usage types that only the later range has."}
    )
    ended_kg = ExactDecimal(
        required=True, metadata={"example": 0, "description": "Usage types that only the earlier range has."}
    )


class TypeBridgeSchema(DifferenceSchema):
    """Why the emissions of one usage type changed."""

    class Meta:
        fields = ("id", "name", "unit", "before_amount", "after_amount", *DifferenceSchema().fields)

    id = ma.fields.Integer(required=True, metadata={"example": 100})
    name = ma.fields.String(required=True, metadata={"example": "electricity"})
    unit = ma.fields.String(required=True, metadata={"example": "kwh", "description": "Of the amounts."})
    before_amount = ExactDecimal(required=True, metadata={"example": 50})
    after_amount = ExactDecimal(required=True, metadata={"example": 60})


class BridgeSchema(DifferenceSchema):
    """Why emissions changed from one range to another."""

    class Meta:
        fields = (*DifferenceSchema().fields, "restatement_ids", "by_usage_type")

    restatement_ids = ma.fields.List(
        ma.fields.Integer(),
        required=True,
        metadata={"example": [], "description": "The restatements by which some usages of either range were booked."},
    )
    by_usage_type = ma.fields.List(
        ma.fields.Nested(TypeBridgeSchema),
        required=True,
        metadata={"description": "The same of each usage type; the one that changed most comes first."},
    )

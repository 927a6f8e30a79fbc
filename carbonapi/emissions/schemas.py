"""Request and response schemas of figures."""

from typing import Any

import marshmallow as ma

from ..catalogue.models import DEFAULT_METHOD, GWP_SETS
from ..catalogue.schemas import method
from ..rest import Schema
from ..rest.fields import ExactDecimal, UtcDateTime, UtcDateTimeOrDate, returned
from ..sites.ownership import APPROACHES
from ..usages.schemas import UsageFilter
from .aggregation import GROUPS, Figures
from .buckets import BUCKETS
from .comparison import COMPARISONS
from .summary import BREAKDOWNS, DEFAULT_BREAKDOWNS


class FiguresQuery(UsageFilter):
    """The filters of figures, and their method."""

    method = method(
        load_default=DEFAULT_METHOD,
        metadata={
            "example": DEFAULT_METHOD,
            "description": "Which number of purchased energy (scope 2) `co2e_kg` has: `location`, the average of the "
            "grid, or `market`, the contract of the supplier. Everything else is the same in both.",
        },
    )


class ConvertibleQuery(FiguresQuery):
    gwp = ma.fields.String(
        validate=ma.validate.OneOf(GWP_SETS),
        metadata={
            "description": "Convert the gases of the emission factors to the global warming potentials of this "
            "assessment report of the IPCC. The recorded numbers stay as they are. `unconverted_co2e_kg` is the part "
            "whose factors name no gases or no assessment report."
        },
    )

    consolidation = ma.fields.String(
        validate=ma.validate.OneOf(APPROACHES),
        metadata={
            "description": "Count each site by the shares of ownership on its path: by `equity_share`, or entirely if "
            "under `financial_control` or `operational_control`. By default, every site counts entirely."
        },
    )


class TrendQuery(ConvertibleQuery):
    bucket = ma.fields.String(
        load_default="month",
        validate=ma.validate.OneOf(BUCKETS),
        metadata={"description": "Length of a bucket, in the local time of `timezone`. Weeks begin on Mondays."},
    )
    compare = ma.fields.String(
        validate=ma.validate.OneOf(COMPARISONS),
        metadata={"description": "Add the same bucket of the previous period or year to each bucket, as `previous`."},
    )
    group_by = ma.fields.String(
        validate=ma.validate.OneOf(GROUPS), metadata={"description": "Split each bucket into groups."}
    )


class SummaryQuery(ConvertibleQuery):
    by = ma.fields.List(
        ma.fields.String(validate=ma.validate.OneOf(BREAKDOWNS)),
        load_default=lambda: list(DEFAULT_BREAKDOWNS),
        validate=ma.validate.Length(1, len(BREAKDOWNS)),
        metadata={
            "description": "Breakdown of the total. Repeat it for several; by default "
            f"{', '.join(DEFAULT_BREAKDOWNS)}. "
            "Without `user`, `site`, `meter` and `region`, the response time does not depend on the number of usages."
        },
    )


class BridgeQuery(FiguresQuery):
    start = returned(UtcDateTimeOrDate, "2026-01-01", "Start of the later range, inclusive.")
    end = returned(UtcDateTimeOrDate, "2027-01-01", "End of the later range, exclusive.")
    compare_start = returned(UtcDateTimeOrDate, "2025-01-01", "Start of the earlier range, inclusive.")
    compare_end = returned(UtcDateTimeOrDate, "2026-01-01", "End of the earlier range, exclusive.")


class FiguresSchema(Schema):
    """The sum of usages."""

    co2e_kg = returned(ExactDecimal, 18.75, "The exact sum, by the `method` of the request.")
    location_co2e_kg = returned(ExactDecimal, 18.75, "The exact location-based sum.")
    market_co2e_kg = returned(ExactDecimal, 18.75, "The exact market-based sum.")
    provisional_co2e_kg = returned(
        ExactDecimal, 0, "The part of `co2e_kg` of usages whose emission factor had ended before them."
    )
    usage_count = returned(ma.fields.Integer, 1, "Number of usages that are part of the sum.")
    unconverted_co2e_kg = ExactDecimal(
        metadata={"example": 0, "description": "With `gwp`: the part of `co2e_kg` that could not be converted."}
    )
    amount = ExactDecimal(
        metadata={"example": 12.5, "description": "Sum of the amounts, if all usages are of one usage type."}
    )
    unit = ma.fields.String(metadata={"example": "kwh", "description": "Unit of `amount`."})

    def get_attribute(self, obj: Figures, attr: str, default: Any) -> Any:
        # By default, marshmallow also looks for attributes of objects, which takes a fifth of the time of a trend.
        return obj.get(attr, default)


class GroupSchema(FiguresSchema):
    """The sum of one usage type, user, scope, category, site, meter, region or organization."""

    class Meta:
        fields = (
            "id", "name", "co2e_kg", "location_co2e_kg", "market_co2e_kg", "provisional_co2e_kg", "usage_count",
            "unconverted_co2e_kg", "amount", "unit",
        )  # fmt: skip

    id = returned(
        ma.fields.Integer,
        100,
        "ID of the group, or the number of the scope. `null` for a category or region.",
        nullable=True,
    )
    name = returned(
        ma.fields.String,
        "electricity",
        "Name of the group. `null` without a scope, category, site, meter or region, and for a deleted user.",
        nullable=True,
    )


class SpanSchema(FiguresSchema):
    """The sum of usages within a span of time."""

    coverage = returned(
        ExactDecimal,
        1,
        "Share of the time that has data, rounded down to six digits. `null` without time.",
        nullable=True,
    )
    estimated_share = returned(
        ExactDecimal, 0, "Estimated share of the CO2e, to six digits. `null` if there is no CO2e.", nullable=True
    )


SPAN_FIELDS = (
    "bucket_start", "bucket_end", "co2e_kg", "location_co2e_kg", "market_co2e_kg", "provisional_co2e_kg", "usage_count",
    "unconverted_co2e_kg", "amount", "unit", "coverage", "estimated_share",
)  # fmt: skip
PER_DAY = {
    "example": 0.604839,
    "description": "With `compare`: average kg CO2e per day, to six digits. `null` if the bucket has no time.",
}


class PreviousBucketSchema(SpanSchema):
    """The earlier bucket that a bucket is compared with."""

    class Meta:
        fields = (*SPAN_FIELDS, "co2e_kg_per_day", "folded")

    bucket_start = returned(UtcDateTime, "2025-01-01T00:00:00Z")
    bucket_end = returned(UtcDateTime, "2025-02-01T00:00:00Z")
    co2e_kg_per_day = ExactDecimal(required=True, allow_none=True, metadata=PER_DAY)
    folded = returned(ma.fields.Boolean, False, "Whether 29 February is folded into or out of the bucket.")


class BucketSchema(SpanSchema):
    """A bucket of the trend, [bucket_start, bucket_end). An empty bucket has a usage_count of 0."""

    class Meta:
        fields = (*SPAN_FIELDS, "partial", "groups", "co2e_kg_per_day", "previous")

    bucket_start = returned(UtcDateTime, "2026-01-01T00:00:00Z")
    bucket_end = returned(UtcDateTime, "2026-02-01T00:00:00Z")
    # The name in the API; marshmallow's Schema has an attribute of this name too.
    partial = returned(ma.fields.Boolean, False, "Whether `start` or `end` cuts the bucket.")  # type: ignore[assignment]
    co2e_kg_per_day = ExactDecimal(metadata=PER_DAY)
    previous = ma.fields.Nested(PreviousBucketSchema, metadata={"description": "With `compare`: the earlier bucket."})
    groups = ma.fields.List(ma.fields.Nested(GroupSchema), metadata={"description": "With `group_by`: the groups."})


class ContributionSchema(GroupSchema):
    """A group with its share of the total."""

    class Meta:
        fields = (*GroupSchema.Meta.fields, "share")

    share = returned(ExactDecimal, 1, "Share of the CO2e, 0 to 1, to six digits.", nullable=True)


def _restatement_ids() -> ma.fields.List[Any]:
    return ma.fields.List(
        ma.fields.Integer(),
        required=True,
        metadata={"example": [], "description": "Restatements that set the factor of some of the usages."},
    )


def _breakdown() -> ma.fields.List[Any]:
    described = {"description": "Only if `by` includes it."}
    return ma.fields.List(ma.fields.Nested(ContributionSchema), metadata=described)


class SummarySchema(FiguresSchema):
    """The total of usages, and its breakdowns, largest group first."""

    restatement_ids = _restatement_ids()
    by_scope = _breakdown()
    by_category = _breakdown()
    by_usage_type = _breakdown()
    by_user = _breakdown()
    by_site = _breakdown()
    by_meter = _breakdown()
    by_region = _breakdown()


class DifferenceSchema(Schema):
    """Two totals and the five parts of their difference, which add up to it exactly."""

    before_kg = returned(ExactDecimal, 100, "kg CO2e of the earlier range.")
    after_kg = returned(ExactDecimal, 90, "kg CO2e of the later range.")
    difference_kg = returned(ExactDecimal, -10)
    activity_kg = returned(ExactDecimal, 20, "Change of the amount, at the earlier average kg CO2e per unit.")
    factor_kg = returned(ExactDecimal, -30, "Change of the average kg CO2e per unit.")
    restated_kg = returned(ExactDecimal, 0, "Change by restatements since the usages were recorded.")
    started_kg = returned(ExactDecimal, 0, "Usage types with usages in the later range only.")
    ended_kg = returned(ExactDecimal, 0, "Usage types with usages in the earlier range only.")


class TypeBridgeSchema(DifferenceSchema):
    """The change of the emissions of one usage type."""

    class Meta:
        fields = ("id", "name", "unit", "before_amount", "after_amount", *DifferenceSchema().fields)

    id = returned(ma.fields.Integer, 100)
    name = returned(ma.fields.String, "electricity")
    unit = returned(ma.fields.String, "kwh", "Unit of the amounts.")
    before_amount = returned(ExactDecimal, 50)
    after_amount = returned(ExactDecimal, 60)


class BridgeSchema(DifferenceSchema):
    """The change of emissions from one range to another."""

    class Meta:
        fields = (*DifferenceSchema().fields, "restatement_ids", "by_usage_type")

    restatement_ids = _restatement_ids()
    by_usage_type = ma.fields.List(
        ma.fields.Nested(TypeBridgeSchema),
        required=True,
        metadata={"description": "The same figures for each usage type, largest change first."},
    )


def _share_of_time(description: str) -> Any:
    return returned(ExactDecimal, 1, description, nullable=True)


class GapSchema(Schema):
    """A span without data."""

    starts_at = returned(UtcDateTime, "2026-06-01T00:00:00Z")
    ends_at = returned(UtcDateTime, "2026-07-01T00:00:00Z")


class CoveredMonthSchema(GapSchema):
    """A month of local time, or the part of it in the range."""

    class Meta:
        fields = ("starts_at", "ends_at", "coverage")

    coverage = _share_of_time("Share of the expected time that has data. `null` if none is expected.")


class CoveredSeriesSchema(Schema):
    """The coverage of a meter, or of the usages of a type at a site without a meter."""

    usage_type_id = returned(ma.fields.Integer, 100)
    usage_type_name = returned(ma.fields.String, "electricity", nullable=True)
    site_id = returned(ma.fields.Integer, 1, nullable=True)
    site_name = returned(ma.fields.String, "Berlin", nullable=True)
    meter_id = returned(ma.fields.Integer, 1, nullable=True)
    meter_name = returned(ma.fields.String, "Main", nullable=True)
    coverage = _share_of_time("Share of the expected time that has data, rounded down to six digits.")
    months = ma.fields.List(ma.fields.Nested(CoveredMonthSchema), required=True)
    gaps = ma.fields.List(ma.fields.Nested(GapSchema), required=True)


class CoverageReportSchema(Schema):
    """The coverage of all series, lowest first."""

    coverage = _share_of_time("Mean of the series, weighted by the time in which each should have data.")
    mean_of_months = _share_of_time("Mean of the months of all series, each of the same weight.")
    expected_months = returned(ma.fields.Integer, 24, "Number of months of all series in which data is expected.")
    complete_months = returned(ma.fields.Integer, 24, "Number of these months without a gap.")
    series = ma.fields.List(ma.fields.Nested(CoveredSeriesSchema), required=True)

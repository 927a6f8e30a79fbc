"""Views of emissions: trend, summary and bridge."""

from functools import partial
from typing import Any

from flask.views import MethodView

from ..rest import Blueprint
from ..usages.schemas import UsageFilter
from .bridge import bridge
from .coverage_report import coverage_report
from .schemas import (
    BridgeQuery,
    BridgeSchema,
    BucketSchema,
    CoverageReportSchema,
    SummaryQuery,
    SummarySchema,
    TrendQuery,
)
from .series import expectation
from .service import UsageSelection
from .summary import summary
from .trend import trend

emissions = Blueprint(
    "Emissions",
    __name__,
    url_prefix="/api/v1/emissions",
    description="Exact totals of usages: over time, by group, and the reasons for the difference between two times.",
)

coverage = Blueprint(
    "Coverage", __name__, url_prefix="/api/v1/coverage", description="Gaps in the data, by meter and site."
)


@emissions.route("/trend")
class Trend(MethodView):
    @emissions.get(BucketSchema(many=True), TrendQuery)
    def get(self, narrow: Any) -> Any:
        """Get the trend

        Returns the kg CO2e of each bucket of local time, oldest first, including empty buckets. Without `start` and
        `end`, the range is from the first usage to the last. Days of 23 and 25 hours are exact. With `compare`, each
        bucket also has the same bucket of the previous period or year, and the average per day. For the previous year,
        29 February is folded into 28 February, and the affected buckets are marked `folded`.

        A usage with `usage_until` is spread evenly over its seconds. Each bucket gets the part within it, exact to the
        twelfth decimal digit of the amount, and the parts add up to the whole.

        `coverage` is the share of the bucket's time that has data, as the mean of the series: the meters, and the
        usages of a type at a site without a meter; those in the filters, or all that have usages within 62 days of the
        range. Each counts by the time in which it should have data. See `/coverage` for the gaps. It is computed by
        hours of the local clock. An interval covers the hours that it overlaps. A reading (a usage at an instant)
        covers the time from its hour until the next reading is due. If the type has readings in several hours of the
        median day, that is after the usual step between two of them, in whole hours. Otherwise it is the same hour of
        a later day, after the median gap between two days with readings; a gap of 28 to 31 days counts as a month, of
        89 to 92 days as a quarter, of 365 or 366 days as a year. Readings in a single hour of a single day cover no
        time. Adjustments are not readings. In a bucket that the range cuts, the time outside counts as missing. To see
        the gaps of one user, filter by `user_id`.
        """
        asked = narrow.arguments
        return trend(
            UsageSelection.of(narrow),
            asked["bucket"],
            narrow.timezone,
            narrow.start,
            narrow.end,
            asked.get("group_by"),
            asked.get("compare"),
            partial(expectation, narrow),
        )


@coverage.route("")
class Coverage(MethodView):
    @coverage.get(CoverageReportSchema, UsageFilter)
    def get(self, narrow: Any) -> Any:
        """Get the coverage

        Returns the share of the time that has data, and the gaps, of each series: a meter, or the usages of a type at a
        site without a meter. It is computed like `coverage` of the trend. A meter should have data within its validity,
        even if it has none at all, unless a filter other than `usage_type_id`, `site_id` and `meter_id` selects some of
        its usages. Without `start` and `end`, the range is from the first usage to the last.
        """
        return coverage_report(
            UsageSelection.of(narrow), partial(expectation, narrow), narrow.timezone, narrow.start, narrow.end
        )


@emissions.route("/summary")
class Summary(MethodView):
    @emissions.get(SummarySchema, SummaryQuery)
    def get(self, narrow: Any) -> Any:
        """Get the summary

        Returns the total of the selected usages, and its groups by scope, category, usage type and user with their
        shares. An interval that the range cuts counts with its part within the range.
        """
        return summary(UsageSelection.of(narrow), narrow.start, narrow.end, narrow.arguments["by"])


@emissions.route("/bridge")
class Bridge(MethodView):
    @emissions.get(BridgeSchema, BridgeQuery)
    def get(self, narrow: Any) -> Any:
        """Get the bridge

        Returns the change of emissions from [compare_start, compare_end) to [start, end), in parts that add up to the
        difference exactly. Each usage type is divided by itself, on the numbers as they were first recorded. A type
        that has usages in only one of the ranges is `started` or `ended`. For the others, `activity` is the change of
        the amount at the earlier average kg CO2e per unit, rounded to the twelfth decimal digit, and `factor` is the
        rest: the change of the average, which includes a different mix of regions or months. `restated` is the change
        by restatements since, of both ranges.
        """
        asked = narrow.arguments
        before, after = (asked["compare_start"], asked["compare_end"]), (asked["start"], asked["end"])
        return bridge(UsageSelection.of(narrow), before, after)

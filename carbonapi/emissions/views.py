"""Emissions over time and in total."""

from typing import Any

from flask.views import MethodView

from ..rest import Blueprint
from .bridge import bridge
from .figures_query import UsageSelection
from .schemas import BridgeQuery, BridgeSchema, BucketSchema, SummaryQuery, SummarySchema, TrendQuery
from .summary import summary
from .trend import trend

emissions = Blueprint(
    "Emissions",
    __name__,
    url_prefix="/api/v1/emissions",
    description="What the usages add up to, exactly: by time, by kind, and why one time differs from another.",
)


@emissions.route("/trend")
class Trend(MethodView):
    @emissions.get(BucketSchema(many=True), TrendQuery)
    def get(self, narrow: Any) -> Any:
        """Get the trend

        The kg CO2e of each bucket of local time, oldest first. Every bucket of [start, end) is there, also the empty
        ones; without start or end it reaches from the first usage to the last. Days of 23 and 25 hours are right.
        `compare` puts the same buckets of a period or a year before beside them, with what a day was on average. A year
        before, 29 February is folded into the 28th: the buckets that this touches are marked `folded`.

        A usage with `usage_until` is spread evenly over its seconds: every bucket gets the part that lies within it,
        exact to the twelfth digit of the amount, and the parts add up to the whole.

        `coverage` is the share of the bucket's time for which there is data, as the mean of the usage types: those
        asked for with `usage_type_id`, or all that have usages within 62 days of the range. It is told by the hours of
        the local clock. A type has data for every hour that a period of it has a part of, and from the hour of a
        reading, a usage at an instant, for as long as is usual within 62 days of the range. If the type is read in
        several hours of the median day, that is the step between two of them, on the median day, in whole hours. If
        not, it is until the same hour of another day: as many days later as lie between two days with readings, on the
        median; 28 to 31 days count as a month, 89 to 92 as a quarter, 365 and 366 as a year. What is read in a single
        hour lasts no time. Whose data it is makes no difference: narrow by `user_id` to see one user's gaps. Of a
        bucket that the range cuts, what lies outside counts as missing. Adjustments are no readings.
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
            len(set(asked["usage_type_id"])) if "usage_type_id" in asked else None,
        )


@emissions.route("/summary")
class Summary(MethodView):
    @emissions.get(SummarySchema, SummaryQuery)
    def get(self, narrow: Any) -> Any:
        """Get the summary

        The total of the usages asked for, and its parts by scope, usage type and user with their shares. Of a period
        that the range cuts, the part within is counted.
        """
        return summary(UsageSelection.of(narrow), narrow.start, narrow.end, narrow.arguments["by"])


@emissions.route("/bridge")
class Bridge(MethodView):
    @emissions.get(BridgeSchema, BridgeQuery)
    def get(self, narrow: Any) -> Any:
        """Get the bridge

        Why emissions changed from [compare_start, compare_end) to [start, end), in parts that add up to the difference
        exactly. One thing is exchanged after another, for each usage type by itself, on the numbers as they were first
        booked. A type that has usages in only one of the ranges has `started` or `ended`. Of the others, first the
        amount becomes the later one, while a unit causes what it caused before on average: `activity`, rounded to the
        twelfth digit. Then a unit causes what it causes now: `factor`, all that is left; another mix of regions or
        months that have different factors shows there too. Last, `restated` is what restatements have changed since, of
        either range.
        """
        asked = narrow.arguments
        before, after = (asked["compare_start"], asked["compare_end"]), (asked["start"], asked["end"])
        return bridge(UsageSelection.of(narrow), before, after)

"""Emissions over time and in total."""

from typing import Any

from flask.views import MethodView

from ..access import visible
from ..rest import Blueprint
from ..usages.models import Usage
from ..usages.schemas import UsageFilter
from .schemas import BucketSchema, SummarySchema, TrendQuery
from .summary import summary
from .trend import trend

emissions = Blueprint(
    "Emissions", __name__, url_prefix="/api/v1/emissions", description="What the usages add up to, exactly."
)


@emissions.route("/trend")
class Trend(MethodView):
    @emissions.reading(BucketSchema(many=True), TrendQuery)
    def get(self, narrow: Any) -> Any:
        """Get the trend

        The kg CO2e of each bucket of local time, oldest first. Every bucket of [start, end) is there, also the empty
        ones; without start or end it reaches from the first usage to the last. Days of 23 and 25 hours are right.
        `compare` puts the same buckets of a period or a year before beside them, with what a day was on average. A year
        before, 29 February is folded into the 28th: the buckets that this touches are marked `folded`.
        """
        asked = narrow.arguments
        return trend(
            narrow.unbounded(visible(Usage)),
            asked["bucket"],
            narrow.timezone,
            narrow.start,
            narrow.end,
            asked.get("group_by"),
            asked.get("compare"),
        )


@emissions.route("/summary")
class Summary(MethodView):
    @emissions.reading(SummarySchema, UsageFilter)
    def get(self, narrow: Any) -> Any:
        """Get the summary

        The total of the usages asked for, and its parts by scope, usage type and user with their shares.
        """
        return summary(narrow(visible(Usage)))

"""Close and reopen accounting periods."""

from typing import Any

from flask.views import MethodView

from ..auth import MANAGERS, get_visible, visible
from ..rest import Blueprint, now, requires
from .models import ClosedPeriod
from .schemas import ClosedPeriodQuery, ClosedPeriodSchema, NewClosedPeriodSchema, ReopenSchema
from .service import close, reopen

closed_periods = Blueprint(
    "Closed periods",
    __name__,
    description="Closed accounting periods. Their usages cannot change unless the period is reopened for a reason.",
)


@closed_periods.route("/closed-periods")
class ClosedPeriods(MethodView):
    @closed_periods.list(ClosedPeriodSchema, ClosedPeriodQuery)
    def get(self, narrow: Any) -> Any:
        """List closed periods

        Returns closed and reopened periods, the latest end first.
        """
        return narrow(visible(ClosedPeriod))

    @closed_periods.post(NewClosedPeriodSchema, ClosedPeriodSchema)
    @requires(MANAGERS)
    def post(self, fields: dict[str, Any]) -> ClosedPeriod:
        """Close a period

        Closes the period of your organization before `until`: usages with an earlier `usage_at` can no longer be
        recorded, corrected or deleted (409). Restatements remain possible, and so do adjustments: later usages that
        refer to the period.
        """
        return close(now(), **fields)


@closed_periods.route("/closed-periods/<int:closed_period_id>")
class ClosedPeriodById(MethodView):
    @closed_periods.get(ClosedPeriodSchema)
    def get(self, closed_period_id: int) -> ClosedPeriod:
        """Get a closed period

        Returns its end, and whether it was reopened.
        """
        return get_visible(ClosedPeriod, closed_period_id)


@closed_periods.route("/closed-periods/<int:closed_period_id>/reopen")
class ClosedPeriodReopen(MethodView):
    @closed_periods.post(ReopenSchema, ClosedPeriodSchema, 200)
    @requires(MANAGERS)
    def post(self, fields: dict[str, Any], closed_period_id: int) -> ClosedPeriod:
        """Reopen a period

        Requires a reason. The closing and the reopening remain on record.
        """
        return reopen(get_visible(ClosedPeriod, closed_period_id, lock=True), now(), fields["reason"])

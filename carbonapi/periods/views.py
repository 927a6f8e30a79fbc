"""Closing and reopening the books."""

from typing import Any

from flask.views import MethodView

from ..auth import MANAGERS, get_visible, visible
from ..rest import Blueprint, now
from .models import ClosedPeriod
from .schemas import ClosedPeriodQuery, ClosedPeriodSchema, NewClosedPeriodSchema, ReopenSchema
from .service import close, reopen

closed_periods = Blueprint(
    "Closed periods",
    __name__,
    description="Closed books: up to an instant, what is recorded stays as it is, unless it is reopened for a reason.",
)


@closed_periods.route("/closed-periods")
class ClosedPeriods(MethodView):
    @closed_periods.listing(ClosedPeriodSchema, ClosedPeriodQuery)
    def get(self, narrow: Any) -> Any:
        """List closed periods

        Up to when the books were closed, by whom, and whether they were reopened.
        """
        return narrow(visible(ClosedPeriod))

    @closed_periods.writing(
        NewClosedPeriodSchema, ClosedPeriodSchema, 201, roles=MANAGERS, conflicts=True, tagged=False
    )
    def post(self, fields: dict[str, Any]) -> ClosedPeriod:
        """Close a period

        Closes your organization's books up to an instant: recording, correcting or deleting an earlier usage is 409
        from then on. Restatements remain possible, and adjustments: usages dated later that name the period.
        """
        return close(now(), **fields)


@closed_periods.route("/closed-periods/<int:closed_period_id>")
class ClosedPeriodById(MethodView):
    @closed_periods.reading(ClosedPeriodSchema)
    def get(self, closed_period_id: int) -> ClosedPeriod:
        """Get a closed period

        Up to when the books were closed, and whether they were reopened.
        """
        return get_visible(ClosedPeriod, closed_period_id)


@closed_periods.route("/closed-periods/<int:closed_period_id>/reopen")
class ClosedPeriodReopen(MethodView):
    @closed_periods.writing(ReopenSchema, ClosedPeriodSchema, roles=MANAGERS, conflicts=True, tagged=False)
    def post(self, fields: dict[str, Any], closed_period_id: int) -> ClosedPeriod:
        """Reopen a period

        For a reason, which stays on record, as does that it was closed.
        """
        return reopen(get_visible(ClosedPeriod, closed_period_id, lock=True), now(), fields["reason"])

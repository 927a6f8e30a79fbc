"""Closing and reopening the books."""

from typing import Any

from flask.views import MethodView

from ..auth import MANAGERS, fetch, visible
from ..rest import Blueprint, now
from .models import Period
from .schemas import NewPeriodSchema, PeriodQuery, PeriodSchema, ReopeningSchema
from .service import close, reopen

periods = Blueprint(
    "Periods",
    __name__,
    description="Closed books: up to an instant, what is recorded stays as it is, unless it is reopened for a reason.",
)


@periods.route("/periods")
class Periods(MethodView):
    @periods.listing(PeriodSchema, PeriodQuery)
    def get(self, narrow: Any) -> Any:
        """List periods

        Up to when the books were closed, by whom, and whether they were reopened.
        """
        return narrow(visible(Period))

    @periods.writing(NewPeriodSchema, PeriodSchema, 201, roles=MANAGERS, conflicts=True, tagged=False)
    def post(self, fields: dict[str, Any]) -> Period:
        """Close a period

        Closes your organization's books up to an instant: recording, correcting or deleting an earlier usage is 409
        from then on. Restatements remain possible, and adjustments: usages dated later that name the period.
        """
        return close(now(), **fields)


@periods.route("/periods/<int:period_id>")
class PeriodById(MethodView):
    @periods.reading(PeriodSchema)
    def get(self, period_id: int) -> Period:
        """Get a period

        Up to when the books were closed, and whether they were reopened.
        """
        return fetch(Period, period_id)


@periods.route("/periods/<int:period_id>/reopen")
class Reopening(MethodView):
    @periods.writing(ReopeningSchema, PeriodSchema, roles=MANAGERS, conflicts=True, tagged=False)
    def post(self, fields: dict[str, Any], period_id: int) -> Period:
        """Reopen a period

        For a reason, which stays on record, as does that it was closed.
        """
        return reopen(fetch(Period, period_id, lock=True), now(), fields["reason"])

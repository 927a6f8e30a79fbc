"""Restating what was recorded, and reading what was restated."""

from typing import Any

from flask.views import MethodView

from ..auth import MANAGERS, get_visible, visible
from ..rest import Blueprint, now
from .models import Restatement
from .schemas import NewRestatementSchema, RestatementQuery, RestatementSchema
from .service import restate

restatements = Blueprint(
    "Restatements",
    __name__,
    description="Booking usages anew when factors have changed: first previewed, then applied, in the open.",
)


@restatements.route("/restatements")
class Restatements(MethodView):
    @restatements.listing(RestatementSchema, RestatementQuery)
    def get(self, narrow: Any) -> Any:
        """List restatements

        What was booked anew, newest first. `GET /usages?restatement_id=` has the usages of one.
        """
        return narrow(visible(Restatement))

    @restatements.writing(NewRestatementSchema, RestatementSchema, 201, roles=MANAGERS, tagged=False)
    @restatements.alt_response(200, schema=RestatementSchema, description="What would change: nothing was booked.")
    def post(self, fields: dict[str, Any]) -> Restatement:
        """Restate usages

        Books the usages of your organization anew with the factors that the catalogue has now for their time, region
        and method. `preview` shows before, after and the difference by month; `apply` books it as one act, in new
        versions that name the restatement. Applying twice changes nothing.
        """
        return restate(now(), **fields)


@restatements.route("/restatements/<int:restatement_id>")
class RestatementById(MethodView):
    @restatements.reading(RestatementSchema)
    def get(self, restatement_id: int) -> Restatement:
        """Get a restatement

        What it changed by month, why, and by whom.
        """
        return get_visible(Restatement, restatement_id)

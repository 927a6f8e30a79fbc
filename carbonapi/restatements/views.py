"""Create and read restatements."""

from typing import Any

from flask.views import MethodView

from ..auth import MANAGERS, get_visible, visible
from ..rest import Blueprint, now, requires
from .models import Restatement
from .schemas import NewRestatementSchema, RestatementQuery, RestatementSchema
from .service import restate

restatements = Blueprint(
    "Restatements",
    __name__,
    description="Recalculations of usages with changed emission factors: first a preview, then a documented change.",
)


@restatements.route("/restatements")
class Restatements(MethodView):
    @restatements.list(RestatementSchema, RestatementQuery)
    def get(self, narrow: Any) -> Any:
        """List restatements

        Returns applied restatements, newest first. `GET /usages?restatement_id=` returns the usages of one.
        """
        return narrow(visible(Restatement))

    @restatements.post(NewRestatementSchema, RestatementSchema)
    @requires(MANAGERS)
    @restatements.alt_response(200, schema=RestatementSchema, description="A preview: nothing was changed.")
    def post(self, fields: dict[str, Any]) -> Restatement:
        """Restate usages

        Recalculates usages of your organization with the current factors for their time, region and method. `preview`
        returns the kg CO2e before and after, and the difference by month. `apply` makes the changes at once: each usage
        gets a new version that refers to the restatement. Applying a restatement twice changes nothing.
        """
        return restate(now(), **fields)


@restatements.route("/restatements/<int:restatement_id>")
class RestatementById(MethodView):
    @restatements.get(RestatementSchema)
    def get(self, restatement_id: int) -> Restatement:
        """Get a restatement

        Returns its changes by month, its reason and its author.
        """
        return get_visible(Restatement, restatement_id)

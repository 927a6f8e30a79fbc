"""Create and read restatements."""

from typing import Any

from flask.views import MethodView

from ..auth import MANAGERS, get_visible, visible
from ..catalogue.models import FactorSet
from ..rest import Blueprint, now, requires
from .models import Restatement
from .schemas import EffectQuery, EffectSchema, NewRestatementSchema, RestatementQuery, RestatementSchema
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

        Recalculates usages of your organization with the current factors for their time and region: those of some usage
        types, those that a factor set changes, or all. `preview` returns the kg CO2e before and after, and the
        difference by month and usage type. `apply` makes the changes at once: each usage gets a new version that refers
        to the restatement. Applying a restatement twice changes nothing.
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


@restatements.route("/factor-sets/<int:factor_set_id>/effect")
class Effect(MethodView):
    @restatements.get(EffectSchema, EffectQuery)
    def get(self, narrow: Any, factor_set_id: int) -> Restatement:
        """Get the effect of a factor set

        Returns what a restatement with this `factor_set_id` would change in your organization: the usages that would
        get a factor of the set, with the kg CO2e before and after. Nothing is changed.
        """
        factor_set = get_visible(FactorSet, factor_set_id)
        return restate(
            now(),
            "preview",
            usage_type_ids=None,
            factor_set_id=factor_set.id,
            start=narrow.start,
            end=narrow.end,
            region=narrow.arguments.get("region"),
            site_id=narrow.arguments.get("site_id"),
            reason="",
        )

"""Factor sets: the editions of published tables that emission factors come from."""

from typing import Any

from flask.views import MethodView

from ..auth import MANAGERS, get_visible, visible
from ..rest import Blueprint, requires
from . import service
from .models import FactorSet
from .schemas import FactorSetChangesSchema, FactorSetQuery, FactorSetSchema, NewFactorSetSchema

factor_sets = Blueprint(
    "Factor sets",
    __name__,
    description="Editions of published tables of emission factors, with their publisher, licence and hash.",
)


@factor_sets.route("/factor-sets")
class FactorSets(MethodView):
    @factor_sets.list(FactorSetSchema, FactorSetQuery)
    def get(self, narrow: Any) -> Any:
        """List factor sets

        Returns the editions of published tables: shared ones and those of your organization.
        `GET /usage-types/{usage_type_id}/factors?factor_set_id=` returns the factors of one.
        """
        return narrow(visible(FactorSet))

    @factor_sets.post(NewFactorSetSchema, FactorSetSchema)
    @requires(MANAGERS)
    def post(self, fields: dict[str, Any]) -> FactorSet:
        """Create a factor set

        Managers create factor sets of their organization, admins shared ones. Publisher and edition must be unique
        among those of one owner. Factors name their set in `factor_set_id`.
        """
        owner = service.owner_of_new_row(fields.pop("organization_id", None))
        return service.create_factor_set(owner, **fields)


@factor_sets.route("/factor-sets/<int:factor_set_id>")
class FactorSetById(MethodView):
    @factor_sets.get(FactorSetSchema)
    def get(self, factor_set_id: int) -> FactorSet:
        """Get a factor set

        Returns one edition of a published table.
        """
        return get_visible(FactorSet, factor_set_id)

    @factor_sets.patch(FactorSetChangesSchema(partial=True), FactorSetSchema)
    @requires(MANAGERS)
    def patch(self, fields: dict[str, Any], factor_set_id: int) -> FactorSet:
        """Change a factor set

        Its factors stay as they are. Only admins can change shared factor sets.
        """
        return service.change_factor_set(service.lock_own(FactorSet, factor_set_id), **fields)

    @factor_sets.delete(FactorSet)
    @requires(MANAGERS)
    def delete(self, factor_set_id: int) -> None:
        """Delete a factor set

        Only a set without factors can be deleted (409).
        """
        service.delete_factor_set(service.lock_own(FactorSet, factor_set_id))

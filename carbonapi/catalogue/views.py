"""Usage types and their emission factors."""

from typing import Any

from flask.views import MethodView

from ..auth import ADMINS, MANAGERS, get_visible, visible
from ..rest import Blueprint, lock_for_update, requires
from . import service
from .models import EmissionFactor, UsageType
from .schemas import (
    EmissionFactorQuery,
    EmissionFactorSchema,
    NewEmissionFactorSchema,
    NewUsageTypeSchema,
    UnitSchema,
    UsageTypeChangesSchema,
    UsageTypeQuery,
    UsageTypeSchema,
)
from .units import compatible_units

catalogue = Blueprint(
    "Catalogue",
    __name__,
    url_prefix="/api/v1/usage-types",
    description="Usage types, and the emission factors with the kg CO2e per unit of each.",
)


@catalogue.route("")
class UsageTypes(MethodView):
    @catalogue.list(UsageTypeSchema, UsageTypeQuery)
    def get(self, narrow: Any) -> Any:
        """List usage types

        All organizations share the usage types. `archived=false` omits those that accept no new usages.
        """
        return narrow(visible(UsageType))

    @catalogue.post(NewUsageTypeSchema, UsageTypeSchema)
    @requires(ADMINS)
    def post(self, fields: dict[str, Any]) -> UsageType:
        """Create a usage type

        The combination of name and unit must be unique. Create a factor next: usages cannot be recorded without one.
        """
        return service.create_usage_type(**fields)


@catalogue.route("/<int:usage_type_id>")
class UsageTypeById(MethodView):
    @catalogue.get(UsageTypeSchema)
    def get(self, usage_type_id: int) -> UsageType:
        """Get a usage type

        Includes the current factor for all regions. `/factors` lists all factors, past, future and regional.
        """
        return get_visible(UsageType, usage_type_id)

    @catalogue.put(NewUsageTypeSchema, UsageTypeSchema)
    @requires(ADMINS)
    def put(self, fields: dict[str, Any], usage_type_id: int) -> UsageType:
        """Replace a usage type

        Omitted fields get their defaults. Factors and recorded usages stay as they are.
        """
        return service.change_usage_type(lock_for_update(UsageType, usage_type_id), **fields)

    @catalogue.patch(UsageTypeChangesSchema(partial=True), UsageTypeSchema)
    @requires(ADMINS)
    def patch(self, fields: dict[str, Any], usage_type_id: int) -> UsageType:
        """Change a usage type

        `archived: true` hides the type: recorded usages stay, and it accepts no new ones.
        """
        return service.change_usage_type(lock_for_update(UsageType, usage_type_id), **fields)

    @catalogue.delete(UsageType)
    @requires(ADMINS)
    def delete(self, usage_type_id: int) -> None:
        """Delete a usage type

        Deletes the type and its factors. A type with usages cannot be deleted (409): archive it instead.
        """
        service.delete_usage_type(lock_for_update(UsageType, usage_type_id))


@catalogue.route("/<int:usage_type_id>/units")
class Units(MethodView):
    @catalogue.get(UnitSchema(many=True))
    def get(self, usage_type_id: int) -> Any:
        """List the units of a usage type

        Returns every unit for amounts of this type, its own first, with the exact ratio.
        """
        return compatible_units(get_visible(UsageType, usage_type_id).unit)


@catalogue.route("/<int:usage_type_id>/factors")
class Factors(MethodView):
    @catalogue.list(EmissionFactorSchema, EmissionFactorQuery)
    def get(self, narrow: Any, usage_type_id: int) -> Any:
        """List emission factors

        Returns the factors of all times and regions: shared ones and those of your organization. A usage stores the
        factor that is valid at its time.
        """
        usage_type = get_visible(UsageType, usage_type_id)
        return narrow(visible(EmissionFactor).where(EmissionFactor.usage_type_id == usage_type.id))

    @catalogue.post(NewEmissionFactorSchema, EmissionFactorSchema)
    @requires(MANAGERS)
    def post(self, fields: dict[str, Any], usage_type_id: int) -> EmissionFactor:
        """Enter an emission factor

        Managers create factors of their organization, which take precedence over shared ones. Admins create shared
        factors. A factor without an end ends the previous open-ended one. Validity of one owner, region and method must
        not overlap (409). Recorded usages keep their factors until a restatement.
        """
        return service.create_factor(service.lock_usage_type(usage_type_id), **fields)


@catalogue.route("/<int:usage_type_id>/factors/<int:factor_id>")
class FactorById(MethodView):
    @catalogue.get(EmissionFactorSchema)
    def get(self, usage_type_id: int, factor_id: int) -> EmissionFactor:
        """Get an emission factor

        Returns its validity and its source. Factors cannot be changed: create a new one instead.
        """
        return service.get_factor(get_visible(UsageType, usage_type_id), factor_id)

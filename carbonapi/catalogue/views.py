"""Usage types and their emission factors."""

from typing import Any

from flask.views import MethodView

from ..auth import MANAGERS, get_visible, visible
from ..rest import Blueprint, now, requires
from . import service
from .models import EmissionFactor, UpstreamLine, UsageType
from .schemas import (
    EmissionFactorChangesSchema,
    EmissionFactorQuery,
    EmissionFactorSchema,
    NewEmissionFactorSchema,
    NewUsageTypeSchema,
    SupersedingFactorSchema,
    UnitSchema,
    UsageTypeChangesSchema,
    UsageTypeQuery,
    UsageTypeReplacementSchema,
    UsageTypeSchema,
)
from .units import compatible_units
from .upstream_line_schemas import NewUpstreamLineSchema, UpstreamLineQuery, UpstreamLineSchema

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

        Returns the shared usage types and those of your organization. `q` searches them. `archived=false` omits those
        that accept no new usages.
        """
        return narrow(visible(UsageType))

    @catalogue.post(NewUsageTypeSchema, UsageTypeSchema)
    @requires(MANAGERS)
    def post(self, fields: dict[str, Any]) -> UsageType:
        """Create a usage type

        Managers create usage types of their organization, which no other organization sees. Admins create shared ones.
        The combination of name and unit must be unique among those of one owner. Create a factor next: usages cannot be
        recorded without one.
        """
        owner = service.owner_of_new_row(fields.pop("organization_id", None))
        return service.create_usage_type(owner, **fields)


@catalogue.route("/<int:usage_type_id>")
class UsageTypeById(MethodView):
    @catalogue.get(UsageTypeSchema)
    def get(self, usage_type_id: int) -> UsageType:
        """Get a usage type

        Includes the current factor for all regions. `/factors` lists all factors, past, future and regional.
        """
        return get_visible(UsageType, usage_type_id)

    @catalogue.put(UsageTypeReplacementSchema, UsageTypeSchema)
    @requires(MANAGERS)
    def put(self, fields: dict[str, Any], usage_type_id: int) -> UsageType:
        """Replace a usage type

        Omitted fields get their defaults. Factors and recorded usages stay as they are. Only admins can change shared
        usage types.
        """
        return service.change_usage_type(service.lock_own(UsageType, usage_type_id), **fields)

    @catalogue.patch(UsageTypeChangesSchema(partial=True), UsageTypeSchema)
    @requires(MANAGERS)
    def patch(self, fields: dict[str, Any], usage_type_id: int) -> UsageType:
        """Change a usage type

        `archived: true` hides the type: recorded usages stay, and it accepts no new ones. Only admins can change shared
        usage types.
        """
        return service.change_usage_type(service.lock_own(UsageType, usage_type_id), **fields)

    @catalogue.delete(UsageType)
    @requires(MANAGERS)
    def delete(self, usage_type_id: int) -> None:
        """Delete a usage type

        Deletes the type and its factors. A type with usages cannot be deleted (409): archive it instead.
        """
        service.delete_usage_type(service.lock_own(UsageType, usage_type_id))


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
        factor that is valid at its time. `in_force=true` omits those that another factor superseded.
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

        Returns its validity and its source, and when and why another factor superseded it.
        """
        return service.get_factor(get_visible(UsageType, usage_type_id), factor_id)

    @catalogue.patch(EmissionFactorChangesSchema(partial=True), EmissionFactorSchema)
    @requires(MANAGERS)
    def patch(self, fields: dict[str, Any], usage_type_id: int, factor_id: int) -> EmissionFactor:
        """Change an emission factor

        Only a factor that no usage has, and no earlier version of a usage, can be changed. Supersede any other (409).
        Managers change factors of their organization, admins shared ones.
        """
        return service.change_factor(service.lock_own_factor(usage_type_id, factor_id), **fields)

    @catalogue.delete(EmissionFactor)
    @requires(MANAGERS)
    def delete(self, usage_type_id: int, factor_id: int) -> None:
        """Delete an emission factor

        Only a factor that no usage has, and no earlier version of a usage, can be deleted. Supersede any other (409).
        """
        service.delete_factor(service.lock_own_factor(usage_type_id, factor_id))


@catalogue.route("/<int:usage_type_id>/factors/<int:factor_id>/supersede")
class Supersession(MethodView):
    @catalogue.post(
        SupersedingFactorSchema, EmissionFactorSchema, location="/api/v1/usage-types/{usage_type_id}/factors"
    )
    @requires(MANAGERS)
    def post(self, fields: dict[str, Any], usage_type_id: int, factor_id: int) -> EmissionFactor:
        """Supersede an emission factor

        Corrects a factor that usages have: creates one with the same validity, region, method and owner, and returns
        it. New usages get the new factor. Recorded usages keep the old one until a restatement, so nothing that was
        reported changes by itself. The old factor shows when, by whom and why it was superseded.
        """
        return service.supersede_factor(service.lock_own_factor(usage_type_id, factor_id), now(), **fields)


@catalogue.route("/<int:usage_type_id>/upstream-lines")
class UpstreamLines(MethodView):
    @catalogue.list(UpstreamLineSchema, UpstreamLineQuery)
    def get(self, narrow: Any, usage_type_id: int) -> Any:
        """List upstream lines

        Returns the lines that a new usage of this type gets beside its own number, such as the losses of transmission
        and distribution: shared ones and those of your organization.
        """
        usage_type = get_visible(UsageType, usage_type_id)
        return narrow(visible(UpstreamLine).where(UpstreamLine.usage_type_id == usage_type.id))

    @catalogue.post(NewUpstreamLineSchema, UpstreamLineSchema)
    @requires(MANAGERS)
    def post(self, fields: dict[str, Any], usage_type_id: int) -> UpstreamLine:
        """Create an upstream line

        Later usages of the type get the line. Recorded usages get it by a restatement. Managers create lines of their
        organization, admins shared ones.
        """
        return service.create_upstream_line(get_visible(UsageType, usage_type_id), **fields)


@catalogue.route("/<int:usage_type_id>/upstream-lines/<int:line_id>")
class UpstreamLineById(MethodView):
    @catalogue.get(UpstreamLineSchema)
    def get(self, usage_type_id: int, line_id: int) -> UpstreamLine:
        """Get an upstream line

        Returns its name and the usage type whose factors it uses.
        """
        return service.get_upstream_line(get_visible(UsageType, usage_type_id), line_id)

    @catalogue.delete(UpstreamLine)
    @requires(MANAGERS)
    def delete(self, usage_type_id: int, line_id: int) -> None:
        """Delete an upstream line

        Later usages of the type do not have the line. Recorded usages keep it until a restatement.
        """
        service.delete_upstream_line(service.get_upstream_line(get_visible(UsageType, usage_type_id), line_id))

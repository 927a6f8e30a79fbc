"""Usage types and their emission factors."""

from typing import Any

from flask.views import MethodView

from ..auth import ADMINS, MANAGERS, get_visible, visible
from ..rest import Blueprint, lock_for_update
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
    description="Usage types, and the emission factors that say what one unit of each causes.",
)


@catalogue.route("")
class UsageTypes(MethodView):
    @catalogue.listing(UsageTypeSchema, UsageTypeQuery)
    def get(self, narrow: Any) -> Any:
        """List usage types

        Everybody's: the catalogue is shared. `archived=false` leaves out those that are no longer used.
        """
        return narrow(visible(UsageType))

    @catalogue.writing(NewUsageTypeSchema, UsageTypeSchema, 201, roles=ADMINS, conflicts=True)
    def post(self, fields: dict[str, Any]) -> UsageType:
        """Create a usage type

        Name and unit together are unique. Enter a factor next: without one nothing can be recorded.
        """
        return service.create_usage_type(**fields)


@catalogue.route("/<int:usage_type_id>")
class UsageTypeById(MethodView):
    @catalogue.reading(UsageTypeSchema, tagged=True)
    def get(self, usage_type_id: int) -> UsageType:
        """Get a usage type

        With the general factor in force now; `/factors` has all of them, and those of regions.
        """
        return get_visible(UsageType, usage_type_id)

    @catalogue.writing(NewUsageTypeSchema, UsageTypeSchema, roles=ADMINS, conflicts=True)
    def put(self, fields: dict[str, Any], usage_type_id: int) -> UsageType:
        """Replace a usage type

        What is left out gets its default. Factors and recorded numbers stay.
        """
        return service.change_usage_type(lock_for_update(UsageType, usage_type_id), **fields)

    @catalogue.writing(UsageTypeChangesSchema(partial=True), UsageTypeSchema, roles=ADMINS, conflicts=True)
    def patch(self, fields: dict[str, Any], usage_type_id: int) -> UsageType:
        """Change a usage type

        `archived: true` hides it: what is recorded stays, and nothing new is taken.
        """
        return service.change_usage_type(lock_for_update(UsageType, usage_type_id), **fields)

    @catalogue.removing(roles=ADMINS, conflicts=True)
    def delete(self, usage_type_id: int) -> None:
        """Delete a usage type

        With its factors. One that a usage needs is 409: archive it.
        """
        service.delete_usage_type(lock_for_update(UsageType, usage_type_id))


@catalogue.route("/<int:usage_type_id>/units")
class Units(MethodView):
    @catalogue.reading(UnitSchema(many=True))
    def get(self, usage_type_id: int) -> Any:
        """List the units of a usage type

        Every unit in which an amount of it can be given, its own first, with the exact ratio.
        """
        return compatible_units(get_visible(UsageType, usage_type_id).unit)


@catalogue.route("/<int:usage_type_id>/factors")
class Factors(MethodView):
    @catalogue.listing(EmissionFactorSchema, EmissionFactorQuery)
    def get(self, narrow: Any, usage_type_id: int) -> Any:
        """List emission factors

        All that were ever in force, of every region: the shared ones and your organization's own. A usage keeps the one
        that was in force at its moment.
        """
        usage_type = get_visible(UsageType, usage_type_id)
        return narrow(visible(EmissionFactor).where(EmissionFactor.usage_type_id == usage_type.id))

    @catalogue.writing(NewEmissionFactorSchema, EmissionFactorSchema, 201, roles=MANAGERS, conflicts=True, tagged=False)
    def post(self, fields: dict[str, Any], usage_type_id: int) -> EmissionFactor:
        """Enter an emission factor

        A manager's is their organization's own, and goes before the shared ones, which an admin enters. One without an
        end closes the open one before it. Validity of one owner, region and method may not overlap: 409. Numbers that
        are recorded already stay, until a restatement books them anew.
        """
        return service.create_factor(get_visible(UsageType, usage_type_id, lock=True), **fields)


@catalogue.route("/<int:usage_type_id>/factors/<int:factor_id>")
class FactorById(MethodView):
    @catalogue.reading(EmissionFactorSchema)
    def get(self, usage_type_id: int, factor_id: int) -> EmissionFactor:
        """Get an emission factor

        Its validity and its source. A factor is never edited: enter a new one.
        """
        return service.get_factor(get_visible(UsageType, usage_type_id), factor_id)

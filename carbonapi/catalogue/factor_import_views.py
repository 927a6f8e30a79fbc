"""Import published tables of emission factors, revert them, and list the global warming potentials."""

from typing import IO, Any

from flask.views import MethodView

from ..auth import MANAGERS
from ..rest import requires
from . import service
from .factor_import import import_factors
from .factor_import_result import FactorImportResult
from .factor_import_schemas import (
    FactorImportOptions,
    FactorImportSchema,
    GwpSetSchema,
    RevertedFactorSetSchema,
)
from .factor_revert import RevertedFactorSet, revert_factor_set
from .factor_set_views import factor_sets
from .gwp import GwpSet, gwp_sets
from .models import FactorSet

EXAMPLES = {
    "csv": "usage_type,unit,scope,region,valid_from,valid_until,kg_co2e_per_unit,source\n"
    "grid electricity,kWh,2,GB,2025-01-01,2026-01-01,0.177,UK Government GHG Conversion Factors 2025\n",
    "xlsx": "",
}


@factor_sets.route("/factor-sets/imports")
class FactorSetImport(MethodView):
    @factor_sets.upload(FactorImportSchema, FactorImportOptions, EXAMPLES, location="/api/v1/factor-sets")
    @factor_sets.alt_response(
        200, schema=FactorImportSchema, description="The outcome of a dry run. Nothing was recorded."
    )
    @requires(MANAGERS)
    def post(self, options: dict[str, Any], file: IO[bytes]) -> FactorImportResult:
        """Import a table of emission factors

        Send a table as its publisher offers it, CSV (`text/csv`) or XLSX, as the body or as `file` of a form. The
        header shows the format: the flat file of the UK government, Our World in Data, Ember, the EEA, Electricity
        Maps, eGRID, EPA's Emission Factors Hub, or our own columns. A column `mapping` reads any other table.

        By default, this is a dry run: it returns what `mode=apply` would do. Factors that the catalogue does not have
        are added, with the usage types that are missing. A factor that differs from the one in force of the same
        publisher, usage type, region and time supersedes it; recorded usages keep the old one until a restatement. The
        same file again changes nothing. All lines are imported or none; 422 returns the errors by line.

        Managers import factors of their organization, admins shared ones. `POST /factor-sets/{factor_set_id}/revert`
        undoes an import.
        """
        return import_factors(file, **options)


@factor_sets.route("/factor-sets/<int:factor_set_id>/revert")
class FactorSetRevert(MethodView):
    @factor_sets.post(None, RevertedFactorSetSchema, 200)
    @requires(MANAGERS)
    def post(self, factor_set_id: int) -> RevertedFactorSet:
        """Revert a factor set

        Deletes the set, its factors, and the usage types that its import created and nothing else uses. The factors
        that they superseded are in force again. A set whose factors usages have cannot be reverted (409): import the
        right table as another edition.
        """
        return revert_factor_set(service.lock_own(FactorSet, factor_set_id))


@factor_sets.route("/gwp-sets")
class GwpSets(MethodView):
    @factor_sets.get(GwpSetSchema(many=True))
    def get(self) -> list[GwpSet]:
        """List global warming potentials

        Returns the values of each gas over 100 years in the assessment reports AR4, AR5 and AR6 of the IPCC.
        """
        return gwp_sets()

"""Import files of usages, list the imports and their row errors, and revert imports."""

from typing import IO, Any

from flask.views import MethodView

from ..auth import get_visible, visible
from ..rest import Blueprint, now, prefers_async
from .checks.row_errors import errors_of, rejected_lines
from .jobs.queue import enqueue
from .models import Import
from .revert import revert
from .schemas import (
    ImportOptions,
    ImportQuery,
    ImportRowErrorQuery,
    ImportRowErrorSchema,
    ImportSchema,
    RejectedQuery,
    RejectedSchema,
    RevertSchema,
)
from .service import import_file

imports = Blueprint("Imports", __name__, description="Import files of usages, and revert imports.")

EXAMPLES = {
    "csv": "usage_type_id,usage_at,amount,note\n100,2026-01-01T00:00:00Z,0.312,Main meter\n"
    "100,2026-01-01T01:00:00Z,0.298,\n",
    "ndjson": '{"usage_type_id":100,"usage_at":"2026-01-01T00:00:00Z","amount":0.312}\n',
}


@imports.route("/imports")
class Imports(MethodView):
    @imports.list(ImportSchema, ImportQuery)
    def get(self, narrow: Any) -> Any:
        """List imports

        Returns completed, queued, running and failed imports, newest first. `GET /usages?import_id=` lists the usages
        of an import.
        """
        return narrow(visible(Import))

    @imports.upload(ImportSchema, ImportOptions, EXAMPLES, defers=True)
    @imports.alt_response(200, schema=ImportSchema, description="The outcome of a dry run. Nothing was recorded.")
    def post(self, options: dict[str, Any], file: IO[bytes]) -> Import:
        """Import usages

        Send a UTF-8 file as the body: CSV with a header (`text/csv`) or NDJSON (`application/x-ndjson`). Or send it as
        `file` of a form (`multipart/form-data`), whose other fields are read like query parameters. The columns are
        `usage_at`, `amount` and other fields of a new usage; query parameters apply to empty cells. The other columns
        of an export are ignored: usages get the factors that are in force now. By default, all rows are recorded or
        none; 422 returns the errors of the first 100 invalid lines. With `mode=partial`, the valid rows are recorded,
        and the response has the errors of the others.

        Send a Green Button file, the XML of utilities with meter readings, as `file` of a form. Its lines are the
        readings, counted from 1. Readings of more than an hour become intervals. `external_id` consists of the
        register and the start of the reading. Net and total energy beside forward energy, days beside hours of the same
        energy, and energy delivered to the grid are skipped with a warning; `reverse_usage_type_id` records the latter.
        Each register is a meter: its `external_id` consists of the usage point, the commodity, the direction, the time
        of use and the tier.

        Rows can have `usage_type`, a name, instead of `usage_type_id`; of several types with that name, the one in the
        row's `unit` applies. Rows can have `user_email` instead of `user_id`, and `meter` and `site`, by `external_id`
        or name, instead of `meter_id` and `site_id`. A row with both is invalid. A row with a meter has its site and
        usage type. With `create_meters=true`, managers create unknown meters at the site of the row.

        A row is an error if the ledger already has its usage, or an earlier row of the file is about the same usage.
        Usages are identified by meter and `usage_at`, without a meter by `external_id`, and without either by user,
        usage type, site, `usage_at` and `usage_until`. With `on_conflict=skip` or `replace`, rows about usages in the
        ledger are no errors. A corrected usage keeps its version history and its `import_id`.

        A file that was imported before returns 409, unless the earlier import was reverted. Set `again=true` to import
        it again. The imports of an organization are recorded one after the other.

        Warnings report overlaps and gaps; these rows are recorded. An overlap is two intervals of one series, or an
        interval and a reading within it. A series is a meter; without meters, a site and usage type; without sites, a
        user and usage type. Without meters, the part of `external_id` before the last slash distinguishes series too:
        `meter-1` in `meter-1/2026-01`. A gap is time between two intervals of the file, or between two readings that
        are more than 1.5 times as far apart as usual: the median of their series. Irregular readings have no gaps.

        With `Prefer: respond-async`, the service stores the file and imports it after the response, which is 202 with
        the status `queued`. Poll `GET /imports/{id}` for the `progress` until the status is `completed` or `failed`.
        An accepted import survives restarts of the service. Dry runs are never queued.
        """
        return (enqueue if prefers_async() else import_file)(file, now(), **options)


@imports.route("/imports/<int:import_id>")
class ImportById(MethodView):
    @imports.get(ImportSchema)
    def get(self, import_id: int) -> Import:
        """Get an import

        Returns the status, progress, counts, errors and warnings of an import.
        """
        return get_visible(Import, import_id)


@imports.route("/imports/<int:import_id>/errors")
class ImportRowErrors(MethodView):
    @imports.list(ImportRowErrorSchema, ImportRowErrorQuery)
    def get(self, narrow: Any, import_id: int) -> Any:
        """List errors of an import

        Returns the errors of the rows that a partial import rejected, or that made a queued import fail, by line.
        """
        return narrow(errors_of(get_visible(Import, import_id)))


@imports.route("/imports/<int:import_id>/errors/export")
class ImportRowErrorsExport(MethodView):
    @imports.export(RejectedSchema, RejectedQuery, "rejected-lines")
    def get(self, narrow: Any, import_id: int) -> Any:
        """Export rejected lines

        Returns the rows that a partial import rejected, or that made a queued import fail. Correct them and send the
        file to `POST /imports`. The columns have the names of the API, the cells have their original text, and
        `rejected_because` has the errors.
        """
        return narrow(rejected_lines(get_visible(Import, import_id)))


@imports.route("/imports/<int:import_id>/revert")
class ImportRevert(MethodView):
    @imports.post(RevertSchema, ImportSchema, 200)
    def post(self, fields: dict[str, Any], import_id: int) -> Import:
        """Revert an import

        Deletes the usages of the import that are still in the ledger, with history, all or none. Usages that the
        import corrected stay corrected. Returns 409 if the import has not completed or was reverted before, or if one
        of its usages is in a closed period.
        """
        return revert(get_visible(Import, import_id, lock=True), **fields)

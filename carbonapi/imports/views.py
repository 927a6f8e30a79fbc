"""Importing files of usages."""

from typing import IO, Any

from flask.views import MethodView

from ..auth import EVERYONE, get_visible, visible
from ..exports.verification import verify
from ..rest import Blueprint, now, prefers_async, requires
from ..usages.models import Usage
from ..usages.schemas import UsageExportQuery, UsageSchema
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
    VerificationSchema,
)
from .service import import_file

imports = Blueprint(
    "Imports",
    __name__,
    description="Files of usages, each booked as one act, which can be reverted; and exports, which can be verified.",
)

EXAMPLES = {
    "csv": "usage_type_id,usage_at,amount,note\n100,2026-01-01T00:00:00Z,0.312,Main meter\n"
    "100,2026-01-01T01:00:00Z,0.298,\n",
    "ndjson": '{"usage_type_id":100,"usage_at":"2026-01-01T00:00:00Z","amount":0.312}\n',
}
EXPORTS = {"csv": "id,version,co2e_kg\n1,1,18.75\n", "ndjson": '{"id":1,"version":1,"co2e_kg":18.75}\n'}


@imports.route("/imports")
class Imports(MethodView):
    @imports.list(ImportSchema, ImportQuery)
    def get(self, narrow: Any) -> Any:
        """List imports

        The files that were booked, are queued or have failed, newest first. `GET /usages?import_id=` has the usages of
        one.
        """
        return narrow(visible(Import))

    @imports.upload(ImportSchema, ImportOptions, EXAMPLES, defers=True)
    @imports.alt_response(200, schema=ImportSchema, description="What a dry run found: nothing was booked.")
    def post(self, options: dict[str, Any], file: IO[bytes]) -> Import:
        """Import usages

        A file in UTF-8, CSV with a header or NDJSON, as the body (`text/csv`, `application/x-ndjson`), or as `file` of
        a form (`multipart/form-data`). Columns by name: usage_at and amount, and any other field of a new usage; where
        a cell is empty, the query's stands in. The further columns of an export follow from these and are passed over:
        the factors are those in force now. All of it is booked, or nothing: 422 then names the first 100 lines that
        have errors. With `mode=partial` the good lines are booked, and the answer tells of the others.

        A Green Button file, the XML in which utilities hand out what their meters read, is taken as `file` of a form.
        Its lines are its readings, counted from 1: those of up to an hour, and longer ones as periods. `external_id` is
        made of the usage point and the beginning.

        In place of usage_type_id a line may give `usage_type`, the name; of several usage types of that name it is the
        one in the line's `unit`. In place of user_id it may give `user_email`, of a user of the same organization whom
        you see. A line that gives both of a pair has a fault.

        With `on_conflict=skip` or `replace` a file can be sent again: what the ledger has is recognized, by
        `external_id` or else by user, usage type and time. A corrected usage keeps its version, and its `import_id`.

        Two periods of one user, usage type and meter that overlap are booked, with a warning that names both. The meter
        is what stands before the last slash of `external_id`: `meter-1` of `meter-1/2026-01`. Warnings tell gaps within
        the file, too: time between two periods, and a reading that comes more than half as late again as is usual, by
        the median of its user, usage type and meter. Readings that keep to no interval have none.

        With `Prefer: respond-async` the file is kept, and booked after the answer, which is 202 and the import with the
        status `queued`. `GET /imports/{id}` tells its `progress`, and at last whether it is `booked` or has `failed`,
        and why. Once accepted, it outlasts restarts of the service. A dry run is answered at once all the same.
        """
        return (enqueue if prefers_async() else import_file)(file, now(), **options)


@imports.route("/imports/<int:import_id>")
class ImportById(MethodView):
    @imports.get(ImportSchema)
    def get(self, import_id: int) -> Import:
        """Get an import

        How many usages it booked, when, and by whom; of one that is queued, how far it is.
        """
        return get_visible(Import, import_id)


@imports.route("/imports/<int:import_id>/errors")
class ImportFaults(MethodView):
    @imports.list(ImportRowErrorSchema, ImportRowErrorQuery)
    def get(self, narrow: Any, import_id: int) -> Any:
        """List errors of an import

        What is wrong with the lines that a partial import did not book, or for which a queued one failed, by line.
        """
        return narrow(errors_of(get_visible(Import, import_id)))


@imports.route("/imports/<int:import_id>/errors/export")
class ImportFaultsExport(MethodView):
    @imports.export(RejectedSchema, RejectedQuery, "rejected-lines")
    def get(self, narrow: Any, import_id: int) -> Any:
        """Export rejected lines

        The lines that a partial import did not book, to be mended and sent to `POST /imports` again, with what is wrong
        with each. The columns are the API's own; what a line said is there as it was read. A queued import that failed
        booked none of its lines: here are those for which it did.
        """
        return narrow(rejected_lines(get_visible(Import, import_id)))


@imports.route("/imports/<int:import_id>/revert")
class ImportReversal(MethodView):
    @imports.post(RevertSchema, ImportSchema, 200)
    def post(self, fields: dict[str, Any], import_id: int) -> Import:
        """Revert an import

        Takes the import back as one act: its usages that are still in the ledger are deleted, and what was believed of
        them is kept as versions. What it corrected stays corrected. Twice is 409, and so it is when the books are
        closed over one of its usages, or it is not booked.
        """
        return revert(get_visible(Import, import_id, lock=True), now(), **fields)


@imports.route("/usages/export")
class UsageExport(MethodView):
    @imports.export(UsageSchema, UsageExportQuery, "usages")
    def get(self, narrow: Any) -> Any:
        """Export usages

        All that `/usages` would list, as a file, with the same fields and digits. CSV has a header, and an empty cell
        where a field is null. A text that a spreadsheet would run, because it begins with = + - @ or a tab, has an
        apostrophe before it; `POST /imports` takes that off again, and takes the file as it is.
        """
        return narrow(visible(Usage))


@imports.route("/verify")
class Verify(MethodView):
    @imports.upload(VerificationSchema, None, EXPORTS, 200)
    @requires(EVERYONE)
    def post(self, file: IO[bytes]) -> dict[str, Any]:
        """Verify an export

        Tells every line whose number cannot be reproduced. The file is an export, CSV or NDJSON, as the body or as
        `file` of a form; it may lack columns, but for id, version and co2e_kg. Each value is compared with the ledger's
        in that version, also if it has been corrected or deleted since; and the ledger's own is calculated again from
        the amount, the unit's exact ratio and the catalogue's emission factor. That a line is missing is not found.
        """
        return verify(file)

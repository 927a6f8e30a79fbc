"""Importing files of usages."""

from typing import Any

from flask import current_app, request
from flask.views import MethodView

from ..access import EVERYONE, fetch, visible
from ..errors import Invalid, UnsupportedMedia
from ..rest import Blueprint, now
from ..usages.models import Usage
from ..usages.schemas import UsageExportQuery, UsageSchema
from .booking import book
from .models import Import
from .schemas import ImportOptions, ImportQuery, ImportSchema, VerificationSchema
from .verifying import verify

imports = Blueprint("Imports", __name__, description="Files of usages, booked whole or not at all.")

EXAMPLE = (
    "usage_type_id,usage_at,amount,note\n100,2026-01-01T00:00:00Z,0.312,Main meter\n100,2026-01-01T01:00:00Z,0.298,\n"
)
EXPORTS = {"csv": "id,version,co2e_kg\n1,1,18.75\n", "ndjson": '{"id":1,"version":1,"co2e_kg":18.75}\n'}


@imports.route("/imports")
class Imports(MethodView):
    @imports.listing(ImportSchema, ImportQuery)
    def get(self, narrow: Any) -> Any:
        """List imports

        The files that were booked, newest first. `GET /usages?import_id=` has the usages of one.
        """
        return narrow(visible(Import))

    @imports.uploading(ImportSchema, ImportOptions, {"csv": EXAMPLE}, conflicts=True)
    def post(self, options: dict[str, Any]) -> Import:
        """Import usages

        A CSV file in UTF-8 as the body (`text/csv`), or as `file` of a form (`multipart/form-data`). Columns by name:
        usage_at and amount, and any other field of a new usage; where a cell is empty, the query's stands in. The
        further columns of an export follow from these and are passed over: the factors are those in force now. All of
        it is booked, or nothing: 422 then names the first 100 faults by line.

        Two periods of one user, usage type and meter that overlap are booked, with a warning that names both. The meter
        is what stands before the last slash of `external_id`: `meter-1` of `meter-1/2026-01`.
        """
        return book(_file("text/csv"), now(), **options)


@imports.route("/imports/<int:import_id>")
class ImportById(MethodView):
    @imports.reading(ImportSchema)
    def get(self, import_id: int) -> Import:
        """Get an import

        How many usages it booked, when, and by whom.
        """
        return fetch(Import, import_id)


@imports.route("/usages/export")
class UsageExport(MethodView):
    @imports.exporting(UsageSchema, UsageExportQuery, "usages")
    def get(self, narrow: Any) -> Any:
        """Export usages

        All that `/usages` would list, as a file, with the same fields and digits. CSV has a header, and an empty cell
        where a field is null. A text that a spreadsheet would run, because it begins with = + - @ or a tab, has an
        apostrophe before it; `POST /imports` takes that off again, and takes the file as it is.
        """
        return narrow(visible(Usage))


@imports.route("/verify")
class Verify(MethodView):
    @imports.uploading(VerificationSchema, None, EXPORTS, 200, roles=EVERYONE)
    def post(self) -> dict[str, Any]:
        """Verify an export

        Tells every line whose number cannot be reproduced. The file is an export, CSV or NDJSON, as the body or as
        `file` of a form; it may lack columns, but for id, version and co2e_kg. Each value is compared with the ledger's
        in that version, also if it has been corrected or deleted since; and the ledger's own is calculated again from
        the amount, the unit's exact ratio and the catalogue's emission factor. That a line is missing is not found.
        """
        return verify(_file("text/csv", "application/x-ndjson"))


def _file(*media_types: str) -> bytes:
    """The file that the request brings, as a body of one of these media types, or as `file` of a form."""
    request.max_content_length = current_app.config["IMPORT_MAX_BYTES"]
    if request.mimetype in media_types:
        return request.get_data()
    if request.mimetype != "multipart/form-data":
        kinds = " or ".join(f"`Content-Type: {media_type}`" for media_type in media_types)
        raise UnsupportedMedia(f"Send the file as {kinds}, or as `file` of a multipart/form-data form.")
    if "file" not in request.files:
        raise Invalid("The form has no file named `file`.", {"file": {"file": ["Missing."]}})
    file: bytes = request.files["file"].read()
    return file

"""Export usages, and verify an export."""

from typing import IO, Any

from flask.views import MethodView

from ..auth import EVERYONE, visible
from ..rest import Blueprint, requires
from ..usages.models import Usage
from ..usages.schemas import UsageExportQuery, UsageSchema
from .schemas import VerificationSchema
from .service import verify

exports = Blueprint("Exports", __name__, description="Export usages as a file, and verify such a file later.")

EXAMPLES = {"csv": "id,version,co2e_kg\n1,1,18.75\n", "ndjson": '{"id":1,"version":1,"co2e_kg":18.75}\n'}


@exports.route("/usages/export")
class UsageExport(MethodView):
    @exports.export(UsageSchema, UsageExportQuery, "usages")
    def get(self, narrow: Any) -> Any:
        """Export usages

        Returns the usages that `GET /usages` lists, with the same fields and digits, as one file. CSV has a header; an
        empty cell is `null`. Spreadsheets run texts that begin with `=`, `+`, `-`, `@` or a tab, so these get a leading
        apostrophe. `POST /imports` accepts the file unchanged and removes the apostrophes.
        """
        return narrow(visible(Usage))


@exports.route("/verify")
class Verify(MethodView):
    @exports.upload(VerificationSchema, None, EXAMPLES, 200, reads=True)
    @requires(EVERYONE)
    def post(self, file: IO[bytes]) -> dict[str, Any]:
        """Verify an export

        Checks that each line of an export can be reproduced. Send the CSV or NDJSON file as the body, or as `file` of a
        form. It must have the columns `id`, `version` and `co2e_kg`; others are optional. Each value is compared with
        the ledger in that version, even if the usage has been corrected or deleted since. The version's `co2e_kg` is
        then recalculated from the amount, the exact unit ratio and the emission factor, and `market_co2e_kg` from the
        market-based factor of its valuation. Missing lines are not detected.
        """
        return verify(file)

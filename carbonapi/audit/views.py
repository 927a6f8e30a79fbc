"""Reading the audit log. Nothing writes it but the changes that it tells of."""

from typing import Any

from flask.views import MethodView

from ..auth import REVIEWERS, visible
from ..rest import Blueprint
from .models import AuditEntry
from .schemas import AuditEntryExportQuery, AuditEntryQuery, AuditEntrySchema

audit_entries = Blueprint(
    "Audit",
    __name__,
    description="Who changed what, when, from where, and what it was before. Kept when a person is erased.",
)


@audit_entries.route("/audit-entries")
class AuditEntries(MethodView):
    @audit_entries.listing(AuditEntrySchema, AuditEntryQuery, roles=REVIEWERS)
    def get(self, narrow: Any) -> Any:
        """List audit entries

        Every change of your organization, and every signing in and out, newest first, with the values before and after.
        An import and a restatement are one entry each. Nothing changes or removes an entry.
        """
        return narrow(visible(AuditEntry))


@audit_entries.route("/audit-entries/export")
class AuditEntryExport(MethodView):
    @audit_entries.exporting(AuditEntrySchema, AuditEntryExportQuery, "audit-entries", roles=REVIEWERS)
    def get(self, narrow: Any) -> Any:
        """Export audit entries

        Everything that the list would have, as a file that is streamed; in CSV, `old` and `new` are JSON.
        """
        return narrow(visible(AuditEntry))

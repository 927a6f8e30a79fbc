"""Read the audit log. No view writes it."""

from typing import Any

from flask.views import MethodView

from ..auth import REVIEWERS, current_actor, visible
from ..rest import Blueprint, requires
from .models import AuditEntry
from .schemas import AuditEntryExportQuery, AuditEntryQuery, AuditEntrySchema

audit_entries = Blueprint(
    "Audit",
    __name__,
    description="Who changed what, when, from where, and the values before and after. Entries outlive their users.",
)


@audit_entries.route("/audit-entries")
class AuditEntries(MethodView):
    @audit_entries.list(AuditEntrySchema, AuditEntryQuery, parts=lambda: AuditEntry.parts_visible_to(current_actor()))
    @requires(REVIEWERS)
    def get(self, narrow: Any) -> Any:
        """List audit entries

        Returns every change in your organization and every login and logout, newest first, with the values before and
        after. An import or a restatement is one entry. Entries are never changed or deleted. Changes of shared usage
        types, emission factors and factor sets are included: their entries belong to no organization.
        """
        return narrow(visible(AuditEntry))


@audit_entries.route("/audit-entries/export")
class AuditEntryExport(MethodView):
    @audit_entries.export(AuditEntrySchema, AuditEntryExportQuery, "audit-entries")
    @requires(REVIEWERS)
    def get(self, narrow: Any) -> Any:
        """Export audit entries

        Streams all entries of the list as one file. In CSV, `old` and `new` contain JSON.
        """
        return narrow(visible(AuditEntry))

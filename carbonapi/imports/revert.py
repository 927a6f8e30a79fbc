"""Revert an import: delete its usages, with history, in one transaction."""

import sqlalchemy as sa

from .. import audit
from ..auth import current_actor
from ..db import allow, db
from ..errors import Conflict
from ..usages import ledger
from ..usages.models import Usage
from .models import FAILED, Import


def revert(imp: Import, reason: str | None = None) -> Import:
    """Delete the usages of an import that are still in the ledger. The caller has locked the import.

    Usages that the import corrected stay corrected. Raise Conflict if the import has not completed or was reverted
    before, and if a usage is in a closed period or no longer visible to the actor.
    """
    if imp.is_pending:
        raise Conflict(f"Import {imp.id} is {imp.status}. It can be reverted when it has completed.")
    if imp.status == FAILED:
        raise Conflict(f"Import {imp.id} failed and recorded nothing, so it cannot be reverted.")
    if imp.reverted_at is not None:
        raise Conflict(f"Import {imp.id} has already been reverted.")
    allow(minutes=10)
    is_of_import = Usage.import_id == imp.id
    version_reason = reason or f"Import {imp.id} was reverted."
    imp.reverted_at, imp.reverted_by = ledger.recording_time(imp.organization_id), current_actor().id
    deleted = ledger.delete_where(imp.reverted_at, imp.organization_id, version_reason, is_of_import)
    if db.session.scalar(sa.select(sa.exists().where(Usage.organization_id == imp.organization_id, is_of_import))):
        raise Conflict(
            f"Import {imp.id} cannot be reverted: some of its usages are in a closed period, or belong to another user "
            "now. Reopen the period, or record adjustments."
        )
    db.session.flush()
    old = {"usage_count": deleted.usage_count, "co2e_kg": deleted.co2e_kg}
    audit.record("reverted", Import, imp.id, imp.organization_id, old=old, reason=reason)
    return imp

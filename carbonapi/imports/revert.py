"""Taking an import back: its usages go as one act, and what was believed of them is kept."""

import datetime as dt

import sqlalchemy as sa

from .. import audit
from ..auth import current_actor
from ..db import allow, db
from ..errors import Conflict
from ..usages import ledger
from ..usages.models import Usage
from .models import FAILED, Import


def revert(booked: Import, now: dt.datetime, reason: str | None = None) -> Import:
    """Delete the usages of an import, which the caller has locked, that are still in the ledger.

    What it corrected stays corrected. Raises Conflict if it is not booked, or has been taken back already; if the books
    are closed over one of its usages, or if one is somebody else's now.
    """
    if booked.is_pending:
        raise Conflict(f"Import {booked.id} is not booked yet: it is {booked.status}. Take it back when it is.")
    if booked.status == FAILED:
        raise Conflict(f"Import {booked.id} has failed: nothing of it was booked, so there is nothing to take back.")
    if booked.reverted_at is not None:
        raise Conflict(f"Import {booked.id} has been taken back already.")
    allow(minutes=10)
    of_import = Usage.import_id == booked.id
    reason_told = reason or f"Import {booked.id} was taken back."
    gone = ledger.delete_where(now, booked.organization_id, reason_told, of_import)
    if db.session.scalar(sa.select(sa.exists().where(Usage.organization_id == booked.organization_id, of_import))):
        raise Conflict(
            f"Import {booked.id} has usages over which the books are closed, or that are somebody else's now, so "
            "nothing was changed. Have the period reopened, or record adjustments."
        )
    booked.reverted_at, booked.reverted_by = now, current_actor().id
    db.session.flush()
    old = {"usage_count": gone.usage_count, "co2e_kg": gone.co2e_kg}
    audit.record("reverted", Import, booked.id, booked.organization_id, old=old, reason=reason)
    return booked

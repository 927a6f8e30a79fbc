"""Find an earlier import of the same file, and make the imports of an organization write one after the other."""

import sqlalchemy as sa
from psycopg2 import errorcodes

from ...db import allow, db, sqlstate
from ...errors import FileAlreadyImported, Unavailable
from ...rest.fields import format_datetime
from ..models import COMPLETED, RUNNING, Import
from ..staging import LOCK_SECONDS

QUEUED_LOCK_SECONDS = 600  # A queued import has no client that waits for it.


def wait_for_other_imports(imp: Import) -> None:
    """Wait for the other imports of the organization, and let the next one wait until this transaction ends.

    Take the lock before the checks that read the ledger: they must see the usages of the import before. Requests that
    record single usages do not take it. Raise Unavailable if the wait takes too long.
    """
    allow(lock_seconds=QUEUED_LOCK_SECONDS if imp.status == RUNNING else LOCK_SECONDS)
    key = sa.func.hashtextextended("imports", imp.organization_id)
    try:
        db.session.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
    except sa.exc.DBAPIError as error:
        if sqlstate(error) != errorcodes.LOCK_NOT_AVAILABLE:
            raise
        raise Unavailable(
            "Another import of your organization is still running, so nothing was recorded. Try again shortly."
        ) from None
    if imp.status == RUNNING:
        allow(lock_seconds=LOCK_SECONDS)


def reject_repeated_file(imp: Import) -> None:
    """Raise FileAlreadyImported if the organization has a completed import of the same file that was not reverted."""
    earlier = db.session.execute(
        sa.select(Import.id, Import.recorded_at)
        .where(
            Import.organization_id == imp.organization_id,
            Import.sha256 == imp.sha256,
            Import.status == COMPLETED,
            Import.reverted_at.is_(None),
        )
        .order_by(Import.id.desc())
        .limit(1)
    ).one_or_none()
    if earlier is not None:
        message = (
            f"This file was imported before: import {earlier.id} of {format_datetime(earlier.recorded_at)}. Revert it "
            "first, or set again=true to import the file again."
        )
        raise FileAlreadyImported(message, {"query": {"again": [message]}})

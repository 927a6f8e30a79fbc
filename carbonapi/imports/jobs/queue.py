"""Files that are booked after their request was answered; until then the database, which all processes share, has them.

A file is kept in the transaction that makes its import, and goes in the one that books it. Who works on it has its row
locked, and a lock ends with its process. So what was accepted is booked once or fails, whatever is killed meanwhile.
"""

import contextlib
import datetime as dt
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from decimal import Decimal
from typing import IO, Any

import sqlalchemy as sa

from ...accounts import actor_for_user
from ...auth import WRITERS, Actor, acting_on_behalf_of, request_origin
from ...db import CONNECT_ARGS, db, row_security
from ...errors import CarbonError, Forbidden, ValidationFailed
from ...rest import now
from ..formats.rows import FileFormat
from ..formats.text_files import CHUNK_BYTES
from ..models import FAILED, QUEUED, RUNNING, Import, ImportChunk, ImportRowError, ImportUpload
from ..service import count_outcome, create_import, import_file, run_import
from .progress import ProgressReader

MOST_ATTEMPTS = 5
PROGRESS_SECONDS = 0.5
# PostgreSQL asks whether who books is still there: the statement of one that was killed ends, and so does its lock.
WATCHED = "SET LOCAL client_connection_check_interval = '2s'"


def enqueue(
    file: IO[bytes],
    received_at: dt.datetime,
    mode: str = "atomic",
    on_conflict: str = "reject",
    layout: FileFormat | None = None,
    **options: Any,
) -> Import:
    """Keep a file to be booked later, as `book` would now. A dry run leaves nothing to ask for, so it is made now.

    Raises Invalid for what is seen without reading the lines.
    """
    if mode == "dry-run":
        return import_file(file, received_at, mode, on_conflict, layout=layout, **options)
    queued = create_import(file, received_at, mode, on_conflict, options)
    queued.status, queued.progress = QUEUED, Decimal(0)
    db.session.add(queued)
    db.session.flush()
    asked = request_origin()
    upload = ImportUpload(
        organization_id=queued.organization_id,
        import_id=queued.id,
        options=options | {"layout": asdict(layout or FileFormat())},
        address=asked.address,
        request_id=asked.request_id,
    )
    db.session.add(upload)
    db.session.flush()
    keeping = sa.insert(ImportChunk)
    while content := file.read(CHUNK_BYTES):
        chunk = {"organization_id": upload.organization_id, "upload_id": upload.id, "content": content}
        db.session.execute(keeping, chunk)
    return queued


def run_next() -> bool:
    """Book the import that was queued first, among those that nobody works on. Gives whether there was one."""
    waiting = sa.select(ImportUpload.organization_id, ImportUpload.id).order_by(ImportUpload.id)
    with row_security.for_all_organizations():
        queue = db.session.execute(waiting).all()
    for organization_id, upload_id in queue:
        this = sa.select(ImportUpload).where(
            ImportUpload.organization_id == organization_id, ImportUpload.id == upload_id
        )
        with row_security.for_organization(organization_id):
            upload = db.session.scalar(this.with_for_update(skip_locked=True))
            if upload is not None:
                _finish(upload)
                return True
    return False


def _finish(upload: ImportUpload) -> None:
    """Book an upload, which the caller has locked, or let its import fail. Raises what may go better another time."""
    db.session.execute(sa.text(WATCHED))
    mine = (Import.organization_id == upload.organization_id, Import.id == upload.import_id)
    with _beside() as beside, tempfile.TemporaryFile() as whole:
        begun = {"status": RUNNING, "progress": 0, "recorded_at": now(), "attempt_count": Import.attempt_count + 1}
        beside.execute(sa.update(Import).where(*mine).values(begun))
        running = db.session.scalars(sa.select(Import).where(*mine)).one()
        try:
            if running.attempt_count > MOST_ATTEMPTS:
                raise ValidationFailed(
                    f"It was begun {MOST_ATTEMPTS} times and never came to an end, so nothing was recorded."
                )
            with acting_on_behalf_of(_sender(running), upload.address, upload.request_id):
                size = _unpack(upload, whole)
                file = ProgressReader(whole.raw, _teller(beside, mine, size))
                options = {**upload.options, "layout": FileFormat(**upload.options["layout"])}
                run_import(running, file, **options)
        except (ValidationFailed, Forbidden) as error:
            _fail(running, error)
        db.session.delete(upload)
        db.session.commit()
        count_outcome(running)


def _sender(running: Import) -> Actor:
    """Who sent the file, with the role that they have now. Raises NotAllowed if they may not record usages any more."""
    actor = actor_for_user(running.recorded_by)
    if actor is None:
        raise Forbidden("Who sent the file is not active any more, so nothing was recorded.")
    if actor.role not in WRITERS:
        raise Forbidden(f"Who sent the file is {actor.role} now and may not record usages, so nothing was recorded.")
    return actor


def _unpack(upload: ImportUpload, file: IO[bytes]) -> int:
    """Write the upload into a file, which is left at its beginning. Gives the number of bytes."""
    chunks = (
        sa.select(ImportChunk.content)
        .where(ImportChunk.organization_id == upload.organization_id, ImportChunk.upload_id == upload.id)
        .order_by(ImportChunk.id)
        .execution_options(yield_per=1)
    )
    for content in db.session.scalars(chunks):
        file.write(content)
    size = file.tell()
    file.seek(0)
    return size


@contextlib.contextmanager
def _beside() -> Iterator[sa.Connection]:
    """A connection on which each statement is by itself, and seen by others while the transaction goes on.

    It is none of the pool's, which may have one only, or none left.
    """
    engine = sa.create_engine(
        db.engine.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", connect_args=CONNECT_ARGS
    )
    row_security.install(engine)
    with engine.connect() as connection:
        yield connection


def _teller(beside: sa.Connection, mine: tuple[sa.ColumnElement[bool], ...], size: int) -> Callable[[int], None]:
    """A function that writes down how much of the file has been read: now and then, and when it is all."""
    told_at = 0.0

    def tell(read: int) -> None:
        nonlocal told_at
        moment = time.monotonic()
        if read == size or moment - told_at >= PROGRESS_SECONDS:
            told_at = moment
            progress = sa.update(Import).where(*mine).values(progress=Decimal(1000 * read // size) / 1000)
            # Somebody may have the row locked for a while. The next time will do.
            with contextlib.suppress(sa.exc.OperationalError):
                beside.execute(progress)

    return tell


def _fail(failed: Import, error: CarbonError) -> None:
    """Let an import have failed by this error, with what that says of the lines unless it is kept already."""
    failed.status, failed.failure = FAILED, str(error)
    if not failed.error_count:
        told = {int(line): messages for line, messages in error.errors.get("file", {}).items()}
        errors = [
            {"line": line, "column": None, "found": None, "message": message}
            for line, messages in told.items()
            for message in messages
        ]
        whose = {"organization_id": failed.organization_id, "import_id": failed.id}
        db.session.add_all(ImportRowError(**whose, **fault, cells={}) for fault in errors)
        failed.errors, failed.error_count, failed.rejected_count = errors, len(errors), len(told)

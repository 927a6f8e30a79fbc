"""The queue of imports that run after the response, in tables that all processes share.

The transaction that creates an import stores its file; the one that completes it deletes the file. A worker locks the
upload while it runs, and the lock ends with its process. So each accepted import completes once or fails, even if
processes are killed.
"""

import contextlib
import datetime as dt
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from typing import IO, Any

import sqlalchemy as sa

from ...accounts import actor_for_user
from ...auth import WRITERS, Actor, acting_on_behalf_of, request_origin
from ...db import connect_args, db, row_security
from ...errors import CarbonError, FileAlreadyImported, Forbidden, ValidationFailed
from ...rest import now
from ..formats.rows import FileFormat
from ..formats.text_files import CHUNK_BYTES
from ..models import FAILED, QUEUED, RUNNING, Import, ImportChunk, ImportRowError, ImportUpload
from ..service import count_outcome, create_import, import_file, run_import
from .progress import ProgressReader

MAX_ATTEMPTS = 5
PROGRESS_SECONDS = 0.5
# PostgreSQL notices that the client is gone: the statement of a killed worker ends, and with it the lock.
CHECK_CONNECTION = "SET LOCAL client_connection_check_interval = '2s'"


def enqueue(
    file: IO[bytes], received_at: dt.datetime, mode: str = "atomic", on_conflict: str = "reject", **options: Any
) -> Import:
    """Store a file, to be imported later as `import_file` would do it now. A dry run takes place at once.

    Raise ValidationFailed for errors that do not depend on the rows.
    """
    if mode == "dry-run":
        return import_file(file, received_at, mode, on_conflict, **options)
    imp = create_import(file, received_at, mode, on_conflict, options)
    imp.status, imp.progress = QUEUED, Decimal(0)
    db.session.add(imp)
    db.session.flush()
    origin = request_origin()
    upload = ImportUpload(
        organization_id=imp.organization_id,
        import_id=imp.id,
        options=options | {"file_format": asdict(options["file_format"])},
        address=origin.address,
        request_id=origin.request_id,
    )
    db.session.add(upload)
    db.session.flush()
    ids = {"organization_id": upload.organization_id, "upload_id": upload.id}
    while content := file.read(CHUNK_BYTES):
        db.session.execute(sa.insert(ImportChunk), ids | {"content": content})
    return imp


def run_next() -> bool:
    """Run the oldest queued import that no other worker has locked. Return whether there was one."""
    uploads = sa.select(ImportUpload.organization_id, ImportUpload.id).order_by(ImportUpload.id)
    with row_security.for_all_organizations():
        queue = db.session.execute(uploads).all()
    for organization_id, upload_id in queue:
        by_id = (ImportUpload.organization_id == organization_id, ImportUpload.id == upload_id)
        with row_security.for_organization(organization_id):
            upload = db.session.scalar(sa.select(ImportUpload).where(*by_id).with_for_update(skip_locked=True))
            if upload is not None:
                _run(upload)
                return True
    return False


def _run(upload: ImportUpload) -> None:
    """Run the import of an upload, which the caller has locked. Raise errors that a retry may avoid."""
    db.session.execute(sa.text(CHECK_CONNECTION))
    by_id = (Import.organization_id == upload.organization_id, Import.id == upload.import_id)
    with _autocommit_connection() as connection, tempfile.TemporaryFile() as file:
        started = {"status": RUNNING, "progress": 0, "recorded_at": now(), "attempt_count": Import.attempt_count + 1}
        connection.execute(sa.update(Import).where(*by_id).values(started))
        imp = db.session.scalars(sa.select(Import).where(*by_id)).one()
        try:
            if imp.attempt_count > MAX_ATTEMPTS:
                raise ValidationFailed(f"The import was abandoned after {MAX_ATTEMPTS} attempts; nothing was recorded.")
            with acting_on_behalf_of(_sender(imp), upload.address, upload.request_id):
                size = _copy_chunks(upload, file)
                reader = ProgressReader(file.raw, _progress_writer(connection, by_id, size))
                file_format = FileFormat(**upload.options["file_format"])
                run_import(imp, reader, **upload.options | {"file_format": file_format})
        except (ValidationFailed, FileAlreadyImported, Forbidden) as error:
            _fail(imp, error)
        db.session.delete(upload)
        db.session.commit()
        count_outcome(imp)


def _sender(imp: Import) -> Actor:
    """Return the user who sent the file, with their present role. Raise Forbidden if they may not record usages."""
    actor = actor_for_user(imp.recorded_by)
    if actor is None:
        raise Forbidden("The user who sent the file is no longer active; nothing was recorded.")
    if actor.role not in WRITERS:
        raise Forbidden(
            f"The user who sent the file now has the role {actor.role} and may not record usages; nothing was recorded."
        )
    return actor


def _copy_chunks(upload: ImportUpload, file: IO[bytes]) -> int:
    """Copy the upload into a file, rewind it, and return its size in bytes."""
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


def _autocommit_connection() -> sa.Connection:
    """Return a connection whose statements others see while the import's transaction is open.

    It does not come from the pool, which may have a single connection, or none left.
    """
    url = db.engine.url
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", connect_args=connect_args(url))
    row_security.install(engine)
    return engine.connect()


def _progress_writer(
    connection: sa.Connection, by_id: tuple[sa.ColumnElement[bool], ...], size: int
) -> Callable[[int], None]:
    """Return a function that stores the progress of an import, at most every half second and at the end."""
    written_at = 0.0

    def write(count: int) -> None:
        nonlocal written_at
        moment = time.monotonic()
        if count == size or moment - written_at >= PROGRESS_SECONDS:
            written_at = moment
            progress = sa.update(Import).where(*by_id).values(progress=Decimal(1000 * count // size) / 1000)
            # Another transaction may hold the row for a while. The next update will do.
            with contextlib.suppress(sa.exc.OperationalError):
                connection.execute(progress)

    return write


def _fail(imp: Import, error: CarbonError) -> None:
    """Mark an import as failed, and store the errors by line unless `run_import` has stored them."""
    imp.status, imp.failure = FAILED, str(error)
    if not imp.error_count:
        by_line = error.errors.get("file", {})
        errors = [
            {"line": int(line), "column": None, "found": None, "message": message}
            for line, messages in by_line.items()
            for message in messages
        ]
        ids = {"organization_id": imp.organization_id, "import_id": imp.id}
        db.session.add_all(ImportRowError(**ids, **row_error, cells={}) for row_error in errors)
        imp.errors, imp.error_count, imp.rejected_count = errors, len(errors), len(by_line)

"""Exports as CSV or NDJSON, which PostgreSQL writes with COPY, in the same text as the JSON of lists.

The file is streamed, so memory does not grow with the number of rows.
"""

import contextlib
import csv
import io
import re
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, cast

import marshmallow as ma
import orjson
import psycopg2
import sqlalchemy as sa
from flask import Response

from ..auth import state
from ..db import db, timeouts
from ..errors import Unavailable
from .fields import MEDIA_TYPES
from .json_sql import as_text, json_object, schema_columns, trim_scale

# Writing a row as text takes longer than reading and transferring it, which the planner does not know. One parallel
# worker saves a quarter of the time of a long file if a core is idle, and does not delay the first row.
SETTINGS = (
    f"{timeouts(minutes=10)}; SET LOCAL max_parallel_workers_per_gather = 1; SET LOCAL parallel_tuple_cost = 0.01"
)
CHUNK_BYTES = 65_536
MAX_CHUNKS = 8  # Chunks that wait for the client.
STALL_SECONDS = 60  # A client that reads nothing for this time is considered disconnected.
# Spreadsheets execute cells that start with these characters as formulas. A leading apostrophe makes them text. To be
# reversible, this also applies to text that already starts with apostrophes, and to empty text, which would look like
# a missing value. PostgreSQL and Python read this expression alike.
FORMULA = r"'*([=+@\t\r-]|\Z)"
_ESCAPED = re.compile(f"'(?={FORMULA})")


def create_slots(pool_size: int) -> threading.BoundedSemaphore:
    """Return a slot for each concurrent export. They leave half of the worker's connections to short requests."""
    return threading.BoundedSemaphore(max(1, pool_size // 2))


def unescape_formula(cell: str) -> str:
    """Return the text of an exported cell without the apostrophe that was added."""
    return cell[1:] if _ESCAPED.match(cell) else cell


def export_response(rows: sa.Select[Any], schema: type[ma.Schema], file_format: str, name: str) -> Response:
    """Return the rows as a file, in the order of the SELECT and with the schema's fields.

    file_format: a key of MEDIA_TYPES. name: the file's, without extension. The stream takes over the request's session,
    and closes it. An error before the first bytes is raised, a later one truncates the file.
    Raise Unavailable while too many exports are running.
    """
    slots = state().export_slots
    if not slots.acquire(blocking=False):
        raise Unavailable("Too many exports at once. Try again shortly.")
    session = db.session()
    db.session.registry.clear()

    def end() -> None:
        try:
            session.close()
        except sa.exc.SQLAlchemyError:
            session.invalidate()
        finally:
            slots.release()

    try:
        session.execute(sa.text(SETTINGS))
        columns = _columns(rows, schema, file_format)
        copy = _Copy(session.connection(), rows.with_only_columns(*columns), file_format, end)
    except BaseException:
        end()
        raise
    # Read here, so that an early error can still become a problem.
    response = Response(copy.chunks(copy._next_chunk()), mimetype=MEDIA_TYPES[file_format])
    response.call_on_close(copy.close)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.{file_format}"'
    return response


def example_file(schema: type[ma.Schema], file_format: str) -> str:
    """Return a file with one row: the examples of the schema's fields."""
    row = {name: field.metadata.get("example") for name, field in schema().fields.items()}
    if file_format == "ndjson":
        return orjson.dumps(row).decode() + "\n"
    file = io.StringIO()
    cells = (orjson.dumps(value).decode() if isinstance(value, dict) else value for value in row.values())
    csv.writer(file, lineterminator="\n").writerows([row, cells])
    return file.getvalue()


def _columns(rows: sa.Select[Any], schema: type[ma.Schema], file_format: str) -> list[sa.ColumnElement[Any]]:
    """Return the columns to select: a cell for each field of the schema, or the whole line."""
    columns = schema_columns(rows, schema)
    if file_format == "csv":
        return [_cell(column).label(name) for name, column in columns.items()]
    return [json_object(columns).label("line")]


def _cell(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    if isinstance(column.type, sa.String):
        # Nearly all text starts with a later character, which one comparison shows.
        may_be_formula = column.collate("C") < "A"
        is_formula = sa.func.ascii(column).in_([0, *map(ord, "'=+@\t\r-")]) & column.regexp_match(f"^{FORMULA}")
        escaped = sa.case((is_formula, sa.literal("'").concat(column)), else_=column)
        return sa.case((may_be_formula, escaped), else_=column)
    # COPY writes numbers as a cast to text does.
    return trim_scale(column) if isinstance(column.type, sa.Integer | sa.Numeric) else as_text(column)


# JSON does not contain these control characters, so COPY quotes nothing and writes each line unchanged.
_OPTIONS = {
    "csv": "FORMAT csv, HEADER, ENCODING 'UTF8'",
    "ndjson": r"FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', ENCODING 'UTF8'",
}

# The last line of a truncated file. It is malformed, so that readers reject the file even if the web server ends the
# response as if it were complete.
TRUNCATED = {
    "csv": b'"The export failed here: the file is incomplete.',
    "ndjson": b'{"error":"The export failed here: the file is incomplete.',
}


class _Abandoned(Exception):
    """The client has disconnected."""


class _Copy:
    """The chunks that COPY writes in a thread of its own.

    The thread closes the session when COPY has finished or `close` is called.
    """

    def __init__(
        self, connection: sa.Connection, rows: sa.Select[Any], file_format: str, end: Callable[[], None]
    ) -> None:
        self._driver = cast(Any, connection.connection.driver_connection)
        self._end = end
        self._truncated = TRUNCATED[file_format]
        self._buffer = bytearray()
        self._chunks: SimpleQueue[bytes | Exception | None] = SimpleQueue()
        self._room = threading.Semaphore(MAX_CHUNKS)
        self._ending = threading.Lock()
        self._ended = self._is_abandoned = False
        compiled = rows.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
        with self._driver.cursor() as cursor:
            selected = cursor.mogrify(str(compiled), compiled.params).decode()
        statement = f"COPY ({selected}) TO STDOUT WITH ({_OPTIONS[file_format]})"
        self._thread = threading.Thread(target=self._run, args=(statement,), daemon=True)
        self._thread.start()

    def chunks(self, first: bytes | None) -> Iterator[bytes]:
        """Yield all chunks. A failure ends the file with a malformed line, and is raised after it."""
        try:
            chunk = first
            while chunk is not None:
                yield chunk
                chunk = self._next_chunk()
        except Exception:
            yield self._truncated
            raise

    def close(self) -> None:
        """Stop the thread and wait for it. WSGI servers always call this."""
        with self._ending:
            self._is_abandoned = not self._ended
        self._room.release()
        while self._thread.is_alive():
            with self._ending:
                if not self._ended:
                    self._cancel()
            # Repeat it: PostgreSQL ignores a cancellation that arrives before the statement.
            self._thread.join(0.1)

    def write(self, row: bytes) -> None:
        """Receive a row from psycopg2."""
        self._buffer += row
        if len(self._buffer) >= CHUNK_BYTES:
            if not self._room.acquire(timeout=STALL_SECONDS) or self._is_abandoned:
                raise _Abandoned
            self._put_chunk()

    def _next_chunk(self) -> bytes | None:
        """Return the next chunk, or None at the end."""
        chunk = self._chunks.get()
        self._room.release()
        if isinstance(chunk, psycopg2.Error):
            raise sa.exc.DBAPIError("COPY", None, chunk)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def _put_chunk(self) -> None:
        self._chunks.put(bytes(self._buffer))
        self._buffer.clear()

    def _run(self, statement: str) -> None:
        failure: Exception | None = None
        try:
            with self._driver.cursor() as cursor:
                cursor.copy_expert(statement, self)
        except Exception as error:
            failure = error
        with self._ending:
            self._ended = True
            if isinstance(failure, _Abandoned) and not self._is_abandoned:
                self._cancel()
            self._end()
        if failure is None and self._buffer:
            self._put_chunk()
        self._chunks.put(failure)

    def _cancel(self) -> None:
        """Cancel COPY. Otherwise its whole output would have to be read before the connection can be used again."""
        with contextlib.suppress(psycopg2.Error):
            self._driver.cancel()

"""Rows as a file, CSV or NDJSON: PostgreSQL writes it with COPY, in the very text that the JSON of a list has.

A file is streamed while it is written, so it takes no more memory for many rows than for few.
"""

import contextlib
import csv
import io
import re
import threading
from collections.abc import Callable
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

# To write a row as text takes longer than to read it or to hand it over, which the planner does not know. One worker
# that does its part takes a quarter off the time of a long file where a core is free, and the first row is no later.
SETTINGS = (
    f"{timeouts(minutes=10)}; SET LOCAL max_parallel_workers_per_gather = 1; SET LOCAL parallel_tuple_cost = 0.01"
)
CHUNK_BYTES = 65_536
CHUNKS_AHEAD = 8  # What is written before the caller has taken what came before.
STALLED_SECONDS = 60  # A caller who takes nothing for so long has gone.
# Spreadsheets run a cell that begins so. An apostrophe before it makes it text; so that none is lost, a text that has
# apostrophes there already gets one more, and so does an empty text, which else would be taken for a missing one.
# PostgreSQL and Python read this alike.
RISKY = r"'*([=+@\t\r-]|\Z)"
_GUARDED = re.compile(f"'(?={RISKY})")


def create_slots(pool_size: int) -> threading.BoundedSemaphore:
    """Return a slot for each concurrent export. They leave half of the worker's connections to short requests."""
    return threading.BoundedSemaphore(max(1, pool_size // 2))


def unescape_formula(cell: str) -> str:
    """The text that stands in a text cell of an export, which may have an apostrophe before it."""
    return cell[1:] if _GUARDED.match(cell) else cell


def export_response(rows: sa.Select[Any], schema: type[ma.Schema], file_format: str, name: str) -> Response:
    """The rows, in the SELECT's order and with the schema's fields, as a file to download.

    file_format: a key of MEDIA_TYPES. name: the file's, without its ending. The request's session goes with the stream,
    which ends it. What fails before the first bytes raises; what fails later breaks the file off.
    Raises Unavailable while too many others are being written.
    """
    slots = state().export_slots
    if not slots.acquire(blocking=False):
        raise Unavailable("Too many files are being written at once. Try again shortly.")
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
        stream = _Copy(session.connection(), rows.with_only_columns(*columns), file_format, end)
    except BaseException:
        end()
        raise
    stream.wait()
    response = Response(stream, mimetype=MEDIA_TYPES[file_format])
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.{file_format}"'
    return response


def example_file(schema: type[ma.Schema], file_format: str) -> str:
    """A file of one row: the examples of the schema's fields."""
    row = {name: field.metadata.get("example") for name, field in schema().fields.items()}
    if file_format == "ndjson":
        return orjson.dumps(row).decode() + "\n"
    file = io.StringIO()
    cells = (orjson.dumps(value).decode() if isinstance(value, dict) else value for value in row.values())
    csv.writer(file, lineterminator="\n").writerows([row, cells])
    return file.getvalue()


def _columns(rows: sa.Select[Any], schema: type[ma.Schema], file_format: str) -> list[sa.ColumnElement[Any]]:
    """What is selected in place of the columns: a cell for each field of the schema, or the whole line."""
    columns = schema_columns(rows, schema)
    if file_format == "csv":
        return [_cell(column).label(name) for name, column in columns.items()]
    return [json_object(columns).label("line")]


def _cell(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    if isinstance(column.type, sa.String):
        # Nearly all texts begin behind these characters, which takes one comparison: only the others are looked at.
        may_be_risky = column.collate("C") < "A"
        is_risky = sa.func.ascii(column).in_([0, *map(ord, "'=+@\t\r-")]) & column.regexp_match(f"^{RISKY}")
        guarded = sa.case((is_risky, sa.literal("'").concat(column)), else_=column)
        return sa.case((may_be_risky, guarded), else_=column)
    # COPY writes numbers itself as a cast to text would.
    return trim_scale(column) if isinstance(column.type, sa.Integer | sa.Numeric) else as_text(column)


# JSON never holds these control characters, so nothing is ever quoted: each line stands as it was selected.
_OPTIONS = {
    "csv": "FORMAT csv, HEADER, ENCODING 'UTF8'",
    "ndjson": r"FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', ENCODING 'UTF8'",
}

# The last line of a file that is not whole: no reader takes it, for it has no end. Some web servers would otherwise end
# the answer as if that were all.
BROKEN_OFF = {
    "csv": b'"The export was broken off here: the file is not whole.',
    "ndjson": b'{"error":"The export was broken off here: the file is not whole.',
}


class _Abandoned(Exception):
    """Nobody takes what is written."""


class _Copy:
    """What COPY writes, in chunks, while a thread of its own lets PostgreSQL write.

    The thread ends the session, and gives its connection back, as soon as all is written or `close` is called.
    """

    def __init__(
        self, connection: sa.Connection, rows: sa.Select[Any], file_format: str, end: Callable[[], None]
    ) -> None:
        self._driver = cast(Any, connection.connection.driver_connection)
        self._end = end
        self._broken_off = BROKEN_OFF[file_format]
        self._first: bytes | None = None
        self._failure: Exception | None = None
        self._buffer = bytearray()
        self._chunks: SimpleQueue[bytes | Exception | None] = SimpleQueue()
        self._room = threading.Semaphore(CHUNKS_AHEAD)
        self._ending = threading.Lock()
        self._ended = self._is_abandoned = self._is_over = False
        compiled = rows.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
        with self._driver.cursor() as cursor:
            selected = cursor.mogrify(str(compiled), compiled.params).decode()
        statement = f"COPY ({selected}) TO STDOUT WITH ({_OPTIONS[file_format]})"
        self._thread = threading.Thread(target=self._run, args=(statement,), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the first chunk. An error is raised while it can still be answered; a small file is whole then."""
        self._first = self._taken()

    def __iter__(self) -> "_Copy":
        return self

    def __next__(self) -> bytes:
        if self._failure is not None:
            raise self._failure
        try:
            chunk, self._first = self._first or self._taken(), None
        except Exception as failure:
            self._failure = failure
            return self._broken_off
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Let the thread stop, whatever is left to write, and wait until it has. WSGI servers call it in any case."""
        with self._ending:
            self._is_abandoned = not self._ended
        self._room.release()
        while self._thread.is_alive():
            with self._ending:
                if not self._ended:
                    self._cancel()
            # Asked again: PostgreSQL forgets a cancellation that comes before the statement does.
            self._thread.join(0.1)

    def write(self, row: bytes) -> None:
        """Take a row: psycopg2 calls this."""
        self._buffer += row
        if len(self._buffer) >= CHUNK_BYTES:
            if not self._room.acquire(timeout=STALLED_SECONDS) or self._is_abandoned:
                raise _Abandoned
            self._hand_over()

    def _taken(self) -> bytes | None:
        """The next chunk; None if there is no more."""
        if self._is_over:
            return None
        chunk = self._chunks.get()
        self._room.release()
        self._is_over = not isinstance(chunk, bytes)
        if isinstance(chunk, psycopg2.Error):
            raise sa.exc.DBAPIError("COPY", None, chunk)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def _hand_over(self) -> None:
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
            self._hand_over()
        self._chunks.put(failure)

    def _cancel(self) -> None:
        """Let PostgreSQL stop writing. Else all of the rest would come before the connection can be used again."""
        with contextlib.suppress(psycopg2.Error):
            self._driver.cancel()

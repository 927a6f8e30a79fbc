"""The staging table: the rows of a file and their outcomes, for the duration of a transaction."""

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import IO, Any, cast

import psycopg2
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from ..db import db, row_security, timeouts
from ..errors import rows_rejected
from ..rest import json_sql
from ..usages import candidates
from ..usages.schemas import UsageSchema
from .formats.green_button import read_green_button
from .formats.green_button_series import skipped_message
from .formats.rows import DERIVED, MAX_CELL_SHOWN, STAGED_COLUMNS, CellsSchema, RowParser, invalid_row
from .formats.text_files import Cells, RowErrors, detect_format, read_csv, read_ndjson
from .models import CHANGED, NEW, REJECTED, Outcomes

MAX_DISTINCT_PAIRS = 1000
LOCK_SECONDS = 30
REJECTED_COLUMNS = ("rejected_line", "rejected_because")  # Columns of the export of rejected lines.
STAGED = sa.Table(
    "staged",
    sa.MetaData(),
    sa.Column("line", sa.BigInteger),
    *(sa.Column(name, candidates.COLUMNS.get(name, sa.Text())) for name in STAGED_COLUMNS),
    sa.Column("outcome", sa.Text),
    sa.Column("errors", JSONB),
    sa.Column("cells", JSONB),  # The text of a row that the parser rejected. Its other columns are null.
    *(sa.Column(name, candidates.COLUMNS[name]) for name in sorted(DERIVED)),
    sa.Column("usage_id", sa.BigInteger),  # The usage in the ledger that the row is about.
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
Row = STAGED.c
# Identifies a usage without a meter and an external_id. An adjustment of a closed period differs from a reading at the
# same time.
READING_KEY = (
    Row.user_id, Row.usage_type_id, Row.site_id, Row.usage_at, Row.usage_until, Row.adjusts_closed_period_id,
)  # fmt: skip
IS_VALID = Row.outcome != REJECTED
IS_WRITTEN = Row.outcome.in_([NEW, CHANGED])
_CREATE = (
    f"{timeouts(minutes=10, lock_seconds=LOCK_SECONDS, idle_seconds=60)}; SET LOCAL default_statistics_target = 20; "
    "DROP TABLE IF EXISTS pg_temp.staged; "
    f"{sa.schema.CreateTable(STAGED).compile(dialect=sa.dialects.postgresql.dialect())}; "
    f"GRANT SELECT ON pg_temp.staged TO {row_security.ALL_ORGANIZATIONS}"
)


def load_staging_table(file: IO[bytes], parser: RowParser, ignored: Collection[str]) -> str:
    """Copy the rows of a file into the table, and return the format of the file.

    Raise ValidationFailed for an invalid header, and for a file without rows.
    """
    kind = parser.file_format.format or detect_format(file)
    lines = _copy_lines(file, kind, parser, ignored)
    first = next(lines, None)
    if first is None and parser.skipped_readings:
        skipped = parser.skipped_readings.items()
        raise rows_rejected({first: [skipped_message(series, count)] for series, (first, count) in skipped})
    if first is None:
        raise rows_rejected({2: ["The file has no usages."]})
    db.session.execute(sa.text(_CREATE))
    stream = _CopyStream(chain([first], lines))
    columns = ", ".join(["line", *STAGED_COLUMNS, "outcome", "errors", "cells"])
    connection = db.session.connection()
    driver = cast(Any, connection.connection.driver_connection)
    try:
        with driver.cursor() as cursor:
            cursor.copy_expert(f"COPY staged ({columns}) FROM STDIN WITH (ENCODING 'UTF8')", stream)
    except psycopg2.Error as error:
        if driver.closed:  # SQLAlchemy does not see errors of direct driver calls, and would try to roll back.
            connection.invalidate()
        raise stream.failure or sa.exc.DBAPIError("COPY", None, error) from None
    # Without statistics, PostgreSQL assumes a small table and plans nested loops. A small sample suffices.
    db.session.execute(sa.text("ANALYZE pg_temp.staged"))
    return kind


def _copy_lines(file: IO[bytes], kind: str, parser: RowParser, ignored: Collection[str]) -> Iterator[str]:
    """Yield the rows of a file as lines for COPY."""
    schema = CellsSchema()
    skipped = {*ignored, *REJECTED_COLUMNS, *(UsageSchema().fields.keys() - schema.fields.keys())}
    unreadable: RowErrors = {}
    file_format = parser.file_format
    rows: Iterator[tuple[int, Cells | None]]
    if kind == "greenbutton":
        if parser.has_default_meter:
            skipped.add("meter")
        rows = read_green_button(
            file,
            file_format.commodity,
            parser.required,
            skipped,
            unreadable,
            file_format.reverse_usage_type_id,
            parser.skipped_readings,
        )
    elif kind == "ndjson":
        rows = read_ndjson(file, schema, (), skipped, unreadable, file_format.columns)
    else:
        delimiter, names = file_format.delimiter, file_format.columns
        rows = read_csv(file, schema, parser.required, skipped, unreadable, delimiter, names)
    for line, cells in rows:
        if cells is None:
            messages = unreadable.pop(line)
            yield invalid_row(line, [{"column": None, "found": None, "message": text} for text in messages], {})
        elif (copy_line := parser.copy_line(line, cells)) is not None:
            yield copy_line


def count_outcomes() -> Outcomes:
    counts = sa.select(Row.outcome, sa.func.count()).group_by(Row.outcome)
    return Outcomes(**dict(db.session.execute(counts).all()))


def valid_rows(*outcomes: str) -> Any:
    """Return the rows with one of these outcomes, with the columns that the ledger expects."""
    columns = (Row.line.label("place"), *(Row[name] for name in candidates.COLUMNS), Row.usage_id)
    return sa.select(*columns).where(Row.outcome.in_(outcomes)).subquery("given")


def reject(
    column: str, value: sa.ColumnElement[Any], message: sa.ColumnElement[str], *criteria: sa.ColumnElement[bool]
) -> None:
    """Reject the valid rows that match the criteria, with an error for this column."""
    found = sa.func.left(as_text(value), MAX_CELL_SHOWN)
    error = sa.func.jsonb_build_object("column", column, "found", found, "message", message)
    rejected = {"outcome": REJECTED, "errors": sa.func.jsonb_build_array(error)}
    db.session.execute(sa.update(STAGED).where(IS_VALID, *criteria).values(rejected))


def reject_duplicates(
    column: str,
    value: sa.ColumnElement[Any],
    key: Sequence[sa.ColumnElement[Any]],
    message: str,
    *criteria: sa.ColumnElement[bool],
) -> None:
    """Reject the valid rows whose key an earlier row has too. message: a format for the value and the earlier line."""
    first = sa.func.first_value(Row.line).over(partition_by=key, order_by=Row.line).label("first")
    keyed = sa.select(Row.line, first).where(IS_VALID, *criteria).subquery("keyed")
    text = sa.func.format(message, as_text(value), keyed.c.first)
    reject(column, value, text, keyed.c.line == Row.line, keyed.c.first < keyed.c.line)


def as_text(value: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """Return the value as text; a time in RFC 3339 and UTC."""
    return json_sql.as_text(value) if isinstance(value.type, sa.DateTime) else sa.cast(value, sa.Text)


def distinct_pairs(first: sa.ColumnElement[Any], second: sa.ColumnElement[Any], subject: str) -> Sequence[Any]:
    """Return the different pairs of these columns. Raise ValidationFailed, with the subject, for too many."""
    pairs = sa.select(first, second).where(IS_VALID, first.is_not(None), second.is_not(None)).distinct()
    found = db.session.execute(pairs.limit(MAX_DISTINCT_PAIRS + 1)).all()
    if len(found) > MAX_DISTINCT_PAIRS:
        raise rows_rejected({1: [f"The file must not have more than {MAX_DISTINCT_PAIRS} different {subject}."]})
    return found


def values_table(rows: list[Any], **columns: Any) -> Any:
    """Return these rows as a table with columns of these types. A statement can have one such table."""
    arrays = [sa.cast([row[place] for row in rows], ARRAY(type_)) for place, type_ in enumerate(columns.values())]
    table = sa.func.unnest(*arrays).table_valued(*(sa.column(name, type_) for name, type_ in columns.items()))
    return table.render_derived(name="lookup")


class _CopyStream:
    """Lines as a file that COPY reads."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._rest = b""
        self.failure: Exception | None = None

    def read(self, size: int) -> bytes:
        try:
            parts, length = [self._rest], len(self._rest)
            while length < size and (line := next(self._lines, None)) is not None:
                part = line.encode()
                parts.append(part)
                length += len(part)
        except Exception as failure:
            self.failure = failure
            raise
        chunk = b"".join(parts)
        self._rest = chunk[size:]
        return chunk[:size]

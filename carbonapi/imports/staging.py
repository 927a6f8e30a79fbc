"""The lines of a file as a table that lasts as long as the transaction: filled by COPY, checked as one."""

from collections.abc import Collection, Iterator
from itertools import chain
from typing import IO, Any, cast

import psycopg2
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from ..auth import visible
from ..catalogue.models import UsageType
from ..catalogue.units import FRACTION_DIGITS, MAX_AMOUNT, find_unit
from ..db import count_affected, db, timeouts
from ..errors import ValidationFailed
from ..periods.models import ClosedPeriod
from ..rest import json_sql
from ..usages import candidates
from ..usages.schemas import UsageSchema
from ..usages.validation import END_BEFORE_START, INTERVAL_TOO_LONG, MAX_INTERVAL
from .formats.green_button import read_green_button
from .formats.rows import LONGEST_SHOWN, STAGED_COLUMNS, CellsSchema, RowParser, invalid_row
from .formats.text_files import RowErrors, is_ndjson, is_xml, read_csv, read_ndjson, rows_rejected

MOST_UNITS = 1000
TOLD_OF_REJECTED = ("rejected_line", "rejected_because")  # Columns of the export of rejected lines.
# `place` is the line. One with errors has no more than `cells`, what it said.
STAGED = sa.Table(
    "staged",
    sa.MetaData(),
    sa.Column("place", sa.BigInteger),
    *(sa.Column(name, candidates.COLUMNS.get(name, sa.Text())) for name in STAGED_COLUMNS),
    sa.Column("errors", JSONB),
    sa.Column("cells", JSONB),
    sa.Column("amount_in_type_unit", candidates.COLUMNS["amount_in_type_unit"]),
    sa.Column("usage_id", sa.BigInteger),  # The one in the ledger that it is about, if there is one,
    sa.Column("same", sa.Boolean),  # and whether that says the same already.
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
Row = STAGED.c
GOOD = Row.errors.is_(None)
_PREPARED = (
    f"{timeouts(minutes=10, lock_seconds=30, idle_seconds=60)}; DROP TABLE IF EXISTS pg_temp.staged; "
    f"{sa.schema.CreateTable(STAGED).compile(dialect=sa.dialects.postgresql.dialect())}"
)


def load_staging_table(file: IO[bytes], reader: RowParser, ignored: Collection[str]) -> None:
    """Read a file into the table. Raises Invalid for a wrong header."""
    schema = CellsSchema()
    skipped = {*ignored, *TOLD_OF_REJECTED, *(UsageSchema().fields.keys() - schema.fields.keys())}
    unreadable: RowErrors = {}
    layout = reader.layout
    kind = layout.format or ("ndjson" if is_ndjson(file) else "greenbutton" if is_xml(file) else "csv")
    if kind == "greenbutton":
        lines = read_green_button(file, layout.commodity, reader.required, skipped, unreadable)
    elif kind == "ndjson":
        lines = read_ndjson(file, schema, (), skipped, unreadable, layout.columns)
    else:
        lines = read_csv(file, schema, reader.required, skipped, unreadable, layout.delimiter, layout.columns)

    def copied() -> Iterator[str]:
        for line, cells in lines:
            if cells is None:
                reader.lines += 1
                reader.faulty += 1
                messages = unreadable.pop(line)
                yield invalid_row(line, [{"column": None, "found": None, "message": text} for text in messages], {})
            elif (row := reader.copied(line, cells)) is not None:
                yield row

    source = copied()
    first = next(source, None)
    if first is None:
        raise rows_rejected({2: ["The file has no usages."]})
    db.session.execute(sa.text(_PREPARED))
    stream = _Stream(chain([first], source))
    columns = ", ".join(["place", *STAGED_COLUMNS, "errors", "cells"])
    connection = db.session.connection()
    driver = cast(Any, connection.connection.driver_connection)
    try:
        with driver.cursor() as cursor:
            cursor.copy_expert(f"COPY staged ({columns}) FROM STDIN WITH (ENCODING 'UTF8')", stream)
    except psycopg2.Error as error:
        if driver.closed:  # SQLAlchemy does not see what the driver is told directly, and would roll back in vain.
            connection.invalidate()
        raise stream.failure or sa.exc.DBAPIError("COPY", None, error) from None
    # Else PostgreSQL takes the table for a small one, and compares every line with everything that it is joined to.
    db.session.execute(sa.text("ANALYZE pg_temp.staged"))


def validate(organization_id: int, used: Collection[str]) -> int:
    """Find what is wrong with the lines by themselves and beside one another. Gives how many are.

    used: the columns that the file says anything in.
    """
    found = 0
    if "usage_until" in used:
        ends_early = Row.usage_until <= Row.usage_at
        found += add_error("usage_until", Row.usage_until, sa.literal(END_BEFORE_START), ends_early)
        too_long = Row.usage_until - Row.usage_at > MAX_INTERVAL
        found += add_error("usage_until", Row.usage_until, sa.literal(INTERVAL_TOO_LONG), too_long)
    if "unit" in used:
        found += _measure()
    if "external_id" in used:
        found += add_duplicate_error("external_id", Row.external_id, [Row.external_id], Row.external_id.is_not(None))
    if "adjusts_closed_period_id" in used:
        closed = sa.exists().where(
            ClosedPeriod.organization_id == organization_id,
            ClosedPeriod.id == Row.adjusts_closed_period_id,
            ClosedPeriod.reopened_at.is_(None),
        )
        message = sa.func.format(
            "Your organization has no closed period %s; GET /closed-periods lists them.", Row.adjusts_closed_period_id
        )
        found += add_error(
            "adjusts_closed_period_id",
            Row.adjusts_closed_period_id,
            message,
            Row.adjusts_closed_period_id.is_not(None),
            ~closed,
        )
    return found


def add_error(
    column: str, value: sa.ColumnElement[Any], message: sa.ColumnElement[str], *criteria: sa.ColumnElement[bool]
) -> int:
    """Let good lines of which this holds have this fault. Gives how many there are."""
    found = sa.func.left(as_text(value), LONGEST_SHOWN)
    fault = sa.func.jsonb_build_object("column", column, "found", found, "message", message)
    marking = sa.update(STAGED).where(GOOD, *criteria).values(errors=sa.func.jsonb_build_array(fault))
    return count_affected(marking)


def add_duplicate_error(
    column: str, value: sa.ColumnElement[Any], key: list[sa.ColumnElement[Any]], *criteria: sa.ColumnElement[bool]
) -> int:
    """Let good lines whose key stands in an earlier one have that as a fault. Gives how many there are."""
    first = sa.func.first_value(Row.place).over(partition_by=key, order_by=Row.place).label("first")
    keyed = sa.select(Row.place, first).where(GOOD, *criteria).subquery("keyed")
    message = sa.literal("'").concat(as_text(value)).concat("' stands in line ")
    message = message.concat(sa.cast(keyed.c.first, sa.Text)).concat(" already.")
    return add_error(column, value, message, keyed.c.place == Row.place, keyed.c.first < keyed.c.place)


def valid_rows(*criteria: sa.ColumnElement[bool]) -> Any:
    """The good lines, as usages are given to the ledger."""
    columns = (Row.place, *(Row[name] for name in candidates.COLUMNS), Row.usage_id)
    return sa.select(*columns).where(GOOD, *criteria).subquery("given")


def as_text(value: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """The value as text; a time as RFC 3339 has it, in UTC."""
    return json_sql.as_text(value) if isinstance(value.type, sa.DateTime) else sa.cast(value, sa.Text)


def _measure() -> int:
    """Measure the amounts of lines with a unit in their type's own. Gives how many lines cannot be."""
    pairs = sa.select(Row.usage_type_id, Row.unit).where(GOOD, Row.unit.is_not(None)).distinct().limit(MOST_UNITS + 1)
    given_units = db.session.execute(pairs).all()
    if len(given_units) > MOST_UNITS:
        raise rows_rejected({1: [f"There are more than {MOST_UNITS} different units in the file."]})
    ids = {usage_type_id for usage_type_id, _ in given_units}
    types = {known.id: known for known in db.session.scalars(visible(UsageType).where(UsageType.id.in_(ids)))}
    known, unknown = [], []
    for usage_type_id, unit in given_units:
        if usage_type_id in types:
            try:
                found = find_unit(unit, types[usage_type_id].unit)
                known.append((usage_type_id, unit, found.unit, found.numerator, found.denominator))
            except ValidationFailed as error:
                unknown.append((usage_type_id, unit, str(error)))
    faulty = 0
    if unknown:
        wrong = values_table(unknown, usage_type_id=sa.BigInteger, unit=sa.Text, message=sa.Text)
        faulty += add_error("unit", Row.unit, wrong.c.message, *_of(wrong))
    if known:
        columns = {"numerator": sa.Numeric, "denominator": sa.Numeric}
        units = values_table(known, usage_type_id=sa.BigInteger, unit=sa.Text, called=sa.Text, **columns)
        converted = _converted(units)
        too_many = sa.func.format("So many %s are too many in the usage type's own unit.", units.c.called)
        faulty += add_error("amount", Row.amount, too_many, *_of(units), sa.func.abs(converted) >= MAX_AMOUNT)
        measured = {"unit": units.c.called, "amount_in_type_unit": converted}
        db.session.execute(sa.update(STAGED).where(GOOD, *_of(units)).values(measured))
    return faulty


def _of(units: Any) -> tuple[sa.ColumnElement[bool], ...]:
    return Row.usage_type_id == units.c.usage_type_id, Row.unit == units.c.unit


def _converted(units: Any) -> sa.ColumnElement[Any]:
    """The amount in the type's unit, rounded half to even at its twelfth decimal, as `convert` does it."""
    scaled = sa.func.abs(Row.amount) * 10**FRACTION_DIGITS * units.c.numerator
    whole = sa.func.div(scaled, units.c.denominator, type_=sa.Numeric)
    twice_rest = 2 * (scaled - whole * units.c.denominator)
    is_odd = sa.func.mod(whole, 2) == 1
    up = sa.or_(twice_rest > units.c.denominator, sa.and_(twice_rest == units.c.denominator, is_odd))
    rounded = whole + sa.case((up, 1), else_=0)
    return sa.func.sign(Row.amount, type_=sa.Numeric) * rounded * sa.literal_column(f"1e-{FRACTION_DIGITS}::numeric")


def values_table(rows: list[Any], **columns: Any) -> Any:
    """These rows as a table of the statement, whose columns have these types. There is one in a statement at most."""
    arrays = [
        sa.cast(list(values), ARRAY(type_))
        for values, type_ in zip(zip(*rows, strict=True), columns.values(), strict=True)
    ]
    table = sa.func.unnest(*arrays).table_valued(*(sa.column(name, type_) for name, type_ in columns.items()))
    return table.render_derived(name="told")


class _Stream:
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

"""The lines of a file as a table that lasts as long as the transaction: filled by COPY, checked as one."""

from collections.abc import Collection, Iterator
from itertools import chain
from typing import IO, Any, cast

import psycopg2
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from ..auth import visible
from ..catalogue.models import UsageType
from ..catalogue.units import FRACTION_DIGITS, LARGEST_AMOUNT, unit_in
from ..db import db
from ..errors import Invalid
from ..periods.models import Period
from ..rest.json_sql import plain_text
from ..usages import candidates
from ..usages.schemas import UsageSchema
from ..usages.validation import ENDS_BEFORE_IT_BEGINS, LASTS_TOO_LONG, LONGEST_PERIOD
from .formats.green_button import readings_of
from .formats.rows import LONGEST_SHOWN, STAGED_COLUMNS, CellsSchema, LineReader, faulty_line
from .formats.text_files import Faults, cells_of, is_ndjson, is_xml, objects_of, refused

STATEMENT_TIMEOUT = "10min"
MOST_UNITS = 1000
TOLD_OF_REJECTED = ("rejected_line", "rejected_because")  # Columns of the export of rejected lines.
# `place` is the line. One with faults has no more than `cells`, what it said.
STAGED = sa.Table(
    "staged",
    sa.MetaData(),
    sa.Column("place", sa.BigInteger),
    *(sa.Column(name, candidates.COLUMNS.get(name, sa.Text())) for name in STAGED_COLUMNS),
    sa.Column("faults", JSONB),
    sa.Column("cells", JSONB),
    sa.Column("amount_in_type_unit", candidates.COLUMNS["amount_in_type_unit"]),
    sa.Column("usage_id", sa.BigInteger),  # The one in the ledger that it is about, if there is one,
    sa.Column("same", sa.Boolean),  # and whether that says the same already.
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
Row = STAGED.c
GOOD = Row.faults.is_(None)
_PREPARED = (
    f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'; SET LOCAL lock_timeout = '30s'; "
    "SET LOCAL idle_in_transaction_session_timeout = '1min'; DROP TABLE IF EXISTS pg_temp.staged; "
    f"{sa.schema.CreateTable(STAGED).compile(dialect=sa.dialects.postgresql.dialect())}"
)


def stage(file: IO[bytes], reader: LineReader, ignored: Collection[str]) -> None:
    """Read a file into the table. Raises Invalid for a wrong header."""
    schema = CellsSchema()
    skipped = {*ignored, *TOLD_OF_REJECTED, *(UsageSchema().fields.keys() - schema.fields.keys())}
    unreadable: Faults = {}
    layout = reader.layout
    kind = layout.format or ("ndjson" if is_ndjson(file) else "greenbutton" if is_xml(file) else "csv")
    if kind == "greenbutton":
        lines = readings_of(file, layout.commodity, reader.required, skipped, unreadable)
    elif kind == "ndjson":
        lines = objects_of(file, schema, (), skipped, unreadable, layout.columns)
    else:
        lines = cells_of(file, schema, reader.required, skipped, unreadable, layout.delimiter, layout.columns)

    def copied() -> Iterator[str]:
        for line, cells in lines:
            if cells is None:
                reader.lines += 1
                reader.faulty += 1
                messages = unreadable.pop(line)
                yield faulty_line(line, [{"column": None, "found": None, "message": text} for text in messages], {})
            elif (row := reader.copied(line, cells)) is not None:
                yield row

    source = copied()
    first = next(source, None)
    if first is None:
        raise refused({2: ["The file has no usages."]})
    db.session.execute(sa.text(_PREPARED))
    stream = _Stream(chain([first], source))
    columns = ", ".join(["place", *STAGED_COLUMNS, "faults", "cells"])
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


def check(organization_id: int, used: Collection[str]) -> int:
    """Find what is wrong with the lines by themselves and beside one another. Gives how many are.

    used: the columns that the file says anything in.
    """
    found = 0
    if "usage_until" in used:
        ends_early = Row.usage_until <= Row.usage_at
        found += mark("usage_until", Row.usage_until, sa.literal(ENDS_BEFORE_IT_BEGINS), ends_early)
        too_long = Row.usage_until - Row.usage_at > LONGEST_PERIOD
        found += mark("usage_until", Row.usage_until, sa.literal(LASTS_TOO_LONG), too_long)
    if "unit" in used:
        found += _measure()
    if "external_id" in used:
        found += mark_twice("external_id", Row.external_id, [Row.external_id], Row.external_id.is_not(None))
    if "adjusts_period_id" in used:
        closed = sa.exists().where(
            Period.organization_id == organization_id,
            Period.id == Row.adjusts_period_id,
            Period.reopened_at.is_(None),
        )
        message = sa.func.format(
            "Your organization has no closed period %s; GET /periods lists them.", Row.adjusts_period_id
        )
        found += mark("adjusts_period_id", Row.adjusts_period_id, message, Row.adjusts_period_id.is_not(None), ~closed)
    return found


def mark(
    column: str, value: sa.ColumnElement[Any], message: sa.ColumnElement[str], *criteria: sa.ColumnElement[bool]
) -> int:
    """Let good lines of which this holds have this fault. Gives how many there are."""
    found = sa.func.left(shown(value), LONGEST_SHOWN)
    fault = sa.func.jsonb_build_object("column", column, "found", found, "message", message)
    marking = sa.update(STAGED).where(GOOD, *criteria).values(faults=sa.func.jsonb_build_array(fault))
    return int(cast(Any, db.session.execute(marking)).rowcount)


def mark_twice(
    column: str, value: sa.ColumnElement[Any], key: list[sa.ColumnElement[Any]], *criteria: sa.ColumnElement[bool]
) -> int:
    """Let good lines whose key stands in an earlier one have that as a fault. Gives how many there are."""
    first = sa.func.first_value(Row.place).over(partition_by=key, order_by=Row.place).label("first")
    keyed = sa.select(Row.place, first).where(GOOD, *criteria).subquery("keyed")
    message = sa.literal("'").concat(shown(value)).concat("' stands in line ")
    message = message.concat(sa.cast(keyed.c.first, sa.Text)).concat(" already.")
    return mark(column, value, message, keyed.c.place == Row.place, keyed.c.first < keyed.c.place)


def good(*criteria: sa.ColumnElement[bool]) -> Any:
    """The good lines, as usages are given to the ledger."""
    columns = (Row.place, *(Row[name] for name in candidates.COLUMNS), Row.usage_id)
    return sa.select(*columns).where(GOOD, *criteria).subquery("given")


def shown(value: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """The value as text; a time as RFC 3339 has it, in UTC."""
    return plain_text(value) if isinstance(value.type, sa.DateTime) else sa.cast(value, sa.Text)


def _measure() -> int:
    """Measure the amounts of lines with a unit in their type's own. Gives how many lines cannot be."""
    pairs = sa.select(Row.usage_type_id, Row.unit).where(GOOD, Row.unit.is_not(None)).distinct().limit(MOST_UNITS + 1)
    given_units = db.session.execute(pairs).all()
    if len(given_units) > MOST_UNITS:
        raise refused({1: [f"There are more than {MOST_UNITS} different units in the file."]})
    ids = {usage_type_id for usage_type_id, _ in given_units}
    types = {known.id: known for known in db.session.scalars(visible(UsageType).where(UsageType.id.in_(ids)))}
    known, unknown = [], []
    for usage_type_id, unit in given_units:
        if usage_type_id in types:
            try:
                found = unit_in(unit, types[usage_type_id].unit)
                known.append((usage_type_id, unit, found.unit, found.numerator, found.denominator))
            except Invalid as error:
                unknown.append((usage_type_id, unit, str(error)))
    faulty = 0
    if unknown:
        wrong = table_of(unknown, usage_type_id=sa.BigInteger, unit=sa.Text, message=sa.Text)
        faulty += mark("unit", Row.unit, wrong.c.message, *_of(wrong))
    if known:
        columns = {"numerator": sa.Numeric, "denominator": sa.Numeric}
        units = table_of(known, usage_type_id=sa.BigInteger, unit=sa.Text, called=sa.Text, **columns)
        converted = _converted(units)
        too_many = sa.func.format("So many %s are too many in the usage type's own unit.", units.c.called)
        faulty += mark("amount", Row.amount, too_many, *_of(units), sa.func.abs(converted) >= LARGEST_AMOUNT)
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


def table_of(rows: list[Any], **columns: Any) -> Any:
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

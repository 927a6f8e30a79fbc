"""Rows as text that PostgreSQL writes: in JSON, the very bytes that a schema's dump would be.

Numbers never pass through Python, so they keep their digits, and a page of a hundred rows costs hardly more than its
transport. What is selected in place of the columns is worked out once for each schema and table.
"""

from functools import cache
from typing import Any

import marshmallow as ma
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

# What PostgreSQL can write as JSON has it. A JSONB column is not among them: its text has spaces, and its own order.
WRITABLE = (sa.String, sa.DateTime, sa.Numeric, sa.Integer, sa.Boolean)
_NULL: sa.ColumnElement[Any] = sa.literal_column("json 'null'")


def row_as_json(schema: type[ma.Schema], model: Any) -> sa.ColumnElement[str] | None:
    """An expression for the JSON object of a row of `model`; None if a field of the schema is no such column."""
    return _kept_line(schema, model)


def schema_columns(rows: sa.Select[Any], schema: type[ma.Schema]) -> dict[str, sa.ColumnElement[Any]]:
    """The columns of the SELECT that the schema's fields show, by the names of the fields."""
    return {name: rows.selected_columns[field.attribute or name] for name, field in schema().fields.items()}


def json_object(columns: dict[str, sa.ColumnElement[Any]]) -> sa.ColumnElement[str]:
    """An expression for the JSON object of these columns."""
    parts: list[Any] = []
    for name, column in columns.items():
        parts += [sa.literal(f'{"," if parts else "{"}"{name}":'), _json(column)]
    # One call that writes all of them: a chain of `||` would copy the line once for each.
    return sa.func.concat(*parts, sa.literal("}"), type_=sa.Text)


def as_text(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A number, a truth or a time as text, as fields.plain and fields.rfc3339 write them."""
    if isinstance(column.type, sa.DateTime):
        return _rfc3339(column)
    return sa.cast(trim_scale(column), sa.Text)


def trim_scale(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """A decimal without trailing zeros, as fields.plain writes it; any other column as it is."""
    return sa.func.trim_scale(column) if isinstance(column.type, sa.Numeric) else column


@cache
def _kept_line(schema: type[ma.Schema], model: Any) -> sa.ColumnElement[str] | None:
    try:
        columns = schema_columns(sa.select(model), schema)
    except KeyError:
        return None
    if not all(isinstance(column.type, WRITABLE) for column in columns.values()):
        return None
    # One piece of text: to build and look up so many parts with each request would take longer than to run them.
    selected = sa.select(json_object(columns).label("line")).select_from(model)
    text = str(selected.compile(dialect=postgresql.dialect(paramstyle="named"), compile_kwargs={"literal_binds": True}))
    line, _, _ = text.removeprefix("SELECT ").rpartition(f" AS line \nFROM {model.__tablename__}")
    return sa.literal_column(line, sa.Text).label("line")


def _json(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    if isinstance(column.type, sa.String):
        return sa.func.coalesce(sa.func.to_json(column, type_=sa.JSON), _NULL)
    text = as_text(column)
    if isinstance(column.type, sa.DateTime):
        text = sa.literal('"').concat(text).concat('"')
    return sa.func.coalesce(text, "null")


def _rfc3339(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return an instant as text. A migration defines the function."""
    return sa.func.rfc3339(column, type_=sa.Text)

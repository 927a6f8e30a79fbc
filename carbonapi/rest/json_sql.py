"""SQL expressions with which PostgreSQL writes rows as JSON, byte for byte as a schema would.

A page of JSON takes PostgreSQL a fraction of the time that Python needs. The expressions are built once for each schema
and table.
"""

from functools import cache
from typing import Any

import marshmallow as ma
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

# The types that PostgreSQL writes as orjson does. JSONB is not among them: its text has spaces and its own key order.
WRITABLE = (sa.String, sa.DateTime, sa.Numeric, sa.Integer, sa.Boolean)
_NULL: sa.ColumnElement[Any] = sa.literal_column("json 'null'")


@cache
def row_as_json(schema: type[ma.Schema], model: Any) -> sa.ColumnElement[str] | None:
    """Return an expression for the JSON of a row of `model`, or None if a field has no column of a writable type."""
    try:
        columns = schema_columns(sa.select(model), schema)
    except KeyError:
        return None
    if not all(isinstance(column.type, WRITABLE) for column in columns.values()):
        return None
    # One literal: SQLAlchemy takes longer to look up the many parts of the expression than PostgreSQL to execute it.
    selected = sa.select(json_object(columns).label("row_json")).select_from(model)
    text = str(selected.compile(dialect=postgresql.dialect(paramstyle="named"), compile_kwargs={"literal_binds": True}))
    expression, _, _ = text.removeprefix("SELECT ").rpartition(f" AS row_json \nFROM {model.__tablename__}")
    return sa.literal_column(expression, sa.Text).label("row_json")


def schema_columns(rows: sa.Select[Any], schema: type[ma.Schema]) -> dict[str, sa.ColumnElement[Any]]:
    """Return the selected columns for the schema's fields, by field name."""
    return {name: rows.selected_columns[field.attribute or name] for name, field in schema().fields.items()}


def json_object(columns: dict[str, sa.ColumnElement[Any]]) -> sa.ColumnElement[str]:
    """Return an expression for a JSON object of these columns."""
    parts: list[Any] = []
    for name, column in columns.items():
        parts += [sa.literal(f'{"," if parts else "{"}"{name}":'), _json(column)]
    # One call: a chain of `||` would copy the text for each part.
    return sa.func.concat(*parts, sa.literal("}"), type_=sa.Text)


def as_text(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return a number, boolean or time as text, as format_decimal and format_datetime write it."""
    if isinstance(column.type, sa.DateTime):
        return sa.func.rfc3339(column, type_=sa.Text)  # A migration defines the function.
    return sa.cast(trim_scale(column), sa.Text)


def trim_scale(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return a decimal without trailing zeros, and other columns unchanged."""
    return sa.func.trim_scale(column) if isinstance(column.type, sa.Numeric) else column


def _json(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    if isinstance(column.type, sa.String):
        return sa.func.coalesce(sa.func.to_json(column, type_=sa.JSON), _NULL)
    text = as_text(column)
    if isinstance(column.type, sa.DateTime):
        text = sa.literal('"').concat(text).concat('"')
    return sa.func.coalesce(text, "null")

"""Read and store the errors of rejected rows."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from ...db import db
from ...errors import MAX_ERRORS_SHOWN
from ..formats.rows import NAMES, STAGED_COLUMNS
from ..models import Import, ImportRowError
from ..staging import IS_VALID, REJECTED_COLUMNS, STAGED, Row, as_text


def first_errors() -> dict[int, list[dict[str, Any]]]:
    """Return the errors of the first rejected rows, by line."""
    first = sa.select(Row.line, Row.errors).where(~IS_VALID).order_by(Row.line).limit(MAX_ERRORS_SHOWN)
    return {row.line: row.errors for row in db.session.execute(first)}


def errors_of(imp: Import) -> sa.Select[Any]:
    """Select the errors of an import that the actor may see."""
    return sa.select(ImportRowError).where(
        ImportRowError.organization_id == imp.organization_id, ImportRowError.import_id == imp.id
    )


def rejected_lines(imp: Import) -> sa.Select[Any]:
    """Select the rejected lines of an import once each, with their cells and all their errors."""
    message = sa.func.concat_ws(": ", ImportRowError.column, ImportRowError.message)
    messages = sa.func.string_agg(message, " ").over(partition_by=ImportRowError.line)
    first = sa.func.min(ImportRowError.id).over(partition_by=ImportRowError.line).label("first")
    cells = (ImportRowError.cells[name].astext.label(name) for name in STAGED_COLUMNS)
    line_name, messages_name = REJECTED_COLUMNS
    lines = errors_of(imp).with_only_columns(
        ImportRowError.id, ImportRowError.line.label(line_name), messages.label(messages_name), first, *cells
    )
    line = lines.subquery("lines").c
    is_first = sa.and_(ImportRowError.organization_id == imp.organization_id, ImportRowError.id == line.id)
    return sa.select(*line).join(ImportRowError, is_first).where(line.id == line.first)


def store_errors(imp: Import, rejected_count: int) -> None:
    """Store the errors of the rejected rows with the import, each with the cells of its row."""
    error: Any = sa.func.jsonb_array_elements(Row.errors, type_=JSONB).table_valued(sa.column("error", JSONB))
    error = error.lateral("each").render_derived()
    columns = {
        "organization_id": sa.literal(imp.organization_id, sa.BigInteger),
        "import_id": sa.literal(imp.id, sa.BigInteger),
        "line": Row.line,
        **{name: error.c.error.op("->>")(name) for name in ("column", "found", "message")},
        "cells": sa.func.coalesce(Row.cells, _cells()),
    }
    errors = sa.select(*columns.values()).join_from(STAGED, error, sa.true()).where(~IS_VALID).order_by(Row.line)
    stored = sa.insert(ImportRowError).from_select(list(columns), errors).returning(ImportRowError.id).cte("stored")
    imp.error_count = db.session.scalar(sa.select(sa.func.count()).select_from(stored)) or 0
    imp.rejected_count = rejected_count
    imp.errors = [{"line": line, **error} for line, errors in first_errors().items() for error in errors]


def _cells() -> sa.ColumnElement[Any]:
    """Return the cells of a row that the parser accepted, as the file had them: names rather than their ids."""
    cells = {name: as_text(Row[name]) for name in STAGED_COLUMNS}
    for name, id_name in NAMES.items():
        cells[id_name] = sa.case((Row[name].is_(None), cells[id_name]))
    pairs = [part for name, cell in cells.items() for part in (sa.literal(name), cell)]
    return sa.func.jsonb_strip_nulls(sa.func.jsonb_build_object(*pairs))

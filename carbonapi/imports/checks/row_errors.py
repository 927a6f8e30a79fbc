"""Lines that cannot be booked: how that is told, and what is kept of it."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from ...db import db
from ...errors import ValidationFailed
from ..formats.rows import NAMES, STAGED_COLUMNS, sentences
from ..formats.text_files import MAX_ERRORS_SHOWN, rows_rejected
from ..models import Import, ImportRowError
from ..staging import GOOD, STAGED, Row, as_text


def first_errors() -> dict[int, list[dict[str, Any]]]:
    """The errors of the first hundred lines that have any, by line."""
    first = sa.select(Row.place, Row.errors).where(~GOOD).order_by(Row.place).limit(MAX_ERRORS_SHOWN)
    return {row.place: row.errors for row in db.session.execute(first)}


def errors_of(booked: Import) -> sa.Select[Any]:
    """The errors of an import that the actor may see."""
    return sa.select(ImportRowError).where(
        ImportRowError.organization_id == booked.organization_id, ImportRowError.import_id == booked.id
    )


def rejected_lines(booked: Import) -> sa.Select[Any]:
    """The lines of an import that were not booked, once each, as they can be sent again; and why."""
    fault = sa.func.concat_ws(": ", ImportRowError.column, ImportRowError.message)
    of_line = sa.func.string_agg(fault, " ").over(partition_by=ImportRowError.line)
    first = sa.func.min(ImportRowError.id).over(partition_by=ImportRowError.line).label("first")
    columns = [ImportRowError.cells[name].astext.label(name) for name in STAGED_COLUMNS]
    told = errors_of(booked).with_only_columns(
        ImportRowError.id,
        ImportRowError.line.label("rejected_line"),
        of_line.label("rejected_because"),
        first,
        *columns,
    )
    lines = told.subquery("lines")
    return (
        sa.select(*lines.c)
        .join(
            ImportRowError,
            sa.and_(ImportRowError.organization_id == booked.organization_id, ImportRowError.id == lines.c.id),
        )
        .where(lines.c.id == lines.c.first)
    )


def refused_by(count: int) -> ValidationFailed:
    """The error that shows the errors of the first of so many lines."""
    return rows_rejected({line: sentences(errors) for line, errors in first_errors().items()}, count=count)


def store_errors(organization_id: int, import_id: int) -> int:
    """Keep what is wrong with which line, beside what the line said. Gives the number of errors."""
    each: Any = sa.func.jsonb_array_elements(Row.errors, type_=JSONB).table_valued(sa.column("fault", JSONB))
    each = each.lateral("each").render_derived()
    fault = each.c.fault
    read = {name: as_text(Row[name]) for name in STAGED_COLUMNS}
    for name, number in NAMES.items():  # What was named has no id, or the line could not be sent again.
        read[number] = sa.case((Row[name].is_(None), read[number]))
    pairs = [part for name, value in read.items() for part in (sa.literal(name), value)]
    said = sa.func.coalesce(Row.cells, sa.func.jsonb_strip_nulls(sa.func.jsonb_build_object(*pairs)))
    columns = {
        "organization_id": sa.literal(organization_id, sa.BigInteger),
        "import_id": sa.literal(import_id, sa.BigInteger),
        "line": Row.place,
        "column": fault.op("->>")("column"),
        "found": fault.op("->>")("found"),
        "message": fault.op("->>")("message"),
        "cells": said,
    }
    errors = sa.select(*columns.values()).join_from(STAGED, each, sa.true()).where(~GOOD).order_by(Row.place)
    kept = sa.insert(ImportRowError).from_select(list(columns), errors).returning(ImportRowError.id).cte("kept")
    return db.session.scalar(sa.select(sa.func.count()).select_from(kept)) or 0

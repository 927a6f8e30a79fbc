"""Lines that cannot be booked: how that is told, and what is kept of it."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from ...db import db
from ...errors import Invalid
from ..formats.rows import NAMES, STAGED_COLUMNS, sentences
from ..formats.text_files import MOST_FAULTS_SHOWN, refused
from ..models import Import, ImportFault
from ..staging import GOOD, STAGED, Row, shown


def first_faults() -> dict[int, list[dict[str, Any]]]:
    """The faults of the first hundred lines that have any, by line."""
    first = sa.select(Row.place, Row.faults).where(~GOOD).order_by(Row.place).limit(MOST_FAULTS_SHOWN)
    return {row.place: row.faults for row in db.session.execute(first)}


def faults_of(booked: Import) -> sa.Select[Any]:
    """The faults of an import that the actor may see."""
    return sa.select(ImportFault).where(
        ImportFault.organization_id == booked.organization_id, ImportFault.import_id == booked.id
    )


def rejected_lines(booked: Import) -> sa.Select[Any]:
    """The lines of an import that were not booked, once each, as they can be sent again; and why."""
    fault = sa.func.concat_ws(": ", ImportFault.column, ImportFault.message)
    of_line = sa.func.string_agg(fault, " ").over(partition_by=ImportFault.line)
    first = sa.func.min(ImportFault.id).over(partition_by=ImportFault.line).label("first")
    columns = [ImportFault.cells[name].astext.label(name) for name in STAGED_COLUMNS]
    told = faults_of(booked).with_only_columns(
        ImportFault.id, ImportFault.line.label("rejected_line"), of_line.label("rejected_because"), first, *columns
    )
    lines = told.subquery("lines")
    return (
        sa.select(*lines.c)
        .join(ImportFault, sa.and_(ImportFault.organization_id == booked.organization_id, ImportFault.id == lines.c.id))
        .where(lines.c.id == lines.c.first)
    )


def refused_by(count: int) -> Invalid:
    """The error that shows the faults of the first of so many lines."""
    return refused({line: sentences(faults) for line, faults in first_faults().items()}, count=count)


def keep_faults(organization_id: int, import_id: int) -> int:
    """Keep what is wrong with which line, beside what the line said. Gives the number of faults."""
    each: Any = sa.func.jsonb_array_elements(Row.faults, type_=JSONB).table_valued(sa.column("fault", JSONB))
    each = each.lateral("each").render_derived()
    fault = each.c.fault
    read = {name: shown(Row[name]) for name in STAGED_COLUMNS}
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
    faults = sa.select(*columns.values()).join_from(STAGED, each, sa.true()).where(~GOOD).order_by(Row.place)
    kept = sa.insert(ImportFault).from_select(list(columns), faults).returning(ImportFault.id).cte("kept")
    return db.session.scalar(sa.select(sa.func.count()).select_from(kept)) or 0

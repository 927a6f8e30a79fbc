"""Lines that cannot be booked: what the ledger lacks for them, how that is told, and what is kept of it."""

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from ..accounts.models import User
from ..db import db
from ..errors import Invalid
from ..usages import given
from ..usages.closing import is_open
from ..usages.models import Usage
from .cells import sentences
from .models import Import, ImportFault
from .reading import MOST_FAULTS_SHOWN, refused
from .staging import GOOD, STAGED, Row, good, mark, shown, table_of


def mark_lacking(organization_id: int, *criteria: sa.ColumnElement[bool]) -> int:
    """Let good lines of which this holds have as a fault what the ledger lacks to record them. Gives how many have.

    The first hundred are told all that can be said about it.
    """
    theirs = User.organization_id == organization_id
    told = given.faults_of(good(*criteria), theirs, most=MOST_FAULTS_SHOWN)
    lack = given.lacking(good(*criteria), theirs).order_by(None).subquery("lack")
    kinds: list[tuple[Any, str, Any, str]] = [
        (lack.c.known_user_id.is_(None), "user_id", lack.c.user_id, "There is no user %s."),
        (lack.c.known_type_id.is_(None), "usage_type_id", lack.c.usage_type_id, "There is no usage type %s."),
        (lack.c.archived, "usage_type_id", lack.c.usage_type_id, "Usage type %s is archived."),
        (~lack.c.is_open, "usage_at", lack.c.usage_at, "The books are closed over %s."),
        (sa.true(), "usage_at", lack.c.usage_at, "The usage type has no emission factor at %s."),
    ]
    faults = [
        (
            applies,
            sa.func.jsonb_build_object(
                "column", column, "found", shown(value), "message", sa.func.format(message, shown(value))
            ),
        )
        for applies, column, value, message in kinds
    ]
    marking = sa.update(STAGED).where(Row.place == lack.c.place)
    marking = marking.values(faults=sa.func.jsonb_build_array(sa.case(*faults)))
    count = int(cast(Any, db.session.execute(marking)).rowcount)
    if told:
        in_full = [
            (place, column, text) for place, error in told.items() for column, (text,) in error.errors["json"].items()
        ]
        full = table_of(in_full, place=sa.BigInteger, column=sa.Text, message=sa.Text)
        fault = Row.faults[0].op("||")(sa.func.jsonb_build_object("column", full.c.column, "message", full.c.message))
        better = sa.func.jsonb_build_array(fault)
        db.session.execute(sa.update(STAGED).where(Row.place == full.c.place).values(faults=better))
    return count


def mark_unmovable(organization_id: int) -> int:
    """Let good lines that would correct a usage over which the books are closed have that as a fault."""
    closed = sa.exists().where(
        Usage.organization_id == organization_id,
        Usage.id == Row.usage_id,
        ~is_open(organization_id, Usage.usage_at),
    )
    message = sa.literal("The books are closed over the usage that it would correct.")
    return mark("usage_at", Row.usage_at, message, ~Row.same, closed)


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
    columns = [ImportFault.cells[name].astext.label(name) for name in given.COLUMNS if name != "amount_in_type_unit"]
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
    read = {name: shown(Row[name]) for name in given.COLUMNS if name != "amount_in_type_unit"}
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

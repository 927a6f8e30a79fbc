"""Booking a file of usages: all of it, or nothing."""

import datetime as dt
import hashlib
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from .. import audit
from ..access import current_actor, named
from ..accounts.models import User
from ..db import db
from ..usages import ledger
from ..usages.closing import closed_periods
from ..usages.models import Usage
from ..usages.refusals import Refused
from .models import Import
from .overlaps import overlaps
from .reading import MOST_FAULTS_SHOWN, Faults, Row, read, refused, sentences

# So many usages go to the database in one statement.
CHUNK = 5_000
STATEMENT_TIMEOUT = "10min"
TOLD: tuple[sa.ColumnClause[Any], ...] = tuple(sa.column(name) for name in ("usage_count", "co2e_kg", "sha256"))


def book(file: bytes, now: dt.datetime, ignore: Collection[str] = (), **defaults: Any) -> Import:
    """Record every usage of a CSV file as one import.

    ignore: columns of the file that are not read.
    defaults: fields for columns that the file does not have; without `user_id` the usages are the actor's own.
    Raises Invalid that tells the faults by line; then nothing is recorded.
    """
    owner = named(User, defaults.setdefault("user_id", current_actor().id), "user_id", "query")
    rows, faults = read(file, {name: str(value) for name, value in defaults.items()}, ignore)
    faults |= _known_already(rows, owner.organization_id) | _adjusting_nothing(rows, owner.organization_id)
    if faults:
        raise refused(faults)
    db.session.execute(sa.text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'"))
    warnings = overlaps(rows, owner.organization_id)
    booked = Import(
        organization_id=owner.organization_id,
        usage_count=len(rows),
        warning_count=len(warnings),
        warnings=warnings[:MOST_FAULTS_SHOWN],
        sha256=hashlib.sha256(file).hexdigest(),
        recorded_at=now,
        recorded_by=current_actor().id,
    )
    db.session.add(booked)
    db.session.flush()
    for begin in range(0, len(rows), CHUNK):
        chunk = rows[begin : begin + CHUNK]
        try:
            ledger.record_all([usage for _, usage in chunk], now, owner.organization_id, booked.id)
        except Refused as error:
            faults |= {
                chunk[place][0]: sentences(fault.errors.get("json", {})) for place, fault in error.faults.items()
            }
    if faults:
        raise refused(faults)
    _tell(booked)
    return booked


def _tell(booked: Import) -> None:
    """Tell in the audit log of the whole file as of one act, with the sum of what it has booked."""
    key = (Usage.organization_id, Usage.import_id.label("id"))
    count, sum_kg = sa.func.count().label("usage_count"), sa.func.sum(Usage.co2e_kg).label("co2e_kg")
    rows = (
        sa.select(*key, count, sum_kg, sa.literal(booked.sha256).label("sha256"))
        .where(Usage.organization_id == booked.organization_id, Usage.import_id == booked.id)
        .group_by(*key)
        .cte("booked")
    )
    entry = audit.entries_of(rows, Import, "imported", new=audit.values_of("booked", *TOLD))
    db.session.execute(sa.select(rows.c.id).add_cte(entry))


def _known_already(rows: list[Row], organization_id: int) -> Faults:
    """The lines whose external_id stands in another line or in the ledger."""
    lines: dict[str, int] = {}
    faults: Faults = {}
    for line, usage in rows:
        external_id = usage["external_id"]
        if external_id is None:
            continue
        if external_id in lines:
            faults[line] = [f"external_id: {external_id!r} stands in line {lines[external_id]} already."]
        lines.setdefault(external_id, line)
    for external_id in ledger.known_external_ids(organization_id, list(lines)):
        faults[lines[external_id]] = [f"external_id: {external_id!r} is in the ledger already."]
    return faults


def _adjusting_nothing(rows: list[Row], organization_id: int) -> Faults:
    """The lines that adjust a period which is not closed in the organization."""
    lines = {line: usage["adjusts_period_id"] for line, usage in rows if usage["adjusts_period_id"] is not None}
    closed = closed_periods(organization_id, set(lines.values()))
    return {
        line: [f"adjusts_period_id: Your organization has no closed period {period_id}; GET /periods lists them."]
        for line, period_id in lines.items()
        if period_id not in closed
    }

"""Booking a file of usages: all of it, or the lines that are good, as one act."""

import datetime as dt
from collections.abc import Collection
from typing import IO, Any

from .. import audit
from ..access import current_actor, named
from ..accounts.models import User
from ..db import db
from ..errors import Conflict
from ..usages import ledger
from .cells import Layout, LineReader
from .conflicts import compare, match, refuse_known
from .faults import first_faults, keep_faults, mark_lacking, mark_unmovable, refused_by
from .models import Import
from .overlaps import overlaps
from .reading import examined
from .staging import Row, check, good, stage

MODES = ("atomic", "partial", "dry-run")
# What the audit log tells of an import; the others where there are any.
TOLD = ("usage_count", "co2e_kg", "sha256")
TOLD_IF_ANY = ("changed_count", "rejected_count")


def book(
    file: IO[bytes],
    now: dt.datetime,
    mode: str = "atomic",
    on_conflict: str = "reject",
    ignore: Collection[str] = (),
    layout: Layout | None = None,
    **defaults: Any,
) -> Import:
    """Record the usages of a file as one import.

    file: CSV with a header, or NDJSON. mode: atomic books all lines or none; partial the good ones; dry-run none, and
    tells what partial would do in an import without an id. ignore: columns of the file that are not read.
    defaults: fields for columns that the file does not have; without `user_id` the usages are the actor's own.
    Raises Invalid that tells the faults by line if it is atomic and there are any; then nothing is recorded.
    """
    owner = named(User, defaults.setdefault("user_id", current_actor().id), "user_id", "query")
    booked = Import(
        organization_id=owner.organization_id,
        mode=mode,
        on_conflict=on_conflict,
        sha256=examined(file),
        recorded_at=now,
        recorded_by=current_actor().id,
    )
    reader = LineReader(layout or Layout(), defaults)
    if mode != "dry-run":
        return _booked(booked, reader, file, ignore)
    with db.session.begin_nested() as trial:
        _booked(booked, reader, file, ignore)
        told = {column.name: getattr(booked, column.name) for column in Import.__table__.columns if column.name != "id"}
        trial.rollback()
    return Import(**told)


def _booked(booked: Import, reader: LineReader, file: IO[bytes], ignore: Collection[str]) -> Import:
    """The import, once its file is booked."""
    organization_id, is_atomic = booked.organization_id, booked.mode == "atomic"
    stage(file, reader, ignore)
    faulty = reader.faulty + check(organization_id, reader.used)
    same = differing = 0
    if booked.on_conflict != "reject":
        faulty += match(organization_id, booked.on_conflict)
        same, differing = compare(organization_id)
    elif "external_id" in reader.used:
        faulty += refuse_known(organization_id)
    is_new = Row.usage_id.is_(None)
    is_written = is_new | ~Row.same if booked.on_conflict == "replace" else is_new
    if faulty and is_atomic:
        raise refused_by(faulty + mark_lacking(organization_id, is_written))
    if "usage_until" in reader.used:
        booked.warning_count, booked.warnings = overlaps(organization_id)
    db.session.add(booked)
    db.session.flush()
    sums = ledger.record_staged(good(is_new), booked.recorded_at, organization_id, booked.id)
    replaced = 0
    if differing and booked.on_conflict == "replace":
        reason = f"Import {booked.id} says so."
        replaced = ledger.replace_staged(good(~Row.same), booked.recorded_at, organization_id, reason)
    skipped = differing if booked.on_conflict == "skip" else 0
    written = sums.usage_count + replaced
    left_out = reader.lines - faulty - same - skipped - written
    if left_out:
        marked = mark_lacking(organization_id, is_written) + mark_unmovable(organization_id)
        if marked != left_out:
            raise Conflict("The ledger has changed while the file was booked, so nothing was recorded. Send it again.")
        if is_atomic:
            raise refused_by(marked)
    booked.usage_count = written
    booked.new_count, booked.changed_count = sums.usage_count, replaced
    booked.same_count, booked.skipped_count = same, skipped
    booked.rejected_count = faulty + left_out
    booked.blank_count, booked.rounded_count = reader.blank, reader.rounded
    booked.co2e_kg = sums.co2e_kg
    booked.amount = sums.amount_in_type_unit if sums.first_type_id == sums.last_type_id else None
    if booked.rejected_count:
        booked.fault_count = keep_faults(organization_id, booked.id)
        booked.faults = [{"line": line, **fault} for line, faults in first_faults().items() for fault in faults]
    db.session.flush()
    told = [*TOLD, *(name for name in TOLD_IF_ANY if getattr(booked, name))]
    audit.note("imported", Import, booked.id, organization_id, new={name: getattr(booked, name) for name in told})
    return booked

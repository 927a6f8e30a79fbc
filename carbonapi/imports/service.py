"""Booking a file of usages: all of it, or the lines that are good, as one act."""

import datetime as dt
from collections.abc import Collection
from decimal import Decimal
from typing import IO, Any

import sqlalchemy as sa

from .. import audit
from ..auth import current_actor
from ..db import db, on_commit
from ..errors import CarbonError, Conflict, ValidationFailed
from ..observability import metrics
from ..usages import ledger
from .checks.conflicts import compare_with_existing, match_existing, reject_existing
from .checks.gaps import gaps
from .checks.missing_references import add_closed_period_errors, add_missing_reference_errors
from .checks.name_lookup import default_user, resolve_names, resolve_type
from .checks.overlaps import Warnings, overlaps
from .checks.row_errors import first_errors, refused_by, store_errors
from .formats.rows import FileFormat, RowParser
from .formats.text_files import MAX_ERRORS_SHOWN, sha256_of_text_file
from .models import COMPLETED, RUNNING, Import
from .staging import Row, load_staging_table, valid_rows, validate

MODES = ("atomic", "partial", "dry-run")
# What the audit log tells of an import; the others where there are any.
TOLD = ("usage_count", "co2e_kg", "sha256")
TOLD_IF_ANY = ("changed_count", "rejected_count")


def import_file(
    file: IO[bytes],
    now: dt.datetime,
    mode: str = "atomic",
    on_conflict: str = "reject",
    ignore: Collection[str] = (),
    layout: FileFormat | None = None,
    **defaults: Any,
) -> Import:
    """Record the usages of a file as one import.

    file: CSV with a header, or NDJSON. mode: atomic books all lines or none; partial the good ones; dry-run none, and
    tells what partial would do in an import without an id. ignore: columns of the file that are not read.
    defaults: fields for columns that the file does not have; without `user_id` and `user_email` the usages are the
    actor's own.
    Raises Invalid that tells the errors by line if it is atomic and there are any; then nothing is recorded.
    """
    if mode != "dry-run":
        try:
            received = create_import(file, now, mode, on_conflict, defaults)
            booked = run_import(received, file, ignore, layout, **defaults)
        except CarbonError:
            metrics.IMPORTS.labels("rejected").inc()
            raise
        on_commit(lambda: count_outcome(booked))
        return booked
    received = create_import(file, now, mode, on_conflict, defaults)
    with db.session.begin_nested() as trial:
        booked = run_import(received, file, ignore, layout, **defaults)
        told = {column.name: getattr(booked, column.name) for column in Import.__table__.columns if column.name != "id"}
        trial.rollback()
    return Import(**told | {"status": "checked"})


def count_outcome(ended: Import) -> None:
    """Count an import that was booked or has failed, and is committed, for who watches over the service."""
    metrics.IMPORTS.labels(ended.status).inc()
    metrics.IMPORTED_USAGES.inc(ended.usage_count)


def create_import(file: IO[bytes], now: dt.datetime, mode: str, on_conflict: str, defaults: dict[str, Any]) -> Import:
    """The import that is to be made of a file, which is left at its beginning.

    The defaults get whose usages they are where they do not say it, and ids in place of names.
    Raises Invalid for a file that is no whole text, and for a user or usage type that the actor may not see.
    """
    owner = default_user(defaults)
    resolve_type(defaults)
    return Import(
        organization_id=owner.organization_id,
        mode=mode,
        on_conflict=on_conflict,
        sha256=sha256_of_text_file(file),
        recorded_at=now,
        recorded_by=current_actor().id,
    )


def run_import(
    booked: Import, file: IO[bytes], ignore: Collection[str] = (), layout: FileFormat | None = None, **defaults: Any
) -> Import:
    """The import, once its file is booked. One that is running keeps its errors if it is refused.

    Whatever it raises, the ledger is as it was before.
    """
    reader = RowParser(layout or FileFormat(), defaults)
    organization_id, is_atomic = booked.organization_id, booked.mode == "atomic"
    load_staging_table(file, reader, ignore)
    faulty = reader.faulty + resolve_names(organization_id, reader.used)
    faulty += validate(organization_id, reader.used)
    same = differing = 0
    if booked.on_conflict != "reject":
        faulty += match_existing(organization_id, booked.on_conflict)
        same, differing = compare_with_existing(organization_id)
    elif "external_id" in reader.used:
        faulty += reject_existing(organization_id)
    is_new = Row.usage_id.is_(None)
    is_written = is_new | ~Row.same if booked.on_conflict == "replace" else is_new
    if faulty and is_atomic:
        raise _refusal(booked, faulty + add_missing_reference_errors(organization_id, is_written))
    with db.session.begin_nested() as writing:
        booked.warning_count, booked.warnings = _warnings(organization_id, reader.used)
        db.session.add(booked)
        db.session.flush()
        sums = ledger.insert_many(valid_rows(is_new), booked.recorded_at, organization_id, booked.id)
        replaced = 0
        if differing and booked.on_conflict == "replace":
            reason = f"Import {booked.id} says so."
            replaced = ledger.update_many(valid_rows(~Row.same), booked.recorded_at, organization_id, reason)
        skipped = differing if booked.on_conflict == "skip" else 0
        written = sums.usage_count + replaced
        left_out = reader.lines - faulty - same - skipped - written
        if left_out and is_atomic:
            writing.rollback()
        elif left_out:
            _mark_left_out(organization_id, is_written, left_out)
    if left_out and is_atomic:
        _mark_left_out(organization_id, is_written, left_out)
        raise _refusal(booked, left_out)
    booked.usage_count = written
    booked.new_count, booked.changed_count = sums.usage_count, replaced
    booked.unchanged_count, booked.skipped_count = same, skipped
    booked.blank_count, booked.rounded_count = reader.blank, reader.rounded
    booked.co2e_kg = sums.co2e_kg
    booked.amount = sums.amount_in_type_unit if sums.first_type_id == sums.last_type_id else None
    booked.status, booked.progress = COMPLETED, Decimal(1)
    if faulty + left_out:
        _keep(booked, faulty + left_out)
    db.session.flush()
    told = [*TOLD, *(name for name in TOLD_IF_ANY if getattr(booked, name))]
    audit.record("imported", Import, booked.id, organization_id, new={name: getattr(booked, name) for name in told})
    return booked


def _warnings(organization_id: int, used: Collection[str]) -> tuple[int, Warnings]:
    """How many good lines somebody should look at, and the first of them. used: the columns that say anything."""
    has_periods = "usage_until" in used
    gap_count, told = gaps("external_id" in used, has_periods)
    overlap_count, overlapping = overlaps(organization_id) if has_periods else (0, [])
    first = sorted([*overlapping, *told], key=lambda warning: int(warning["line"]))[:MAX_ERRORS_SHOWN]
    return gap_count + overlap_count, first


def _mark_left_out(organization_id: int, is_written: sa.ColumnElement[bool], left_out: int) -> None:
    """Let so many lines that the ledger did not take have why as a fault. Raises Conflict if it is others by now."""
    if (
        add_missing_reference_errors(organization_id, is_written) + add_closed_period_errors(organization_id)
        != left_out
    ):
        raise Conflict("The ledger has changed while the file was booked, so nothing was recorded. Send it again.")


def _refusal(booked: Import, count: int) -> ValidationFailed:
    """The error that shows the errors of the first of so many lines; of an import that is running, all are kept."""
    if booked.status == RUNNING:
        _keep(booked, count)
    return refused_by(count)


def _keep(booked: Import, count: int) -> None:
    """Keep the errors of so many lines with the import."""
    booked.rejected_count = count
    booked.error_count = store_errors(booked.organization_id, booked.id)
    booked.errors = [{"line": line, **fault} for line, errors in first_errors().items() for fault in errors]

"""Import a file of usages: all its rows, or its valid rows, in one transaction."""

import datetime as dt
from collections.abc import Collection
from typing import IO, Any

from .. import audit
from ..auth import current_actor
from ..db import db, on_commit
from ..errors import MAX_ERRORS_SHOWN, CarbonError, Conflict, rows_rejected
from ..observability import metrics
from ..usages import ledger
from .checks.conflicts import match_existing
from .checks.earlier_imports import reject_repeated_file, wait_for_other_imports
from .checks.gaps import gaps
from .checks.missing_references import check_references
from .checks.name_lookup import default_user, resolve_names, resolve_type
from .checks.overlaps import Warnings, overlaps, warning
from .checks.place_lookup import check_places, resolve_places
from .checks.places import check_places_of_rows
from .checks.row_errors import first_errors, store_errors
from .checks.values import validate
from .formats.green_button_series import skipped_message
from .formats.rows import FileFormat, RowParser, format_errors
from .formats.text_files import sha256_of_text_file
from .models import CHANGED, NEW, RUNNING, Import, Outcomes
from .staging import count_outcomes, load_staging_table, valid_rows

LEDGER_CHECKS = (match_existing, check_places_of_rows, check_references)


def import_file(
    file: IO[bytes],
    now: dt.datetime,
    mode: str = "atomic",
    on_conflict: str = "reject",
    **options: Any,
) -> Import:
    """Record the usages of a file: CSV with a header, NDJSON or Green Button.

    mode: "atomic" records all rows or none, "partial" the valid ones. "dry-run" records nothing and returns the outcome
    of "partial" as an import without an id. options: those of `run_import`; without `user_id` and `user_email`, the
    usages are the actor's.
    Raise ValidationFailed with the errors by line if the file is invalid, or if a row of an atomic import is. Raise
    FileAlreadyImported for a file that was imported before.
    """
    if mode == "dry-run":
        imp = create_import(file, now, mode, on_conflict, options)
        with db.session.begin_nested() as trial:
            run_import(imp, file, **options)
            columns = {column.name: getattr(imp, column.name) for column in Import.__table__.columns}
            trial.rollback()
        return Import(**columns | {"id": None, "status": "checked"})
    try:
        imp = create_import(file, now, mode, on_conflict, options)
        run_import(imp, file, **options)
    except CarbonError:
        metrics.IMPORTS.labels("rejected").inc()
        raise
    on_commit(lambda: count_outcome(imp))
    return imp


def create_import(file: IO[bytes], now: dt.datetime, mode: str, on_conflict: str, options: dict[str, Any]) -> Import:
    """Return a new import of a file, and replace the names of the user and usage type in the options by ids.

    Raise ValidationFailed for a file that is not a complete text, and for an unknown user, usage type, site or meter.
    Raise Forbidden if the actor may not create meters, and the options have `create_meters`. Raise
    FileAlreadyImported for a file that was imported before, unless the options have `again`.
    """
    user = default_user(options)
    resolve_type(user.organization_id, options)
    check_places(options)
    imp = Import(
        organization_id=user.organization_id,
        mode=mode,
        on_conflict=on_conflict,
        sha256=sha256_of_text_file(file),
        recorded_at=now,
        recorded_by=current_actor().id,
    )
    if not options.get("again"):
        reject_repeated_file(imp)
    return imp


def run_import(
    imp: Import,
    file: IO[bytes],
    ignore: Collection[str] = (),
    file_format: FileFormat | None = None,
    again: bool = False,
    create_meters: bool = False,
    **defaults: Any,
) -> None:
    """Stage the rows of a file, check them, and record those that are new or changed.

    ignore: columns of the file to skip. again: import the file even if it was imported before. create_meters: create
    the meters that the file names and that do not exist. defaults: values for columns that the file lacks.
    Raise ValidationFailed if a row of an atomic import is rejected. A queued import stores the errors of its rows.
    """
    parser = RowParser(file_format or FileFormat(), defaults)
    kind = load_staging_table(file, parser, ignore)
    if create_meters and imp.mode != "dry-run":
        wait_for_other_imports(imp)  # They may create the same meters.
    resolve_names(imp, parser.used_columns)
    # Readings of a Green Button file name a meter that the organization need not have.
    may_lack_meters = kind == "greenbutton" and not create_meters and not parser.has_default_meter
    resolve_places(imp, parser.used_columns, create_meters=create_meters, may_lack_meters=may_lack_meters)
    validate(imp, parser.used_columns)
    if imp.mode != "dry-run":
        wait_for_other_imports(imp)
    if not again:  # The import that held the lock may have had the same file.
        reject_repeated_file(imp)
    for check in LEDGER_CHECKS:
        check(imp, parser.used_columns)
    plan = count_outcomes()
    if plan.rejected and imp.mode == "atomic":
        if imp.status == RUNNING:
            store_errors(imp, plan.rejected)
        first = {line: format_errors(errors) for line, errors in first_errors().items()}
        raise rows_rejected(first, count=plan.rejected)
    imp.warning_count, imp.warnings = _warnings(imp.organization_id, parser)
    db.session.add(imp)
    db.session.flush()
    sums = _write(imp, plan)
    imp.complete(plan, sums, parser.blank_count, parser.rounded_count)
    if plan.rejected:
        store_errors(imp, plan.rejected)
    db.session.flush()
    fields = ["usage_count", "co2e_kg", "sha256"]
    fields += [name for name in ("changed_count", "rejected_count", "created_meter_count") if getattr(imp, name)]
    audit.record("imported", Import, imp.id, imp.organization_id, new={name: getattr(imp, name) for name in fields})


def count_outcome(imp: Import) -> None:
    """Update the metrics after the commit of an import that has completed or failed."""
    metrics.IMPORTS.labels(imp.status).inc()
    metrics.IMPORTED_USAGES.inc(imp.usage_count)


def _write(imp: Import, plan: Outcomes) -> Any:
    """Write the new and changed rows to the ledger, and return the sums of the new usages."""
    moment = ledger.recording_time(imp.organization_id)
    sums = ledger.insert_many(valid_rows(NEW), moment, imp.organization_id, imp.id)
    corrected = 0
    if plan.changed:
        reason = f"Corrected by import {imp.id}."
        corrected = ledger.update_many(valid_rows(CHANGED), moment, imp.organization_id, reason)
    # New rows depend on locked rows only, but another transaction may have deleted or moved a usage to correct.
    if (sums.usage_count, corrected) != (plan.new, plan.changed):
        raise Conflict("The ledger changed during the import, so nothing was recorded. Send the file again.")
    imp.recorded_at = moment
    return sums


def _warnings(organization_id: int, parser: RowParser) -> tuple[int, Warnings]:
    """Return the number of warnings about skipped readings, overlaps and gaps, and the first ones by line."""
    gap_count, gap_warnings = gaps(parser.used_columns)
    overlap_count, overlap_warnings = overlaps(organization_id, parser.used_columns)
    skipped = [
        warning(line, "skipped", skipped_message(series, count))
        for series, (line, count) in parser.skipped_readings.items()
    ]
    first = sorted([*skipped, *overlap_warnings, *gap_warnings], key=lambda warning: int(warning["line"]))
    return gap_count + overlap_count + len(skipped), first[:MAX_ERRORS_SHOWN]

"""Import emission factors from a CSV file, such as a published table."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import marshmallow as ma
import sqlalchemy as sa

from ..db import db
from ..errors import ValidationFailed
from ..rest import Schema
from ..rest.fields import DecimalInput, Name, Region, StrictInteger, UtcDateTimeOrDate, start_of_day
from .factor_formats import read_factors
from .models import DEFAULT_METHOD, EmissionFactor, UsageType
from .service import create_usage_type, insert_factor

MAX_ERRORS_SHOWN = 100


class FactorRowSchema(Schema):
    """One line of the file. A date means midnight UTC."""

    typed = False

    usage_type = Name(required=True)
    unit = Name(required=True)
    scope = StrictInteger(1, 3, load_default=None)
    region = Region(load_default=None)
    valid_from = UtcDateTimeOrDate(required=True)
    valid_until = UtcDateTimeOrDate(load_default=None)
    kg_co2e_per_unit = DecimalInput(12, required=True)
    source = Name(required=True)

    @ma.pre_load
    def remove_blank_cells(self, row: dict[str, str], **kwargs: Any) -> dict[str, str]:
        """A blank cell means that the value was not published, never zero."""
        return {name: value for name, value in row.items() if value != ""}

    @ma.post_load
    def set_midnight(self, row: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        for name in ("valid_from", "valid_until"):
            if row[name] is not None and not isinstance(row[name], dt.datetime):
                row[name] = start_of_day(row[name], "UTC")
        return row


@dataclass
class FactorImportResult:
    """The numbers of lines by their outcome."""

    added: int = 0
    unchanged: int = 0
    skipped: int = 0  # Lines without an emission factor, for example an unpublished one.


def import_factors(path: Path, file_format: str = "own") -> FactorImportResult:
    """Create every factor of the file that does not exist yet, and the usage types that are missing.

    file_format: a key of FORMATS.
    Raise ValidationFailed with the errors by line if any line is invalid; then nothing is imported.
    """
    result = FactorImportResult()
    errors: dict[str, list[str]] = {}
    for line, row in _read_rows(path, file_format, errors):
        if row is None:
            result.skipped += 1
            continue
        usage_type = db.session.scalar(
            sa.select(UsageType).where(UsageType.name == row["usage_type"], UsageType.unit == row["unit"])
        ) or create_usage_type(name=row["usage_type"], unit=row["unit"], scope=row["scope"])
        existing = db.session.scalar(
            sa.select(EmissionFactor.factor).where(
                EmissionFactor.usage_type_id == usage_type.id,
                EmissionFactor.organization_id.is_(None),
                EmissionFactor.method == DEFAULT_METHOD,
                EmissionFactor.region.is_not_distinct_from(row["region"]),
                EmissionFactor.valid_from == row["valid_from"],
                EmissionFactor.valid_until.is_not_distinct_from(row["valid_until"]),
            )
        )
        if existing == row["kg_co2e_per_unit"]:
            result.unchanged += 1
            continue
        try:
            with db.session.begin_nested():
                insert_factor(
                    usage_type,
                    factor=row["kg_co2e_per_unit"],
                    **{name: row[name] for name in ("region", "valid_from", "valid_until", "source")},
                )
            result.added += 1
        except sa.exc.IntegrityError:
            errors[str(line)] = ["Another factor of this usage type and region is valid within this time."]
    if errors:
        db.session.rollback()
        shown = dict(list(errors.items())[:MAX_ERRORS_SHOWN])
        raise ValidationFailed(f"{path.name} has {len(errors)} invalid lines. Nothing was imported.", {"file": shown})
    return result


def _read_rows(
    path: Path, file_format: str, errors: dict[str, list[str]]
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the valid lines of the file with their numbers, None for a skipped one. Add the others to `errors`."""
    schema = FactorRowSchema()
    for number, row in read_factors(path, file_format):
        try:
            yield number, None if row is None else schema.load(row)
        except ma.ValidationError as error:
            errors[str(number)] = [f"{name}: {text}" for name, text in error.normalized_messages().items()]

"""Emission factors from a CSV file, as published tables are brought into the catalogue."""

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
from .factor_formats import FORMATS
from .models import EmissionFactor, UsageType
from .service import create_usage_type, insert_factor

MOST_FAULTS_SHOWN = 100


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
    def leave_out_blanks(self, row: dict[str, str], **kwargs: Any) -> dict[str, str]:
        """A blank cell is not published: never zero."""
        return {name: value for name, value in row.items() if value != ""}

    @ma.post_load
    def at_midnight(self, row: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        for name in ("valid_from", "valid_until"):
            if row[name] is not None and not isinstance(row[name], dt.datetime):
                row[name] = start_of_day(row[name], "UTC")
        return row


@dataclass
class FactorImportResult:
    """What an import of factors did."""

    added: int = 0
    same: int = 0
    passed_over: int = 0  # Lines that tell no factor of ours, such as one that was not published.


def import_factors(path: Path, layout: str = "own") -> FactorImportResult:
    """Book every factor of the file, making usage types that are missing. A factor that is there already is left.

    layout: one of LAYOUTS.
    Raises Invalid, with the errors by line, for a file that is not wholly good; then nothing is booked.
    """
    outcome = FactorImportResult()
    errors: dict[str, list[str]] = {}
    for line, row in _rows(path, layout, errors):
        if row is None:
            outcome.passed_over += 1
            continue
        usage_type = db.session.scalar(
            sa.select(UsageType).where(UsageType.name == row["usage_type"], UsageType.unit == row["unit"])
        ) or create_usage_type(name=row["usage_type"], unit=row["unit"], scope=row["scope"])
        known = db.session.scalar(
            sa.select(EmissionFactor.factor).where(
                EmissionFactor.usage_type_id == usage_type.id,
                EmissionFactor.organization_id.is_(None),
                EmissionFactor.method == "location",
                EmissionFactor.region.is_not_distinct_from(row["region"]),
                EmissionFactor.valid_from == row["valid_from"],
                EmissionFactor.valid_until.is_not_distinct_from(row["valid_until"]),
            )
        )
        if known == row["kg_co2e_per_unit"]:
            outcome.same += 1
            continue
        try:
            with db.session.begin_nested():
                insert_factor(
                    usage_type,
                    factor=row["kg_co2e_per_unit"],
                    **{name: row[name] for name in ("region", "valid_from", "valid_until", "source")},
                )
            outcome.added += 1
        except sa.exc.IntegrityError:
            errors[str(line)] = ["Another factor of this usage type and region is valid within this time."]
    if errors:
        db.session.rollback()
        shown = dict(list(errors.items())[:MOST_FAULTS_SHOWN])
        raise ValidationFailed(f"{len(errors)} lines of {path.name} are not good. Nothing was booked.", {"file": shown})
    return outcome


def _rows(path: Path, layout: str, errors: dict[str, list[str]]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The lines of the file with their numbers, None for one that is passed over; errors go to `errors`."""
    schema = FactorRowSchema()
    for number, row in FORMATS[layout](path):
        try:
            yield number, None if row is None else schema.load(row)
        except ma.ValidationError as error:
            errors[str(number)] = [f"{name}: {text}" for name, text in error.normalized_messages().items()]

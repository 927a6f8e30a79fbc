"""Emission factors from a CSV file, as published tables are brought into the catalogue."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import marshmallow as ma
import sqlalchemy as sa

from ..db import db
from ..errors import Invalid
from ..rest import Schema
from ..rest.fields import InstantOrDate, Name, Quantity, Region, Whole, midnight
from .factor_formats import LAYOUTS
from .models import EmissionFactor, UsageType
from .service import add_factor, create_usage_type

MOST_FAULTS_SHOWN = 100


class FactorRowSchema(Schema):
    """One line of the file. A date means midnight UTC."""

    typed = False

    usage_type = Name(required=True)
    unit = Name(required=True)
    scope = Whole(1, 3, load_default=None)
    region = Region(load_default=None)
    valid_from = InstantOrDate(required=True)
    valid_until = InstantOrDate(load_default=None)
    kg_co2e_per_unit = Quantity(12, required=True)
    source = Name(required=True)

    @ma.pre_load
    def leave_out_blanks(self, row: dict[str, str], **kwargs: Any) -> dict[str, str]:
        """A blank cell is not published: never zero."""
        return {name: value for name, value in row.items() if value != ""}

    @ma.post_load
    def at_midnight(self, row: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        for name in ("valid_from", "valid_until"):
            if row[name] is not None and not isinstance(row[name], dt.datetime):
                row[name] = midnight(row[name], "UTC")
        return row


@dataclass
class Outcome:
    """What an import of factors did."""

    added: int = 0
    same: int = 0
    passed_over: int = 0  # Lines that tell no factor of ours, such as one that was not published.


def import_factors(path: Path, layout: str = "own") -> Outcome:
    """Book every factor of the file, making usage types that are missing. A factor that is there already is left.

    layout: one of LAYOUTS.
    Raises Invalid, with the faults by line, for a file that is not wholly good; then nothing is booked.
    """
    outcome = Outcome()
    faults: dict[str, list[str]] = {}
    for line, row in _rows(path, layout, faults):
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
                add_factor(
                    usage_type,
                    factor=row["kg_co2e_per_unit"],
                    **{name: row[name] for name in ("region", "valid_from", "valid_until", "source")},
                )
            outcome.added += 1
        except sa.exc.IntegrityError:
            faults[str(line)] = ["Another factor of this usage type and region is valid within this time."]
    if faults:
        db.session.rollback()
        shown = dict(list(faults.items())[:MOST_FAULTS_SHOWN])
        raise Invalid(f"{len(faults)} lines of {path.name} are not good. Nothing was booked.", {"file": shown})
    return outcome


def _rows(path: Path, layout: str, faults: dict[str, list[str]]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The lines of the file with their numbers, None for one that is passed over; faults go to `faults`."""
    schema = FactorRowSchema()
    for number, row in LAYOUTS[layout](path):
        try:
            yield number, None if row is None else schema.load(row)
        except ma.ValidationError as error:
            faults[str(number)] = [f"{name}: {text}" for name, text in error.normalized_messages().items()]

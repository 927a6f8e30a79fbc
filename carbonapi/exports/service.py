"""Verify an export: compare each line with the ledger, and recalculate its emissions."""

import datetime as dt
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import IO, Any

import marshmallow as ma
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased

from ..auth import visible
from ..catalogue.models import LOCATION, MARKET, EmissionFactor, UsageType
from ..catalogue.units import find_unit
from ..catalogue.valuations import Valuation, ValuationLine, ValuationSegment
from ..db import db
from ..errors import MAX_ERRORS_SHOWN, ValidationFailed, rows_rejected
from ..imports.formats.rows import excerpt
from ..imports.formats.text_files import (
    REMOVED_COLUMNS,
    Cells,
    RowErrors,
    detect_format,
    read_csv,
    read_ndjson,
    sha256_of_text_file,
)
from ..rest.fields import MAX_ID, MAX_NUMBER_LENGTH, UtcDateTime, format_datetime, format_decimal
from ..usages.ledger import split_difference
from ..usages.models import Usage, UsageVersion
from ..usages.schemas import UsageSchema

REQUIRED = (("id",), ("version",), ("co2e_kg",))
CHUNK_LINES = 5_000  # Compared by one statement.
MAX_VERSION = 2**31 - 1
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_unit_in = lru_cache(1000)(find_unit)
Key = tuple[int, int]  # The id and the version of a usage.


def verify(file: IO[bytes]) -> dict[str, Any]:
    """Return the number of lines in an export, how many can be reproduced, and the first errors by line.

    A line can be reproduced if a version that the actor may see has exactly its values, and if the version's `co2e_kg`
    follows from its amount, unit and emission factor; likewise `market_co2e_kg`.
    file: CSV with a header, or NDJSON, with `id`, `version`, `co2e_kg` and any other fields of a usage. Columns that
    only earlier releases exported are ignored.
    Raise ValidationFailed with the errors by line for an unreadable file.
    """
    unreadable: RowErrors = {}
    sha256 = sha256_of_text_file(file)
    read = read_ndjson if detect_format(file) == "ndjson" else read_csv
    lines = read(file, UsageSchema(), REQUIRED, REMOVED_COLUMNS, unreadable)
    lines_by_key: dict[Key, int] = {}
    differing: RowErrors = {}
    count = 0
    readable = ((line, cells) for line, cells in lines if cells is not None)
    while chunk := list(islice(readable, CHUNK_LINES)):
        count += len(chunk)
        keys = {line: _key(cells) for line, cells in chunk}
        versions = _versions({key for key in keys.values() if key is not None})
        for line, cells in chunk:
            key = keys[line]
            version = versions.get(key) if key else None
            if key is None or version is None:
                differing[line] = [f"There is no version {_shown(cells['version'])} of usage {_shown(cells['id'])}."]
                continue
            errors = [*_differences(cells, version), *_miscalculations(version)]
            # A repeated line would be counted twice. A line with errors does not count.
            if not errors and lines_by_key.setdefault(key, line) != line:
                first = lines_by_key[key]
                errors = [f"Version {version.version} of usage {version.id} is a duplicate of line {first}."]
            if errors:
                differing[line] = errors
    if unreadable:
        raise rows_rejected(unreadable, "nothing was verified")
    return {
        "lines": count,
        "reproduced": count - len(differing),
        "differing": len(differing),
        "sha256": sha256,
        "errors": {str(line): differing[line] for line in sorted(differing)[:MAX_ERRORS_SHOWN]},
    }


def _key(cells: Cells) -> Key | None:
    """Return the id and version of a line, or None if they cannot exist."""
    id_, version = (cells[name] or "" for name in ("id", "version"))
    if not all(re.fullmatch("[0-9]{1,19}", digits) for digits in (id_, version)):
        return None
    return (int(id_), int(version)) if int(id_) <= MAX_ID and int(version) <= MAX_VERSION else None


def _versions(keys: set[Key]) -> dict[Key, Any]:
    """Return these versions of usages, each with the unit of its type and the factor of the catalogue."""
    ids, numbers = zip(*keys, strict=True) if keys else ((), ())
    table = sa.func.unnest(sa.cast(ids, ARRAY(sa.BigInteger)), sa.cast(numbers, ARRAY(sa.Integer)))
    key = table.table_valued(sa.column("id", sa.BigInteger), sa.column("version", sa.Integer)).render_derived("key")
    # Each table is joined on its own, so that PostgreSQL uses its primary key.
    found = sa.union_all(
        *(
            visible(model)
            .join(key, (key.c.id == model.id) & (key.c.version == model.version))
            .join(UsageType, UsageType.id == model.usage_type_id)
            .join(EmissionFactor, EmissionFactor.id == model.emission_factor_id)
            .join(
                Valuation,
                (Valuation.organization_id == model.organization_id) & (Valuation.id == model.valuation_id),
            )
            .join(difference, sa.true())
            .with_only_columns(
                *(getattr(model, name) for name in UsageSchema().fields),
                UsageType.unit.label("type_unit"),
                EmissionFactor.factor.label("catalogue_factor"),
                Valuation.factor.label("frozen_factor"),
                Valuation.market_factor.label("frozen_market_factor"),
                Valuation.provisional.label("frozen_provisional"),
                _changed_lines().label("changed_lines"),
                difference.c.split_co2e_kg.label("split"),
                difference.c.split_market_co2e_kg.label("market_split"),
                maintain_column_froms=True,
            )
            for model, difference in ((model, _split_difference(model)) for model in (Usage, UsageVersion))
        )
    )
    return {(version.id, version.version): version for version in db.session.execute(found)}


def _split_difference(model: Any) -> Any:
    """Return a lateral table of what the later parts of a version add, computed again from its valuation."""
    split = sa.case((Valuation.split, model.valuation_id))
    return split_difference(model.organization_id, split, model.amount_in_type_unit, model.usage_at, model.usage_until)


def _changed_lines() -> sa.ScalarSelect[Any]:
    """Select the names of the lines of a valuation whose factor is not that of the catalogue, or of the valuation."""
    line, of_line = ValuationLine, aliased(Valuation)
    of_valuation = sa.case({LOCATION: of_line.factor, MARKET: of_line.market_factor}, value=line.line)
    segment_ids = sa.select(ValuationSegment.segment_id).where(
        ValuationSegment.organization_id == Valuation.organization_id, ValuationSegment.valuation_id == Valuation.id
    )
    return (
        sa.select(sa.func.string_agg(line.line, ", "))
        .join(EmissionFactor, EmissionFactor.id == line.emission_factor_id)
        .join(of_line, (of_line.organization_id == line.organization_id) & (of_line.id == line.valuation_id))
        .where(
            line.organization_id == Valuation.organization_id,
            (line.valuation_id == Valuation.id) | line.valuation_id.in_(segment_ids.correlate(Valuation)),
            (line.factor != EmissionFactor.factor) | (line.factor != of_valuation),
        )
        .correlate(Valuation)
        .scalar_subquery()
    )


def _differences(cells: Cells, version: Any) -> Iterator[str]:
    """Yield a message for each value that differs from the ledger."""
    for name, cell in cells.items():
        stored = getattr(version, name)
        if not _is_same(cell, stored):
            yield (
                f"{name}: the file has {_shown(cell)}; the ledger has {_shown(_text(stored))} "
                f"in version {version.version}."
            )


def _miscalculations(version: Any) -> Iterator[str]:
    """Yield a message for each stored number that does not follow from the others."""
    where = f"in version {version.version}"
    try:
        converted = _unit_in(version.unit, version.type_unit).convert(version.amount)
    except ValidationFailed as error:
        yield f"unit: {error}"
        return
    if converted != version.amount_in_type_unit:
        yield (
            f"amount_in_type_unit: the ledger has {format_decimal(version.amount_in_type_unit)} {where}; "
            f"{format_decimal(version.amount)} {version.unit} are {format_decimal(converted)} {version.type_unit}."
        )
    factor = version.catalogue_factor
    if factor != version.factor:
        yield (
            f"factor: the ledger has {format_decimal(version.factor)} {where}; "
            f"emission factor {version.emission_factor_id} of the catalogue is {format_decimal(factor)}."
        )
    if (version.frozen_factor, version.frozen_market_factor) != (version.factor, version.market_factor):
        yield f"factor: the factors of the ledger {where} are not those of valuation {version.valuation_id}."
    if version.frozen_provisional != version.provisional:
        frozen, stored = map(_text, (version.frozen_provisional, version.provisional))
        yield f"provisional: the ledger has {stored} {where}; valuation {version.valuation_id} has {frozen}."
    if version.changed_lines:
        yield f"factor: lines of valuation {version.valuation_id} were changed: {version.changed_lines}."
    for name, each, split in (
        ("co2e_kg", factor, version.split),
        ("market_co2e_kg", version.frozen_market_factor, version.market_split),
    ):
        stored, product = getattr(version, name), converted * each + (split or 0)
        if product != stored:
            calculation = f"{format_decimal(converted)} {version.type_unit} × {format_decimal(each)}"
            calculation += "" if split is None else f" + {format_decimal(split)} of later parts"
            yield (
                f"{name}: the ledger has {format_decimal(stored)} {where}; {calculation} are {format_decimal(product)}."
            )


def _is_same(cell: str | None, stored: Any) -> bool:
    """Whether a cell has the stored value: the same text, number or instant in any spelling."""
    if cell is None or stored is None or isinstance(stored, str | bool):
        return cell == _text(stored)
    if cell == _text(stored):
        return True
    if isinstance(stored, dt.datetime):
        try:
            return bool(UtcDateTime().deserialize(cell) == stored)
        except ma.ValidationError:
            return False
    is_number = len(cell) <= MAX_NUMBER_LENGTH and _NUMBER.fullmatch(cell) is not None
    return is_number and bool(Decimal(cell) == stored)


def _text(stored: Any) -> str | None:
    if isinstance(stored, Decimal):
        return format_decimal(stored)
    if isinstance(stored, dt.datetime):
        return format_datetime(stored)
    if isinstance(stored, bool):
        return str(stored).lower()
    return None if stored is None else str(stored)


def _shown(text: str | None) -> str:
    """Return a value for a message, without lone surrogates."""
    if text is None:
        return "nothing"
    return excerpt(text).encode("utf-8", "replace").decode() or "an empty text"

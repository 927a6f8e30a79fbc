"""Whether the numbers of an export can be reproduced: the ledger holds each line, and the sum comes to it again."""

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

from ..auth import visible
from ..catalogue.models import EmissionFactor, UsageType
from ..catalogue.units import find_unit
from ..db import db
from ..errors import ValidationFailed
from ..imports.formats.rows import excerpt
from ..imports.formats.text_files import (
    MAX_ERRORS_SHOWN,
    Cells,
    RowErrors,
    is_ndjson,
    read_csv,
    read_ndjson,
    rows_rejected,
    sha256_of_text_file,
)
from ..rest.fields import MAX_ID, MAX_NUMBER_LENGTH, UtcDateTime, format_datetime, format_decimal
from ..usages.models import Usage, UsageVersion
from ..usages.schemas import UsageSchema

REQUIRED = (("id",), ("version",), ("co2e_kg",))
CHUNK = 5_000  # So many lines are compared by one statement.
MAX_VERSION = 2**31 - 1
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_unit_in = lru_cache(1000)(find_unit)
Key = tuple[int, int]  # The id of a usage, and which version of it.


def verify(file: IO[bytes]) -> dict[str, Any]:
    """How many lines of an export there are, how many can be reproduced, and what is wrong with the first others.

    A line can be reproduced if the ledger has, or had, exactly its values in a version that the actor may see, and if
    the version's own amount, unit and emission factor come to its number again.
    file: CSV with a header, or NDJSON; any fields of a usage, but these three: id, version and co2e_kg.
    Raises Invalid that tells the errors by line if it is none.
    """
    unreadable: RowErrors = {}
    sha256 = sha256_of_text_file(file)
    read = read_ndjson if is_ndjson(file) else read_csv
    lines = read(file, UsageSchema(), REQUIRED, (), unreadable)
    told_by: dict[Key, int] = {}
    differing: RowErrors = {}
    count = 0
    readable = ((line, cells) for line, cells in lines if cells is not None)
    while chunk := list(islice(readable, CHUNK)):
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
            # The same twice counts twice. A line that differs is not what it says it is, so it stands for nothing.
            if not errors and told_by.setdefault(key, line) != line:
                errors = [f"Version {version.version} of usage {version.id} stands in line {told_by[key]} already."]
            if errors:
                differing[line] = errors
    if unreadable:
        raise rows_rejected(unreadable, "so nothing was verified")
    return {
        "lines": count,
        "reproduced": count - len(differing),
        "differing": len(differing),
        "sha256": sha256,
        "errors": {str(line): differing[line] for line in sorted(differing)[:MAX_ERRORS_SHOWN]},
    }


def _key(cells: Cells) -> Key | None:
    """Which version of which usage a line tells of; None if there can be none such."""
    id_, version = (cells[name] or "" for name in ("id", "version"))
    if not all(re.fullmatch("[0-9]{1,19}", digits) for digits in (id_, version)):
        return None
    return (int(id_), int(version)) if int(id_) <= MAX_ID and int(version) <= MAX_VERSION else None


def _versions(keys: set[Key]) -> dict[Key, Any]:
    """These versions as the ledger has them, current ones too, each with its type's unit and the catalogue's factor."""
    ids, numbers = zip(*keys, strict=True) if keys else ((), ())
    asked = sa.func.unnest(sa.cast(ids, ARRAY(sa.BigInteger)), sa.cast(numbers, ARRAY(sa.Integer)))
    given = asked.table_valued(sa.column("id", sa.BigInteger), sa.column("version", sa.Integer)).render_derived("given")
    # Each table is joined by itself, so that the rows come off its primary key.
    found = sa.union_all(
        *(
            visible(model)
            .join(given, (given.c.id == model.id) & (given.c.version == model.version))
            .join(UsageType, UsageType.id == model.usage_type_id)
            .join(EmissionFactor, EmissionFactor.id == model.emission_factor_id)
            .with_only_columns(
                *(getattr(model, name) for name in UsageSchema().fields),
                UsageType.unit.label("type_unit"),
                EmissionFactor.factor.label("catalogue_factor"),
                maintain_column_froms=True,
            )
            for model in (Usage, UsageVersion)
        )
    )
    return {(version.id, version.version): version for version in db.session.execute(found)}


def _differences(cells: Cells, version: Any) -> Iterator[str]:
    """Where the file says something else than the ledger."""
    for name, cell in cells.items():
        held = getattr(version, name)
        if not _is_same(cell, held):
            yield (
                f"{name}: the file says {_shown(cell)}; the ledger has {_shown(_text(held))} "
                f"in version {version.version}."
            )


def _miscalculations(version: Any) -> Iterator[str]:
    """Where the ledger's own sum does not come to what it holds."""
    held = f"in version {version.version}"
    try:
        converted = _unit_in(version.unit, version.type_unit).convert(version.amount)
    except ValidationFailed as error:
        yield f"unit: {error}"
        return
    if converted != version.amount_in_type_unit:
        yield (
            f"amount_in_type_unit: the ledger has {format_decimal(version.amount_in_type_unit)} {held}; "
            f"{format_decimal(version.amount)} {version.unit} are {format_decimal(converted)} {version.type_unit}."
        )
    factor = version.catalogue_factor
    if factor != version.factor:
        yield (
            f"factor: the ledger has {format_decimal(version.factor)} {held}; "
            f"emission factor {version.emission_factor_id} of the catalogue is {format_decimal(factor)}."
        )
    product = converted * factor
    if product != version.co2e_kg:
        yield (
            f"co2e_kg: the ledger has {format_decimal(version.co2e_kg)} {held}; "
            f"{format_decimal(converted)} {version.type_unit} × {format_decimal(factor)} are {format_decimal(product)}."
        )


def _is_same(cell: str | None, held: Any) -> bool:
    """Whether a cell says what the ledger holds: the same text, number or instant, however it is written."""
    if cell is None or held is None or isinstance(held, str):
        return bool(cell == held)
    if cell == _text(held):
        return True
    if isinstance(held, dt.datetime):
        try:
            return bool(UtcDateTime().deserialize(cell) == held)
        except ma.ValidationError:
            return False
    is_number = len(cell) <= MAX_NUMBER_LENGTH and _NUMBER.fullmatch(cell) is not None
    return is_number and bool(Decimal(cell) == held)


def _text(held: Any) -> str | None:
    if isinstance(held, Decimal):
        return format_decimal(held)
    if isinstance(held, dt.datetime):
        return format_datetime(held)
    return None if held is None else str(held)


def _shown(text: str | None) -> str:
    """A value for a message, without halves of surrogate pairs."""
    if text is None:
        return "nothing"
    return excerpt(text).encode("utf-8", "replace").decode() or "an empty text"

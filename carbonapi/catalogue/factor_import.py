"""Import a table of emission factors as a factor set: add new factors, and supersede those that were corrected.

A factor of the table is compared with the one in force of the same owner, usage type, region, method and validity.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import marshmallow as ma
import sqlalchemy as sa

from .. import audit
from ..auth import current_actor
from ..db import allow, db
from ..errors import MAX_ERRORS_SHOWN, ValidationFailed
from ..rest.fields import format_decimal
from .factor_formats import MAPPED, OWN, find_table
from .factor_import_result import FactorImportResult, NewFactor
from .factor_plausibility import implausible_factors
from .factor_rows import FactorRowSchema
from .factor_timeline import Key, Timeline
from .models import GASES, EmissionFactor, FactorSet, UsageType
from .published_table import Edition, PublishedTable, Reading, TableOptions
from .service import owner_of_new_row
from .tables import TableFile
from .valuation_choice import choosing_again

COMPARED = ("factor", *GASES)


def import_factors(
    file: Path | IO[bytes],
    file_format: str | None = None,
    *,
    name: str | None = None,
    mode: str = "apply",
    organization_id: int | None = None,
    publisher: str | None = None,
    edition: str | None = None,
    **options: Any,
) -> FactorImportResult:
    """Record the factors of a table that do not exist yet, its factor set, and the usage types that are missing.

    file_format: a key of FORMATS; by default, the header decides. mode: "dry-run" records nothing. organization_id: the
    owner, for admins; by default, the factors of an admin are shared. options: those of TableOptions.
    Raise ValidationFailed with the errors by line if any line is invalid; then nothing is recorded.
    """
    allow(minutes=5)
    owner = owner_of_new_row(organization_id)
    table_file = _read_file(file, name)
    found_format, table, convert = find_table(table_file, file_format, TableOptions(**options))
    found, readings = convert(table)
    _name_edition(found, found_format, table_file, publisher, edition, table)
    digest = hashlib.sha256(table_file.content).hexdigest()
    with db.session.begin_nested() as trial:
        factor_set = _factor_set(found, owner, digest, is_stated=edition is not None)
        result = FactorImportResult(found.publisher, factor_set.edition, factor_set.gwp, owner, digest, found_format)
        new = list(_validated(table, readings, result))
        _import(new, factor_set, result, table.errors)
        if table.errors:
            trial.rollback()
            shown = {str(line): [table.errors[line]] for line in sorted(table.errors)[:MAX_ERRORS_SHOWN]}
            message = f"{table.name} has {len(table.errors)} invalid lines. Nothing was imported."
            raise ValidationFailed(message, {"file": shown})
        result.round(table.rounded)
        if mode == "dry-run":
            trial.rollback()
        else:
            result.id, result.status = factor_set.id, "applied"
    return result


def _read_file(file: Path | IO[bytes], name: str | None) -> TableFile:
    if isinstance(file, Path):
        with file.open("rb") as content:
            return TableFile.read(content, name or file.name)
    return TableFile.read(file, name or "The file")


def _name_edition(
    found: Edition,
    file_format: str,
    file: TableFile,
    publisher: str | None,
    edition: str | None,
    table: PublishedTable,
) -> None:
    """Give the edition the stated names, and names to tables that state none."""
    if file_format in (OWN, MAPPED):
        found.gwp = table.options.gwp
        found.publisher = found.publisher or "Own table"
    found.publisher = publisher or found.publisher
    found.edition = edition or found.edition or file.name


def _factor_set(found: Edition, owner: int | None, digest: str, *, is_stated: bool) -> FactorSet:
    """Return the factor set of a file: the same for the same file. A corrected file gets a revision of the edition.

    Raise ValidationFailed for a stated edition that is another file.
    """
    sets = db.session.scalars(
        sa.select(FactorSet).where(
            FactorSet.organization_id.is_not_distinct_from(owner), FactorSet.publisher == found.publisher
        )
    ).all()
    same_file = next((known for known in sets if known.sha256 == digest), None)
    if same_file is not None and (not is_stated or same_file.edition == found.edition):
        return same_file
    by_edition = {known.edition: known for known in sets}
    known = by_edition.get(found.edition)
    if known is not None and known.sha256 is None:
        known.sha256 = digest
        return known
    name, number = found.edition, 1
    while name in by_edition:
        if is_stated:
            message = f"{found.publisher} {name} was imported from another file. State another edition."
            raise ValidationFailed(message, {"query": {"edition": [message]}})
        number += 1
        name = f"{found.edition}, revision {number}"
    factor_set = FactorSet(
        organization_id=owner,
        publisher=found.publisher,
        edition=name,
        gwp=found.gwp,
        licence=found.licence,
        url=found.url,
        note=found.note,
        sha256=digest,
    )
    db.session.add(factor_set)
    audit.flush()
    return factor_set


def _validated(
    table: PublishedTable, readings: Iterable[Reading], result: FactorImportResult
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the valid factors with their lines. Add the invalid ones to the errors of the table."""
    schema = FactorRowSchema()
    for line, row in readings:
        if isinstance(row, str):
            result.skip(line.number, row)
            continue
        try:
            yield line.number, schema.load(row)
        except ma.ValidationError as error:
            messages = (f"{name}: {text}" for name, text in error.normalized_messages().items())
            table.errors[line.number] = " ".join(messages)


def _import(
    rows: list[tuple[int, dict[str, Any]]],
    factor_set: FactorSet,
    result: FactorImportResult,
    errors: dict[int, str],
) -> None:
    """Write the factors with few statements: the types, the superseded factors, then the new ones."""
    owner = factor_set.organization_id
    types = _usage_types(rows, owner, result)
    in_force = _factors_in_force(types.values(), owner)
    moment = db.session.scalar(sa.select(sa.func.now()))
    new: list[NewFactor] = []
    own: set[EmissionFactor] = set()
    for line, row in rows:
        usage_type = types[row["usage_type"], row["unit"]]
        fields = {name: row[name] for name in row if name in EmissionFactor.__table__.columns}
        factor = EmissionFactor(
            usage_type_id=usage_type.id, organization_id=owner, factor_set_id=factor_set.id, **fields
        )
        timeline = in_force[usage_type.id, row["region"], row["method"]]
        overlapping = timeline.overlapping(factor)
        replaced = next((other for other in overlapping if timeline.is_same_time(other, factor)), None)
        if replaced is not None and all(getattr(replaced, name) == row[name] for name in COMPARED):
            result.unchanged_count += 1
            continue
        if replaced is None and timeline.add(factor):
            new.append(NewFactor(line, usage_type, factor, None))
        elif own.isdisjoint(overlapping) and replaced and _publisher_of(replaced) in (None, factor_set.publisher):
            timeline.replace(replaced, factor)
            new.append(NewFactor(line, usage_type, factor, replaced))
        elif not own.isdisjoint(overlapping):
            errors[line] = "An earlier line has another factor of this usage type, region and method at this time."
        else:
            errors[line] = _overlap_message(replaced or overlapping[0])
        own.add(factor)
    if errors:
        return
    result.warn(implausible_factors(new, in_force))
    with choosing_again(*{added.usage_type.id for added in new}):
        for added in new:
            if added.replaced is not None:
                added.replaced.superseded_at, added.replaced.superseded_by = moment, current_actor().id or None
                added.replaced.superseded_reason = f"Superseded by {factor_set.publisher} {factor_set.edition}."
                added.factor.supersedes_id = added.replaced.id
        audit.flush()  # Before the INSERT, which would overlap the factors in force otherwise.
        db.session.add_all(added.factor for added in new)
    result.add(new)


def _usage_types(
    rows: list[tuple[int, dict[str, Any]]], owner: int | None, result: FactorImportResult
) -> dict[tuple[str, str], UsageType]:
    """Return the usage type of each name and unit, and create the missing ones. An own type precedes a shared one."""
    names = {row["usage_type"].casefold() for _, row in rows}
    criterion = UsageType.organization_id.is_(None) if owner is None else UsageType.is_of(owner)
    known = db.session.scalars(
        sa.select(UsageType)
        .where(sa.func.lower(UsageType.name) == sa.any_(sa.literal(list(names), sa.ARRAY(sa.Text))), criterion)
        .order_by(UsageType.organization_id.nulls_first(), UsageType.archived.desc(), UsageType.id.desc())
    ).all()
    by_name = {(known_type.name.casefold(), known_type.unit.casefold()): known_type for known_type in known}
    by_name |= {(known_type.name, known_type.unit): known_type for known_type in known}
    types: dict[tuple[str, str], UsageType] = {}
    for _, row in rows:
        key = row["usage_type"], row["unit"]
        folded = key[0].casefold(), key[1].casefold()
        if key not in types:
            types[key] = found = (
                by_name.get(key)
                or by_name.get(folded)
                or UsageType(
                    organization_id=owner,
                    name=key[0],
                    unit=key[1],
                    scope=row["scope"],
                    category=row["category"],
                    outside_of_scopes=row["outside_of_scopes"],
                )
            )
            if found.id is None:
                db.session.add(found)
                result.usage_type_count += 1
                by_name[folded] = found
    audit.flush()
    return types


def _factors_in_force(types: Iterable[UsageType], owner: int | None) -> dict[Key, Timeline]:
    ids = sa.literal([usage_type.id for usage_type in types], sa.ARRAY(sa.BigInteger))
    factors: dict[Key, Timeline] = defaultdict(Timeline)
    for factor in db.session.scalars(
        sa.select(EmissionFactor)
        .where(
            EmissionFactor.usage_type_id == sa.any_(ids),
            EmissionFactor.organization_id.is_not_distinct_from(owner),
            EmissionFactor.superseded_at.is_(None),
        )
        .order_by(EmissionFactor.valid_from)
    ):
        factors[factor.usage_type_id, factor.region, factor.method].factors.append(factor)
    return factors


def _publisher_of(factor: EmissionFactor) -> str | None:
    if factor.factor_set_id is None:
        return None
    known = db.session.get(FactorSet, factor.factor_set_id)
    return known.publisher if known else None


def _overlap_message(factor: EmissionFactor) -> str:
    publisher = _publisher_of(factor)
    return (
        f"Another factor of this usage type, region and method, {format_decimal(factor.factor)} by "
        f"{publisher or factor.source}, is valid within this time. Name the same publisher to supersede it."
    )

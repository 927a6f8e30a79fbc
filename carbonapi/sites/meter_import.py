"""Import a table of meters: add those that are missing, and change those that differ."""

from collections import defaultdict
from typing import IO, Any

import sqlalchemy as sa
from psycopg2 import errorcodes

from .. import audit
from ..auth import current_actor
from ..catalogue.models import UsageType
from ..db import allow, db, sqlstate
from ..errors import Conflict
from .models import Meter, Site
from .schemas import MeterCellsSchema, MeterExportSchema
from .service import END_BEFORE_START, REPLACES_ITSELF
from .table_import import ImportResult, Names, TableRow, read_rows

REQUIRED = [("name",), ("site",), ("usage_type_id", "usage_type")]
REFERENCES = {"site", "usage_type", "usage_type_id", "replaced_by"}


def import_meters(file: IO[bytes]) -> ImportResult:
    """Import a CSV file of meters into the actor's organization.

    Raise ValidationFailed with the errors by line if any line is invalid; then nothing is imported.
    """
    allow(minutes=2)
    result = ImportResult()
    rows = read_rows(file, MeterCellsSchema(), REQUIRED, MeterExportSchema().fields, result)
    import_ = _MeterImport(result)
    for row in rows:
        import_.apply(row)
    import_.find_successors()
    result.raise_errors()
    try:
        audit.flush()  # A new meter gets its id here.
        import_.set_successors()
        audit.flush()
    except sa.exc.IntegrityError as error:
        if sqlstate(error) != errorcodes.FOREIGN_KEY_VIOLATION:
            raise
        message = "A meter of the file has usages, or replaces another meter, so its usage type cannot change."
        raise Conflict(message) from None
    return result


class _MeterImport:
    """The meters, sites and usage types of the organization during an import."""

    def __init__(self, result: ImportResult) -> None:
        self._organization_id = current_actor().organization_id
        self._result = result
        meters = list(db.session.scalars(sa.select(Meter).where(Meter.organization_id == self._organization_id)))
        self._sites = Names(db.session.scalars(sa.select(Site).where(Site.organization_id == self._organization_id)))
        self._meters = Names(meters)
        self._by_place = {(meter.site_id, meter.name): meter for meter in meters}
        self._type_ids: dict[str, list[int]] = defaultdict(list)
        for usage_type in db.session.scalars(sa.select(UsageType).where(UsageType.is_of(self._organization_id))):
            self._type_ids[usage_type.name].append(usage_type.id)
        self._known_type_ids = {type_id for type_ids in self._type_ids.values() for type_id in type_ids}
        self._rows: list[tuple[TableRow, Meter, dict[str, Any] | None]] = []  # The values of existing meters.
        self._successors: list[tuple[TableRow, Meter, Meter | None]] = []

    def apply(self, row: TableRow) -> None:
        """Add the meter of a row, or find the one that it changes, or reject the row."""
        site, usage_type_id = self._find_one(self._sites, row, "site", "site"), self._find_type(row)
        if site is None or usage_type_id is None:
            return
        values = {name: value for name, value in row.values.items() if name not in REFERENCES}
        values |= {"site_id": site.id, "usage_type_id": usage_type_id}
        place = (site.id, values["name"])
        meter = self._meters.match(values.get("external_id"), self._by_place.get(place))
        valid_from, valid_until = (
            values[name] if name in values else getattr(meter, name, None) for name in ("valid_from", "valid_until")
        )
        if valid_from is not None and valid_until is not None and valid_until <= valid_from:
            return self._result.reject(row.line, "valid_until", END_BEFORE_START)
        if place in self._by_place and self._by_place[place] is not meter:
            return self._result.reject(row.line, "name", "A meter of this site already has this name.")
        if meter is None:
            self._add(row, values)
        elif not self._result.is_repeated(row.line, meter):
            self._by_place[place] = meter
            self._rows.append((row, meter, values))

    def find_successors(self) -> None:
        """Change the existing meters, and find the meter that replaces each, which a later line may have added."""
        for row, meter, values in self._rows:
            names_successor = "replaced_by" in row.values
            successor = self._find_one(self._meters, row, "replaced_by", "meter")
            if values is not None:
                is_replaced = names_successor and meter.replaced_by_id != (successor and successor.id)
                self._result.set_values(meter, values, is_changed=is_replaced)
            if names_successor:
                self._successors.append((row, meter, successor))
        for row, meter, successor in self._successors:
            if successor is meter:
                self._result.reject(row.line, "replaced_by", REPLACES_ITSELF)
            elif successor is not None and successor.usage_type_id != meter.usage_type_id:
                message = f"Meter {row.values['replaced_by']} has another usage type. Choose a meter of the same type."
                self._result.reject(row.line, "replaced_by", message)

    def set_successors(self) -> None:
        """Refer to the meters that were found. All of them have ids now."""
        for _, meter, successor in self._successors:
            meter.replaced_by_id = successor.id if successor is not None else None

    def _add(self, row: TableRow, values: dict[str, Any]) -> None:
        defaults = {"archived": False, "external_id": None, "valid_from": None, "valid_until": None}
        meter = Meter(organization_id=self._organization_id, **(defaults | values))
        db.session.add(meter)
        self._by_place[meter.site_id, meter.name] = meter
        self._meters.add(meter)
        self._result.is_repeated(row.line, meter)
        self._result.added_count += 1
        self._rows.append((row, meter, None))

    def _find_one(self, names: Names[Any], row: TableRow, column: str, kind: str) -> Any:
        """Return the row that a cell refers to. Return None for an empty cell, and after an error."""
        reference = row.values.get(column)
        if reference is None:
            return None
        found = names.find(reference)
        if len(found) == 1:
            return found[0]
        message = f"There is no {kind} {reference}."
        if found:
            message = f"{len(found)} {kind}s are named {reference}. Use the external_id of one."
        self._result.reject(row.line, column, message)
        return None

    def _find_type(self, row: TableRow) -> int | None:
        type_id, column, shown = row.values.get("usage_type_id"), "usage_type_id", ""
        found: list[int]
        if type_id is None:
            column, shown = "usage_type", row.values.get("usage_type") or ""
            found = self._type_ids.get(shown, [])
        else:
            found, shown = [type_id] if type_id in self._known_type_ids else [], str(type_id)
        if len(found) == 1:
            return found[0]
        message = f"There is no usage type {shown}; GET /usage-types lists them."
        if found:
            message = f"Usage types {', '.join(map(str, found))} are named {shown}. Use usage_type_id."
        self._result.reject(row.line, column, message)
        return None

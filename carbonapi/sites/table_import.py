"""Read a CSV table of sites or meters, and collect the outcome of its lines."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Generic, TypeVar

import marshmallow as ma

from ..catalogue.tables import Line, TableFile, file_error
from ..errors import ValidationFailed, rows_rejected
from ..rest.copy_stream import unescape_formula

MAX_LINES = 10_000
NAME = "The file"
Row = TypeVar("Row")


@dataclass(frozen=True)
class TableRow:
    """The values of a line, by column; None for an empty cell. Columns that the file does not have are missing."""

    line: int
    values: dict[str, Any]


@dataclass
class ImportResult:
    """The numbers of lines by their outcome, and the errors by line."""

    added_count: int = 0
    changed_count: int = 0
    unchanged_count: int = 0
    errors: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    _lines: dict[int, int] = field(default_factory=dict)  # Of the rows that lines are about, by identity.

    def reject(self, line: int, column: str, message: str) -> None:
        self.errors[line].append(f"{column}: {message}")

    def is_repeated(self, line: int, row: Any) -> bool:
        """Return whether an earlier line is about the same row, and reject this one then."""
        first = self._lines.setdefault(id(row), line)
        if first != line:
            self.errors[line].append(f"Duplicate of line {first}.")
        return first != line

    def set_values(self, row: Any, values: dict[str, Any], *, is_changed: bool = False) -> None:
        """Set the values of an existing row that differ, and count it."""
        changes = {name: value for name, value in values.items() if getattr(row, name) != value}
        for name, value in changes.items():
            setattr(row, name, value)
        if changes or is_changed:
            self.changed_count += 1
        else:
            self.unchanged_count += 1

    def raise_errors(self) -> None:
        """Raise ValidationFailed with the first errors, if there are any."""
        if self.errors:
            raise rows_rejected(self.errors, "nothing was imported")


class Names(Generic[Row]):
    """Rows by the references that a cell can have: an external id, or a name that only one row has."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._by_external_id: dict[str, Row] = {}
        self._by_name: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            self.add(row)

    def add(self, row: Any) -> None:
        if row.external_id is not None:
            self._by_external_id[row.external_id] = row
        self._by_name[row.name].append(row)

    def match(self, external_id: str | None, at_place: Any) -> Row | None:
        """Return the row with this external id, or else the one at the place of a line.

        A row at the place that has another external id is another row, whose name is taken.
        """
        if external_id is None:
            return at_place  # type: ignore[no-any-return]
        is_other = at_place is not None and at_place.external_id not in (None, external_id)
        return self._by_external_id.get(external_id, None if is_other else at_place)

    def find(self, reference: str) -> list[Row]:
        """Return the rows that a reference can mean."""
        found = self._by_external_id.get(reference)
        return [found] if found is not None else self._by_name.get(reference, [])


def read_rows(
    file: IO[bytes],
    schema: ma.Schema,
    required: Iterable[tuple[str, ...]],
    ignored: Iterable[str],
    result: ImportResult,
) -> list[TableRow]:
    """Return the valid rows of a CSV file, and report the other ones to the result.

    schema: its fields are the known columns. required: groups of columns; the file must have one of each.
    Raise ValidationFailed for an invalid header, and for too many lines.
    """
    lines = next(TableFile.read(file, NAME).sheets()).lines
    header = _header(next(lines, Line(1, [])), schema, required, {*ignored})
    rows = []
    for count, line in enumerate(_filled(lines), 1):
        if count > MAX_LINES:
            message = "Divide it into several files."
            raise file_error(NAME, line.number, message, f"has more than {MAX_LINES} lines")
        if len(line.cells) != len(header):
            result.errors[line.number] = [f"The row has {len(line.cells)} cells, but the header has {len(header)}."]
            continue
        try:
            rows.append(TableRow(line.number, _load(dict(zip(header, line.cells, strict=True)), schema)))
        except ma.ValidationError as error:
            messages = error.normalized_messages()
            result.errors[line.number] = [f"{name}: {text}" for name, texts in messages.items() for text in texts]
    return rows


def _filled(lines: Iterator[Line]) -> Iterator[Line]:
    return (line for line in lines if any(line.cells))


def _load(cells: dict[str, str], schema: ma.Schema) -> dict[str, Any]:
    values: dict[str, str | None] = {}
    for name, cell in cells.items():
        known = schema.fields.get(name)
        if known is None:
            continue
        if cell:
            # Spreadsheets write TRUE and FALSE.
            values[name] = cell.lower() if isinstance(known, ma.fields.Boolean) else unescape_formula(cell)
        elif known.allow_none:
            values[name] = None
    loaded: dict[str, Any] = schema.load(values)
    return loaded


def _header(line: Line, schema: ma.Schema, required: Iterable[tuple[str, ...]], ignored: set[str]) -> list[str]:
    """Return the names of the columns. Raise ValidationFailed for unknown, duplicate and missing ones."""
    header = line.cells
    known = f"Columns: {', '.join(schema.fields)}."
    messages = [f"Unknown column {name!r}. {known}" for name in header if name not in {*schema.fields, *ignored}]
    messages += [f"Duplicate column {name}." for name, count in Counter(header).items() if count > 1]
    messages += [f"Missing column {' or '.join(group)}." for group in required if not {*group} & {*header}]
    if messages:
        text = f"{NAME} has an invalid header; nothing was imported."
        raise ValidationFailed(text, {"file": {str(line.number): messages}})
    return header

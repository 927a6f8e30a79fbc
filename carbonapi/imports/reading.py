"""Usages as they stand in a CSV file: every cell is read as strictly as the same field of a request."""

import csv
import io
from typing import Any

import marshmallow as ma

from ..errors import Invalid
from ..usages.schemas import NewUsageSchema

MOST_FAULTS_SHOWN = 100
Faults = dict[int, list[str]]  # What is wrong with which line; the header is line 1.
Row = tuple[int, dict[str, Any]]  # The line at which it begins, and the fields of the usage.


class CellsSchema(NewUsageSchema):
    """A usage as text cells. A blank cell is a missing one."""

    typed = False


def read(file: bytes, defaults: dict[str, Any]) -> tuple[list[Row], Faults]:
    """The usages of a CSV file with a header, and what is wrong with which line.

    defaults: fields for the columns that the file does not have.
    Raises Invalid for a file that is not CSV in UTF-8, or that has been cut off.
    """
    try:
        text = file.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused({1: [f"Not UTF-8 from byte {error.start} on."]}) from None
    if not text.endswith("\n"):
        raise refused({1: ["The last line has no line break: the file may have been cut off. End it with one."]})
    if "\0" in text:
        raise refused({1: ["The file holds a NUL byte."]})
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    faults: Faults = {}
    line = 1
    try:
        header = _header(next(reader), defaults)
        schema = CellsSchema()
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) != len(header):
                faults[line] = [f"{len(cells)} cells, where the header has {len(header)}."]
            else:
                given = {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}
                try:
                    rows.append((line, schema.load(defaults | given)))
                except ma.ValidationError as error:
                    faults[line] = sentences(error.normalized_messages())
            line = reader.line_num + 1
    except csv.Error as error:
        faults[line] = [f"Not proper CSV: {error}."]
    if not rows and not faults:
        faults[line] = ["The file has no usages."]
    return rows, faults


def refused(faults: Faults) -> Invalid:
    """The error that shows the first faults by line. Nothing was booked."""
    shown = {str(line): faults[line] for line in sorted(faults)[:MOST_FAULTS_SHOWN]}
    lines = "1 line is" if len(faults) == 1 else f"{len(faults)} lines are"
    return Invalid(f"{lines} not good, so nothing was recorded. The first: line {min(faults)}.", {"file": shown})


def sentences(messages: dict[str, Any]) -> list[str]:
    """Validation messages as sentences that name the column."""
    return [f"{name}: {text}" for name, texts in messages.items() for text in texts]


def _header(cells: list[str], defaults: dict[str, Any]) -> list[str]:
    """The names of the columns. Raises Invalid for unknown, repeated and missing ones."""
    names = [cell.strip() for cell in cells]
    known = CellsSchema().fields
    wrong = [f"There is no column {name!r}; there are {', '.join(known)}." for name in names if name not in known]
    wrong += [f"The column {name} stands twice." for name in sorted({name for name in names if names.count(name) > 1})]
    wrong += [
        f"The column {name} is missing."
        for name, field in known.items()
        if field.required and name not in names and name not in defaults
    ]
    if wrong:
        raise refused({1: wrong})
    return names

"""Usages as they stand in a CSV file: every cell is read as strictly as the same field of a request."""

import csv
import io
import json
from collections.abc import Collection, Iterator
from typing import Any

import marshmallow as ma

from ..errors import Invalid
from ..rest.exports import unguarded
from ..usages.schemas import NewUsageSchema, UsageSchema

MOST_FAULTS_SHOWN = 100
NOTHING_RECORDED = "so nothing was recorded"
Faults = dict[int, list[str]]  # What is wrong with which line; the header is line 1.
Cells = dict[str, str | None]  # What a line says by column; None where it says nothing.
Row = tuple[int, dict[str, Any]]  # The line at which it begins, and the fields of the usage.


class CellsSchema(NewUsageSchema):
    """A usage as text cells. A blank cell is a missing one."""

    typed = False


def read(file: bytes, defaults: dict[str, Any], ignored: Collection[str] = ()) -> tuple[list[Row], Faults]:
    """The usages of a CSV file with a header, and what is wrong with which line.

    defaults: fields for the columns that the file does not have. ignored: columns that are not read, beside those of
    an export that follow from others.
    Raises Invalid for a file that is not CSV in UTF-8, or that has been cut off.
    """
    schema = CellsSchema()
    required = [name for name, field in schema.fields.items() if field.required and name not in defaults]
    skipped = {*ignored, *(UsageSchema().fields.keys() - schema.fields.keys())}
    rows: list[Row] = []
    faults: Faults = {}
    for line, cells in cells_of(file, schema, required, skipped, faults):
        try:
            given = {name: cell for name, cell in cells.items() if cell is not None}
            rows.append((line, schema.load(defaults | given)))
        except ma.ValidationError as error:
            faults[line] = sentences(error.normalized_messages())
    if not rows and not faults:
        faults[2] = ["The file has no usages."]
    return rows, faults


def cells_of(
    file: bytes, schema: ma.Schema, required: Collection[str], skipped: Collection[str], faults: Faults
) -> Iterator[tuple[int, Cells]]:
    """The lines of a CSV file with a header, each with its cells by column.

    The columns are the schema's fields, of which these are required, and others that are skipped. Lines that cannot be
    read are added to the faults. Raises Invalid for a file that is not CSV in UTF-8, or that has been cut off.
    """
    reader = csv.reader(io.StringIO(whole_text(file), newline=""), strict=True)
    texts = {name for name, field in schema.fields.items() if isinstance(field, ma.fields.String)}
    line = 1
    try:
        header = _header(next(reader), list(schema.fields), required, skipped)
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) != len(header):
                faults[line] = [f"{len(cells)} cells, where the header has {len(header)}."]
            else:
                yield (
                    line,
                    {
                        name: None if cell == "" else unguarded(cell) if name in texts else cell
                        for name, cell in zip(header, cells, strict=True)
                        if name not in skipped
                    },
                )
            line = reader.line_num + 1
    except csv.Error as error:
        faults[line] = [f"Not proper CSV: {error}."]


def objects_of(
    file: bytes, schema: ma.Schema, required: Collection[str], skipped: Collection[str], faults: Faults
) -> Iterator[tuple[int, Cells]]:
    """The lines of an NDJSON file, each with its values as text by field: of numbers, the very digits.

    As `cells_of` for the rest.
    """
    for line, text in enumerate(whole_text(file).split("\n")[:-1], 1):
        try:
            pairs = json.loads(text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=list)
        except (ValueError, RecursionError):
            pairs = None
        if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
            faults[line] = ["Not a JSON object."]
            continue
        try:
            header = _header([name for name, _ in pairs], list(schema.fields), required, skipped)
        except Invalid as error:
            faults[line] = error.errors["file"]["1"]
            continue
        odd = [name for name, value in pairs if not isinstance(value, str | None)]
        if odd:
            faults[line] = [f"{name}: Neither a text nor a number." for name in odd]
            continue
        yield line, {name: pairs[place][1] for place, name in enumerate(header) if name not in skipped}


def whole_text(file: bytes) -> str:
    """The text of a file. Raises Invalid for one that is not UTF-8, or that has been cut off."""
    try:
        text = file.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused({1: [f"Not UTF-8 from byte {error.start} on."]}) from None
    if not text.endswith("\n"):
        raise refused({1: ["The last line has no line break: the file may have been cut off. End it with one."]})
    if "\0" in text:
        raise refused({1: ["The file holds a NUL byte."]})
    return text


def refused(faults: Faults, outcome: str = NOTHING_RECORDED) -> Invalid:
    """The error that shows the first faults by line, and what came of the file."""
    shown = {str(line): faults[line] for line in sorted(faults)[:MOST_FAULTS_SHOWN]}
    lines = "1 line is" if len(faults) == 1 else f"{len(faults)} lines are"
    return Invalid(f"{lines} not good, {outcome}. The first: line {min(faults)}.", {"file": shown})


def sentences(messages: dict[str, Any]) -> list[str]:
    """Validation messages as sentences that name the column."""
    return [f"{name}: {text}" for name, texts in messages.items() for text in texts]


def _header(cells: list[str], known: list[str], required: Collection[str], skipped: Collection[str]) -> list[str]:
    """The names of the columns. Raises Invalid for unknown, repeated and missing ones."""
    names = [cell.strip() for cell in cells]
    wrong = [
        f"There is no column {name!r}; there are {', '.join(known)}."
        for name in names
        if name not in known and name not in skipped
    ]
    wrong += [f"The column {name} stands twice." for name in sorted({name for name in names if names.count(name) > 1})]
    read = {name for name in names if name not in skipped}
    wrong += [f"The column {name} is missing." for name in required if name not in read]
    if wrong:
        raise refused({1: wrong})
    return names

"""Read CSV and NDJSON line by line, in constant memory."""

import codecs
import contextlib
import csv
import hashlib
import io
import json
from collections.abc import Collection, Iterator, Mapping
from typing import IO, Any

import marshmallow as ma

from ...errors import ValidationFailed, rows_rejected
from ...rest.copy_stream import unescape_formula
from ...rest.fields import MAX_NUMBER_LENGTH, format_decimal, parse_decimal

MAX_LINE_LENGTH = 131_072  # In characters, including line breaks within quotes.
CHUNK_BYTES = 1_048_576
RowErrors = dict[int, list[str]]  # Messages by line. The header of a CSV file is line 1.
Cells = dict[str, str | None]  # Text by column; None for an empty cell.
# Columns of earlier releases, with the way out. To ignore them could import an amount twice.
REMOVED_COLUMNS = {
    "method": "Remove it: a usage has both numbers, location-based and market-based, so each amount needs one row only."
}


class JsonNumber(str):
    """The digits of a JSON number, without exponent. Distinguishes it from a JSON string."""


def sha256_of_text_file(file: IO[bytes]) -> str:
    """Return the SHA-256 of a file, and rewind the file.

    Raise ValidationFailed if the file is not UTF-8, or may have been cut off. Truncated XML is detected by its parser.
    """
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    read, last, holds_nul = 0, b"", False
    is_read = False
    file.seek(0)
    while not is_read:
        chunk = file.read(CHUNK_BYTES)
        is_read = not chunk
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk, final=is_read)
        except UnicodeDecodeError as error:
            offset = read - pending + error.start
            raise rows_rejected({1: [f"The file must be UTF-8. Byte {offset} is not."]}) from None
        digest.update(chunk)
        read, last, holds_nul = read + len(chunk), chunk or last, holds_nul or b"\0" in chunk
    file.seek(0)
    if not last.endswith(b"\n") and detect_format(file) != "greenbutton":
        raise rows_rejected({1: ["The file must end with a line break. Without one, it may have been cut off."]})
    if holds_nul:
        raise rows_rejected({1: ["The file must not contain NUL bytes."]})
    return digest.hexdigest()


def detect_format(file: IO[bytes]) -> str:
    """Return the format that the first character of a file indicates, and rewind the file."""
    start = file.read(1024).removeprefix(codecs.BOM_UTF8).lstrip()
    file.seek(0)
    return {b"{": "ndjson", b"<": "greenbutton"}.get(start[:1], "csv")


def read_csv(
    file: IO[bytes],
    schema: ma.Schema,
    required: Collection[Collection[str]],
    skipped: Collection[str],
    errors: RowErrors,
    delimiter: str = ",",
    names: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, Cells | None]]:
    """Yield the number and the cells of each row of a CSV file with a header. The cells of an unreadable row are None.

    schema: its fields are the known columns. required: groups of columns; the file must have one of each group.
    skipped: columns to leave out. errors: receives the messages about unreadable rows. names: known columns by their
    names in the file. Raise ValidationFailed for an invalid header.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    length = 0

    def lines() -> Iterator[str]:
        nonlocal length
        while part := text.readline(MAX_LINE_LENGTH):
            length += len(part)
            if length > MAX_LINE_LENGTH or part[-1] not in "\r\n":
                raise csv.Error(f"a line has more than {MAX_LINE_LENGTH} characters")
            yield part

    reader = csv.reader(lines(), strict=True, delimiter=delimiter)
    texts = {name for name, field in schema.fields.items() if isinstance(field, ma.fields.String)}
    line = 1
    try:
        header = _header(next(reader), schema, required, skipped, names or {})
        line = reader.line_num + 1
        for values in reader:
            length = 0
            if len(values) != len(header):
                errors[line] = [f"The row has {len(values)} cells, but the header has {len(header)}."]
                yield line, None
            else:
                yield (
                    line,
                    {
                        name: None if cell == "" else unescape_formula(cell) if name in texts else cell
                        for name, cell in zip(header, values, strict=True)
                        if name not in skipped
                    },
                )
            line = reader.line_num + 1
    except csv.Error as error:
        errors[line] = [f"Invalid CSV: {error}."]
        yield line, None
    finally:
        _detach(text)


def read_ndjson(
    file: IO[bytes],
    schema: ma.Schema,
    required: Collection[Collection[str]],
    skipped: Collection[str],
    errors: RowErrors,
    names: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, Cells | None]]:
    """Yield the number and the values of each line of an NDJSON file, with the exact digits of numbers.

    The parameters are those of `read_csv`.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="\n")
    line = 0
    try:
        while part := text.readline(MAX_LINE_LENGTH):
            line += 1
            if not part.endswith("\n"):
                errors[line] = [f"Invalid NDJSON: a line has more than {MAX_LINE_LENGTH} characters."]
                yield line, None
                return
            try:
                cells = _object_cells(part, schema, required, skipped, names or {})
            except ValidationFailed as error:
                errors[line], cells = list(error.errors["file"]["1"]), None
            yield line, cells
    finally:
        _detach(text)


def _detach(text: io.TextIOWrapper) -> None:
    """Detach the file, so that it stays open."""
    with contextlib.suppress(ValueError):
        text.detach()


def _object_cells(
    line: str,
    schema: ma.Schema,
    required: Collection[Collection[str]],
    skipped: Collection[str],
    names: Mapping[str, str],
) -> Cells:
    """Return the values of a line of NDJSON. Raise ValidationFailed for anything but an object of known values."""
    try:
        pairs = json.loads(line, parse_float=_digits, parse_int=JsonNumber, parse_constant=str, object_pairs_hook=list)
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise rows_rejected({1: ["The line must be a JSON object."]})
    header = _header([name for name, _ in pairs], schema, required, skipped, names)
    columns = [(name, shown, value) for name, (shown, value) in zip(header, pairs, strict=True) if name not in skipped]
    cells = {name: _flag(value) if _is_flag(name, schema) else value for name, _, value in columns}
    messages = [
        f"{shown}: Must be a string or a number."
        for name, shown, _ in columns
        if not isinstance(cells[name], str | None)
    ]
    messages += [
        f"{name}: {schema.fields[name].error_messages['invalid']}"
        for name, value in cells.items()
        if isinstance(value, JsonNumber) and isinstance(schema.fields[name], ma.fields.String)
    ]
    if messages:
        raise rows_rejected({1: messages})
    return cells


def _is_flag(name: str, schema: ma.Schema) -> bool:
    return isinstance(schema.fields[name], ma.fields.Boolean)


def _flag(value: Any) -> Any:
    """Return a JSON boolean as the text that it has in CSV."""
    return str(value).lower() if isinstance(value, bool) else value


def _digits(token: str) -> JsonNumber:
    number = parse_decimal(token)
    # No field accepts a longer number, and the digits of 1e400000000 would not fit into memory.
    return JsonNumber(
        format_decimal(number) if number.is_finite() and abs(number.adjusted()) < MAX_NUMBER_LENGTH else token
    )


def _header(
    cells: list[str],
    schema: ma.Schema,
    required: Collection[Collection[str]],
    skipped: Collection[str],
    names: Mapping[str, str],
) -> list[str]:
    """Return the known names of the columns. Raise ValidationFailed for unknown, duplicate and missing columns."""
    header = [names.get(cell.strip(), cell.strip()) for cell in cells]
    known = f"Columns: {', '.join(schema.fields)}."
    messages = [
        f"Unknown column {name!r}. {REMOVED_COLUMNS.get(name, known)}"
        for name in header
        if name not in schema.fields and name not in skipped
    ]
    messages += [f"Duplicate column {name}." for name in sorted({name for name in header if header.count(name) > 1})]
    read = {name for name in header if name not in skipped}
    messages += [f"Missing column {' or '.join(group)}." for group in required if read.isdisjoint(group)]
    if messages:
        raise rows_rejected({1: messages})
    return header

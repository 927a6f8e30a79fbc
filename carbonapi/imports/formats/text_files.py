"""Files as they come, CSV or NDJSON: line by line, in no more memory for a long one than for a short one."""

import codecs
import contextlib
import csv
import hashlib
import io
import json
from collections.abc import Collection, Iterator, Mapping
from typing import IO, Any

import marshmallow as ma

from ...errors import ValidationFailed
from ...rest.copy_stream import unescape_formula
from ...rest.fields import MAX_NUMBER_LENGTH, format_decimal, parse_decimal

MAX_ERRORS_SHOWN = 100
NOTHING_RECORDED = "so nothing was recorded"
LONGEST_LINE = 131_072  # Characters, with the line breaks that stand between quotes.
CHUNK_BYTES = 1_048_576
RowErrors = dict[int, list[str]]  # What is wrong with which line; the header of a CSV file is line 1.
Cells = dict[str, str | None]  # What a line says by column; None where it says nothing.


class JsonNumber(str):
    """A number of JSON by its digits, without an exponent. A text of digits is none."""


def sha256_of_text_file(file: IO[bytes]) -> str:
    """The SHA-256 of a file, which is left at its beginning.

    Raises Invalid for one that is not UTF-8, or that has been cut off; XML tells that by itself.
    """
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    read, last, holds_nul = 0, b"", False
    file.seek(0)
    for chunk in _chunks(file):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            raise rows_rejected({1: [f"Not UTF-8 from byte {read - pending + error.start} on."]}) from None
        digest.update(chunk)
        read, last, holds_nul = read + len(chunk), chunk, holds_nul or b"\0" in chunk
    pending = len(decoder.getstate()[0])
    if pending:
        raise rows_rejected({1: [f"Not UTF-8 from byte {read - pending} on."]})
    file.seek(0)
    if not last.endswith(b"\n") and not is_xml(file):
        raise rows_rejected({1: ["The last line has no line break: the file may have been cut off. End it with one."]})
    if holds_nul:
        raise rows_rejected({1: ["The file holds a NUL byte."]})
    file.seek(0)
    return digest.hexdigest()


def is_ndjson(file: IO[bytes]) -> bool:
    """Whether a file begins as JSON does. It is left at its beginning."""
    return _begins_with(b"{", file)


def is_xml(file: IO[bytes]) -> bool:
    """Whether a file begins as XML does. It is left at its beginning."""
    return _begins_with(b"<", file)


def _begins_with(mark: bytes, file: IO[bytes]) -> bool:
    beginning = file.read(1024).removeprefix(codecs.BOM_UTF8).lstrip()
    file.seek(0)
    return beginning.startswith(mark)


def read_csv(
    file: IO[bytes],
    schema: ma.Schema,
    required: Collection[Collection[str]],
    skipped: Collection[str],
    errors: RowErrors,
    delimiter: str = ",",
    names: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, Cells | None]]:
    """The lines of a CSV file with a header, each with its cells by column.

    The columns are the schema's fields, and others that are skipped. required: groups of columns, of each of which one
    must be there. names: what columns of the file are called here. A line that cannot be read is added to the errors,
    and is None. Raises Invalid for a wrong header.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    length = 0

    def lines() -> Iterator[str]:
        nonlocal length
        while part := text.readline(LONGEST_LINE):
            length += len(part)
            if length > LONGEST_LINE or part[-1] not in "\r\n":
                raise csv.Error(f"a line of more than {LONGEST_LINE} characters")
            yield part

    reader = csv.reader(lines(), strict=True, delimiter=delimiter)
    guarded = {name for name, field in schema.fields.items() if isinstance(field, ma.fields.String)}
    line = 1
    try:
        header = _header(next(reader), list(schema.fields), required, skipped, names or {})
        line = reader.line_num + 1
        for values in reader:
            length = 0
            if len(values) != len(header):
                errors[line] = [f"{len(values)} cells, where the header has {len(header)}."]
                yield line, None
            else:
                yield (
                    line,
                    {
                        name: None if cell == "" else unescape_formula(cell) if name in guarded else cell
                        for name, cell in zip(header, values, strict=True)
                        if name not in skipped
                    },
                )
            line = reader.line_num + 1
    except csv.Error as error:
        errors[line] = [f"Not proper CSV: {error}."]
        yield line, None
    finally:
        _let_go(text)


def read_ndjson(
    file: IO[bytes],
    schema: ma.Schema,
    required: Collection[Collection[str]],
    skipped: Collection[str],
    errors: RowErrors,
    names: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, Cells | None]]:
    """The lines of an NDJSON file, each with its values as text by field: of numbers, the very digits.

    As `cells_of` for the rest.
    """
    known = list(schema.fields)
    texts = {name: field for name, field in schema.fields.items() if isinstance(field, ma.fields.String)}
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="\n")
    line = 0
    try:
        while part := text.readline(LONGEST_LINE):
            line += 1
            if not part.endswith("\n"):
                errors[line] = [f"Not proper NDJSON: a line of more than {LONGEST_LINE} characters."]
                yield line, None
                return
            pairs = _pairs(part)
            if pairs is None:
                errors[line] = ["Not a JSON object."]
                yield line, None
                continue
            try:
                header = _header([name for name, _ in pairs], known, required, skipped, names or {})
            except ValidationFailed as error:
                errors[line] = error.errors["file"]["1"]
                yield line, None
                continue
            odd = [
                f"{name}: Neither a text nor a number." for name, value in pairs if not isinstance(value, str | None)
            ]
            odd += [
                f"{name}: {texts[name].error_messages['invalid']}"
                for name, (_, value) in zip(header, pairs, strict=True)
                if name in texts and name not in skipped and isinstance(value, JsonNumber)
            ]
            if odd:
                errors[line] = odd
                yield line, None
                continue
            yield line, {name: pairs[place][1] for place, name in enumerate(header) if name not in skipped}
    finally:
        _let_go(text)


def rows_rejected(errors: RowErrors, outcome: str = NOTHING_RECORDED, count: int | None = None) -> ValidationFailed:
    """The error that shows the first errors by line, and what came of the file.

    count: how many lines are at fault, where these are the first of them only.
    """
    count = count or len(errors)
    shown = {str(line): errors[line] for line in sorted(errors)[:MAX_ERRORS_SHOWN]}
    lines = "1 line is" if count == 1 else f"{count} lines are"
    return ValidationFailed(f"{lines} not good, {outcome}. The first: line {min(errors)}.", {"file": shown})


def _let_go(text: io.TextIOWrapper) -> None:
    """Leave the file open, which is not ours to close; unless it is closed already."""
    with contextlib.suppress(ValueError):
        text.detach()


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _pairs(line: str) -> list[tuple[str, Any]] | None:
    """The names and values of a JSON object; None if the line is none."""
    try:
        pairs = json.loads(line, parse_float=_digits, parse_int=JsonNumber, parse_constant=str, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    is_object = isinstance(pairs, list) and all(isinstance(pair, tuple) for pair in pairs)
    return pairs if is_object else None


def _digits(token: str) -> JsonNumber:
    number = parse_decimal(token)
    # No field takes a longer one, and to write out 1e400000000 would take all memory.
    return JsonNumber(
        format_decimal(number) if number.is_finite() and abs(number.adjusted()) < MAX_NUMBER_LENGTH else token
    )


def _header(
    cells: list[str],
    known: list[str],
    required: Collection[Collection[str]],
    skipped: Collection[str],
    renamed: Mapping[str, str],
) -> list[str]:
    """The names of the columns. Raises Invalid for unknown, repeated and missing ones."""
    names = [renamed.get(cell.strip(), cell.strip()) for cell in cells]
    wrong = [
        f"There is no column {name!r}; there are {', '.join(known)}."
        for name in names
        if name not in known and name not in skipped
    ]
    wrong += [f"The column {name} stands twice." for name in sorted({name for name in names if names.count(name) > 1})]
    read = {name for name in names if name not in skipped}
    wrong += [f"The column {' or '.join(group)} is missing." for group in required if read.isdisjoint(group)]
    if wrong:
        raise rows_rejected({1: wrong})
    return names

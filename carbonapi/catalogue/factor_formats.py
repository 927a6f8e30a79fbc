"""The formats of tables of emission factors: our own, a column mapping, and those of publishers.

A blank figure or "NA" was not published; it is never zero, so its line is skipped. So are lines without a factor.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ..errors import ValidationFailed
from .models import GASES
from .published_table import NO_FIGURE, Edition, PublishedTable, Reading, Row, TableOptions, validity
from .publishers import egrid, electricity, electricity_maps, epa_hub, uk_government
from .tables import Line, Sheet, TableFile, file_error

OWN, MAPPED = "own", "mapped"
MAX_LINES_BEFORE_HEADER = 50  # Titles and notes of a table.
REQUIRED_COLUMNS = ("usage_type", "unit", "valid_from", "kg_co2e_per_unit", "source")
OPTIONAL_COLUMNS = (
    "scope",
    "category",
    "outside_of_scopes",
    "region",
    "method",
    "valid_until",
    "gwp",
    "citation",
    "note",
)
SET_COLUMNS = ("publisher", "edition", "licence", "url")  # Of the factor set; the first line decides.
FIGURES = ("kg_co2e_per_unit", *GASES)
FIELDS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS, *GASES)
_LOCAL_TIME = r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2})(:[0-9]{2})?"
Convert = Callable[[PublishedTable], tuple[Edition, list[Reading]]]


@dataclass(frozen=True)
class Format:
    """columns: regular expressions of the columns that the header must have; case is ignored."""

    columns: Collection[str]
    convert: Convert


def find_table(file: TableFile, file_format: str | None, options: TableOptions) -> tuple[str, PublishedTable, Convert]:
    """Find the header of the table. Return its format, the table and the function that converts it.

    file_format: a key of FORMATS. Without it, the header shows the format.
    Raise ValidationFailed if no sheet has the header.
    """
    formats = FORMATS if file_format is None else {file_format: FORMATS[file_format]}
    if options.mapping is not None:
        columns = [re.escape(name) for name in options.mapping.get("columns", {}).values()]
        formats = {MAPPED: Format(columns, _convert_mapped)}
    titles: list[list[str]] = []
    missing: list[str] = []
    names: list[str] = []
    for sheet in file.sheets():
        names.append(sheet.name or "")
        if options.sheet is not None and sheet.name is not None and sheet.name.casefold() != options.sheet.casefold():
            continue
        for count, line in enumerate(sheet.lines, 1):
            for name, known in formats.items():
                absent = [column for column in known.columns if not _has_column(line, column)]
                if not absent:
                    return name, _table(file, sheet, titles, line, options), known.convert
                missing = min(missing or absent, absent, key=len)
            titles.append(line.cells)
            if count >= MAX_LINES_BEFORE_HEADER:
                break
    raise _no_header(file, file_format, formats, missing, names)


def _no_header(
    file: TableFile, file_format: str | None, formats: Mapping[str, Format], missing: list[str], sheets: list[str]
) -> ValidationFailed:
    if len(formats) > 1:
        message = (
            "Set `format`, or give a column mapping, which reads any table. "
            f"Columns of our own format: {', '.join(REQUIRED_COLUMNS)}."
        )
        return file_error(file.name, 1, message, "has the header of no known format")
    columns = missing or list(next(iter(formats.values())).columns)
    absent = ", ".join(sorted(re.sub(r"\\(.)", r"\1", column) for column in columns))
    of_sheets = f" Sheets: {', '.join(sheets)}." if any(sheets) else ""
    message = f"Give the name of the header, or a column mapping, which reads any table.{of_sheets}"
    return file_error(file.name, 1, message, f"lacks the columns {absent}")


def _has_column(line: Line, column: str) -> bool:
    return any(re.fullmatch(column, cell, re.IGNORECASE) for cell in line.cells)


def _table(
    file: TableFile, sheet: Sheet, titles: list[list[str]], header: Line, options: TableOptions
) -> PublishedTable:
    """Return the table below the header. Without an option, cells between semicolons have a decimal comma."""
    cells = header.cells
    while cells and not cells[-1]:
        cells = cells[:-1]
    decimal = options.decimal or ("," if sheet.delimiter == ";" else ".")
    table = PublishedTable(file.name, sheet.name, titles, cells, iter(()), decimal, options)
    table.lines = _lines_of(table, sheet.lines)
    return table


def _lines_of(table: PublishedTable, lines: Iterator[Line]) -> Iterator[Line]:
    """Yield the lines that are not blank, each with as many cells as the header. A longer one is an error."""
    width = len(table.header)
    for line in lines:
        if any(line.cells[width:]):
            count = len(line.cells)
            table.errors[line.number] = f"The line has {count} cells, but the header has {width}."
        elif any(line.cells):
            yield replace(line, cells=line.cells[:width] + [""] * (width - len(line.cells)))


def _convert_own(table: PublishedTable) -> tuple[Edition, list[Reading]]:
    columns = {name: index for name in FIELDS if (index := table.find_column(name)) is not None}
    set_columns = {name: index for name in SET_COLUMNS if (index := table.find_column(name)) is not None}
    lines = list(table.lines)
    stated = {name: lines[0].cells[column] for name, column in set_columns.items()} if lines else {}
    found = Edition(**{"publisher": "", "edition": ""} | {name: text for name, text in stated.items() if text})
    return found, [_own_row(table, line, columns, {}, Decimal(1)) for line in lines]


def _convert_mapped(table: PublishedTable) -> tuple[Edition, list[Reading]]:
    mapping: Mapping[str, Any] = table.options.mapping or {}
    columns = {name: table.column(re.escape(column)) for name, column in mapping.get("columns", {}).items()}
    constants = {name: str(value) for name, value in mapping.get("constants", {}).items()}
    scale = Decimal(str(mapping.get("scale", 1)))
    return Edition("", ""), [_own_row(table, line, columns, constants, scale) for line in table.lines]


def _own_row(
    table: PublishedTable, line: Line, columns: Mapping[str, int], constants: Row, scale: Decimal
) -> tuple[Line, Row | str]:
    """Return the fields of a line in our own columns. `valid_from` can be a year. Times without an offset are UTC."""
    row: Row = dict(constants)
    for name, column in columns.items():
        row[name] = table.figure(line, column, scale) if name in FIGURES else line.cells[column] or row.get(name)
    if row.get("kg_co2e_per_unit") is None:
        return line, NO_FIGURE
    for name in ("valid_from", "valid_until"):
        if match := re.fullmatch(_LOCAL_TIME, row.get(name) or ""):
            row[name] = f"{match[1]}T{match[2]}{match[3] or ':00'}Z"
    if re.fullmatch("[0-9]{4}", row.get("valid_from") or ""):
        row |= validity(row["valid_from"]) | ({"valid_until": row["valid_until"]} if row.get("valid_until") else {})
    return line, row | {"citation": row.get("citation") or table.cite(line)}


def read_mapping(mapping: Any) -> dict[str, Any]:
    """Check a column mapping: {"columns": {ours: theirs}, "constants": {ours: value}, "scale": factor}.

    Raise ValidationFailed for another structure and unknown fields, and for a required field that is in neither.
    """
    problem = _mapping_problem(mapping)
    if problem is not None:
        raise ValidationFailed(problem, {"query": {"mapping": [problem]}})
    return dict(mapping)


def _mapping_problem(mapping: Any) -> str | None:
    if not isinstance(mapping, dict) or not mapping.keys() <= {"columns", "constants", "scale"}:
        return "The mapping must be a JSON object with `columns`, `constants` and `scale`."
    columns, constants = mapping.get("columns", {}), mapping.get("constants", {})
    if not isinstance(columns, dict) or not isinstance(constants, dict) or not columns:
        return "`columns` and `constants` must be JSON objects, and `columns` must not be empty."
    unknown = sorted({*columns, *constants} - set(FIELDS))
    if unknown:
        return f"The mapping has the unknown fields {', '.join(unknown)}. Fields: {', '.join(FIELDS)}."
    if not all(isinstance(column, str) and column for column in columns.values()):
        return "Each value in `columns` must be the name of a column."
    if not all(isinstance(value, str | int | float | Decimal | bool) for value in constants.values()):
        return "Each value in `constants` must be text, a number or a boolean."
    missing = [name for name in REQUIRED_COLUMNS if name not in columns and name not in constants]
    if missing:
        return f"The mapping lacks {', '.join(missing)}. Map a column, or set a constant."
    if "kg_co2e_per_unit" not in columns:
        return "`kg_co2e_per_unit` must be in `columns`."
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,12})?", str(mapping.get("scale", 1))):
        return "`scale` must be a number: 0.001 for factors in grams."
    return None


# In the order in which a header is compared with them.
FORMATS: dict[str, Format] = {
    OWN: Format(REQUIRED_COLUMNS, _convert_own),
    "uk-government": Format(uk_government.COLUMNS, uk_government.read),
    "owid": Format(electricity.OWID_COLUMNS, electricity.read_owid),
    "ember": Format(electricity.EMBER_COLUMNS, electricity.read_ember),
    "eea": Format(electricity.EEA_COLUMNS, electricity.read_eea),
    "electricity-maps": Format(electricity_maps.COLUMNS, electricity_maps.read),
    "egrid": Format(egrid.SHEET_COLUMNS, egrid.read),
    "egrid-summary": Format(egrid.SUMMARY_COLUMNS, egrid.read),
    "epa-hub": Format(epa_hub.COLUMNS, epa_hub.read),
}

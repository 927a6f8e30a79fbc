"""Read published tables of emission factors. Each format yields rows in the columns of our own CSV format, as text.

A blank figure was not published; it is never zero, so its line is skipped. So are lines without an emission factor.
"""

import csv
import re
from collections.abc import Callable, Collection, Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

from ..errors import ValidationFailed
from ..rest.fields import format_decimal

Row = dict[str, str]
KG_PER_POUND = Decimal("0.45359237")  # Exactly: International Yard and Pound Agreement, 1959.
PRECISION = Decimal("1e-12")
MAX_LINES_BEFORE_HEADER = 50  # Titles and notes of a table that was saved from a spreadsheet.
# ISO 3166 codes of the member states of the European Union, by their names in the tables.
EUROPEAN_UNION = {
    "Austria": "AT",
    "Belgium": "BE",
    "Bulgaria": "BG",
    "Croatia": "HR",
    "Cyprus": "CY",
    "Czechia": "CZ",
    "Denmark": "DK",
    "Estonia": "EE",
    "Finland": "FI",
    "France": "FR",
    "Germany": "DE",
    "Greece": "GR",
    "Hungary": "HU",
    "Ireland": "IE",
    "Italy": "IT",
    "Latvia": "LV",
    "Lithuania": "LT",
    "Luxembourg": "LU",
    "Malta": "MT",
    "Netherlands": "NL",
    "Poland": "PL",
    "Portugal": "PT",
    "Romania": "RO",
    "Slovakia": "SK",
    "Slovenia": "SI",
    "Spain": "ES",
    "Sweden": "SE",
}
GOVERNMENT_UNITS = {"tonnes": "t", "litres": "l", "cubic metres": "m3", "miles": "mile"}
_GOVERNMENT_FACTOR = r"GHG Conversion Factor ([0-9]{4})"
_LEVELS = ("Level 1", "Level 2", "Level 3", "Level 4", "Column Text")
# The columns of Our World in Data, or those of the European Environment Agency.
_INTENSITY = (
    "Entity|Member State:text",
    "Year|Year:year|Date:year",
    r"Carbon intensity of electricity.*|Greenhouse gas \(GHG\) emission intensity:number",
)
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,30})?([eE]-[0-9]{1,2})?")


def read_factors(path: Path, file_format: str) -> Iterator[tuple[int, Row | None]]:
    """Yield the number of each line and its row, or None for a skipped line. file_format: a key of FORMATS."""
    columns, convert = FORMATS[file_format]
    # Only our own format, which catalogue/factors/README.md describes, has no titles and notes before the header.
    for number, row in _read_table(path, columns, 0 if file_format == "own" else MAX_LINES_BEFORE_HEADER):
        yield number, convert(row)


def _uk_government(row: Row) -> Row | None:
    """Convert a line of the flat file of the UK government's conversion factors: the total factor of all gases.

    The levels form the name of the usage type. A factor is valid for the year in the name of its column.
    """
    column, year = next((name, match[1]) for name in row if (match := re.fullmatch(_GOVERNMENT_FACTOR, name)))
    if row[column] == "" or row["GHG/Unit"] != "kg CO2e":
        return None
    # kWh by gross and by net calorific value are two usage types.
    unit, _, calorific = row["UOM"].partition(" (")
    # The last level of electricity is the year.
    levels = [row[level] for level in _LEVELS if row[level] not in ("", year)]
    scope = row["Scope"].removeprefix("Scope ")
    return {
        "usage_type": ", ".join(levels) + (f" ({calorific}" if calorific else ""),
        "unit": GOVERNMENT_UNITS.get(unit, unit),
        "scope": scope if scope != "Outside of Scopes" else "",
        "region": "GB",
        "kg_co2e_per_unit": _scaled(row[column], Decimal(1)),
        "source": f"UK Government GHG Conversion Factors {year}",
        **_validity(year),
    }


def _eu_intensity(row: Row) -> Row | None:
    """Convert the grams of CO2 per kWh of electricity of a member state of the European Union in a year."""
    country, year, grams = (next(row[name] for name in row if re.fullmatch(column, name)) for column in _INTENSITY)
    if grams == "" or country not in EUROPEAN_UNION:
        return None
    return _grid(EUROPEAN_UNION[country], year, _scaled(grams, Decimal("1e-3")), "Electricity intensity")


def _egrid(row: Row) -> Row | None:
    """Convert SRC2ERTA, all gases in pounds per MWh, of a subregion of EPA's eGRID (sheet SRL, saved as CSV)."""
    if row["SRC2ERTA"] == "":
        return None
    factor = _scaled(row["SRC2ERTA"].replace(",", ""), KG_PER_POUND / 1000)
    return _grid(f"US-{row['SUBRGN']}", row["YEAR"], factor, "EPA eGRID")


# The required columns of each format, and the function that converts its lines to our own.
FORMATS: dict[str, tuple[Collection[str], Callable[[Row], Row | None]]] = {
    "own": (("usage_type", "unit", "valid_from", "kg_co2e_per_unit", "source"), lambda row: row),
    "uk-government": (("Scope", *_LEVELS, "UOM", "GHG/Unit", _GOVERNMENT_FACTOR), _uk_government),
    "eu-intensity": (_INTENSITY, _eu_intensity),
    "egrid": (("YEAR", "SUBRGN", "SRC2ERTA"), _egrid),
}


def _grid(region: str, year: str, factor: str, source: str) -> Row:
    """Return the factor of a region's grid in a year."""
    row = {"usage_type": "grid electricity", "unit": "kWh", "scope": "2", "region": region}
    return row | {"kg_co2e_per_unit": factor, "source": f"{source} {year}"} | _validity(year)


def _validity(year: str) -> Row:
    next_year = str(int(year) + 1) if re.fullmatch("[0-9]{4}", year) else year
    return {"valid_from": f"{year}-01-01", "valid_until": f"{next_year}-01-01"}


def _scaled(number: str, ratio: Decimal) -> str:
    """Return the number times the ratio, rounded once, half to even, to twelve decimals; other text unchanged."""
    if not _NUMBER.fullmatch(number):
        return number
    exact = Decimal(number) * ratio
    return format_decimal(exact if ratio == 1 else exact.quantize(PRECISION, ROUND_HALF_EVEN))


def _read_table(path: Path, required: Collection[str], max_lines_before_header: int) -> Iterator[tuple[int, Row]]:
    """Yield the lines below the header, which is the first line with all required columns.

    required: a regular expression for each column.
    Raise ValidationFailed for a file that is not CSV or has no header.
    """
    header: list[str] = []
    missing: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in (list(map(str.strip, line)) for line in reader):
                if header and any(cells):
                    if len(cells) != len(header):
                        message = f"The line has {len(cells)} cells, but the header has {len(header)}."
                        raise _file_error(path, reader.line_num, message, "has a line of another length")
                    yield reader.line_num, dict(zip(header, cells, strict=True))
                elif not header:
                    absent = [name for name in required if not any(re.fullmatch(name, cell) for cell in cells)]
                    header = [] if absent else cells
                    missing = min(missing or absent, absent, key=len)
                    if absent and reader.line_num > max_lines_before_header:
                        break
    except (UnicodeDecodeError, csv.Error) as error:
        raise _file_error(path, 1, f"{error}.", "is not a CSV file in UTF-8") from None
    if not header:
        names = ", ".join(sorted(name.replace("\\", "") for name in missing or required))
        raise _file_error(path, 1, "Header.", f"lacks the columns {names}")


def _file_error(path: Path, line: int, message: str, problem: str) -> ValidationFailed:
    return ValidationFailed(f"{path.name} {problem}. Nothing was imported.", {"file": {str(line): [message]}})

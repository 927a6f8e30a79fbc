"""The layouts of published tables of emission factors: each gives the lines of our own, as text by column.

A blank figure is not published, never zero: its line is passed over. So is a line of what is no factor of ours.
"""

import csv
import re
from collections.abc import Callable, Collection, Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

from ..errors import ValidationFailed
from ..rest.fields import format_decimal

Row = dict[str, str]
Line = tuple[int, Row | None]  # By its number in the file; None for one that is passed over.
KG_PER_POUND = Decimal("0.45359237")  # Exactly: International Yard and Pound Agreement, 1959.
FRACTION_DIGITS = Decimal("1e-12")
MOST_BEFORE_HEADER = 50  # Lines: titles and notes, where a table was saved from a spreadsheet.
# The member states of the European Union as the tables call them, by ISO 3166.
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
_GOVERNMENT_FIGURE = r"GHG Conversion Factor ([0-9]{4})"
_LEVELS = ("Level 1", "Level 2", "Level 3", "Level 4", "Column Text")
# As Our World in Data has them, or the European Environment Agency.
_INTENSITY = (
    "Entity|Member State:text",
    "Year|Year:year|Date:year",
    r"Carbon intensity of electricity.*|Greenhouse gas \(GHG\) emission intensity:number",
)
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,30})?([eE]-[0-9]{1,2})?")


def own(path: Path) -> Iterator[Line]:
    """Our own columns, as catalogue/factors/README.md has them."""
    required = ("usage_type", "unit", "valid_from", "kg_co2e_per_unit", "source")
    yield from _table(path, required, most_before=0)


def uk_government(path: Path) -> Iterator[Line]:
    """The flat file of the UK government's conversion factors, saved as CSV: its factors of all gases together.

    The usage type is named by the levels. A factor is valid for the year in the name of its column.
    """
    for number, row in _table(path, ("Scope", *_LEVELS, "UOM", "GHG/Unit", _GOVERNMENT_FIGURE)):
        name, year = next((name, match[1]) for name in row if (match := re.fullmatch(_GOVERNMENT_FIGURE, name)))
        if row[name] == "" or row["GHG/Unit"] != "kg CO2e":
            yield number, None
            continue
        # kWh by the gross and by the net calorific value are two usage types.
        unit, _, calorific = row["UOM"].partition(" (")
        # Of electricity, the last of them is the year.
        levels = [row[level] for level in _LEVELS if row[level] not in ("", year)]
        scope = row["Scope"].removeprefix("Scope ")
        yield (
            number,
            {
                "usage_type": ", ".join(levels) + (f" ({calorific}" if calorific else ""),
                "unit": GOVERNMENT_UNITS.get(unit, unit),
                "scope": scope if scope != "Outside of Scopes" else "",
                "region": "GB",
                "kg_co2e_per_unit": _scaled(row[name], Decimal(1)),
                "source": f"UK Government GHG Conversion Factors {year}",
                **_within(year),
            },
        )


def eu_intensity(path: Path) -> Iterator[Line]:
    """Grams of CO2 per kWh of electricity by country and year, as Our World in Data and the EEA publish them.

    Only member states of the European Union are read: others, and groups of states, are passed over.
    """
    for number, row in _table(path, _INTENSITY):
        country, year, grams = (next(row[name] for name in row if re.fullmatch(one, name)) for one in _INTENSITY)
        if grams == "" or country not in EUROPEAN_UNION:
            yield number, None
            continue
        yield number, _grid(EUROPEAN_UNION[country], year, _scaled(grams, Decimal("1e-3")), "Electricity intensity")


def egrid(path: Path) -> Iterator[Line]:
    """The subregions of EPA's eGRID, its sheet SRL saved as CSV: the rate of all gases, SRC2ERTA, in pounds per MWh."""
    for number, row in _table(path, ("YEAR", "SUBRGN", "SRC2ERTA")):
        if row["SRC2ERTA"] == "":
            yield number, None
            continue
        figure = _scaled(row["SRC2ERTA"].replace(",", ""), KG_PER_POUND / 1000)
        yield number, _grid(f"US-{row['SUBRGN']}", row["YEAR"], figure, "EPA eGRID")


FORMATS: dict[str, Callable[[Path], Iterator[Line]]] = {
    "own": own,
    "uk-government": uk_government,
    "eu-intensity": eu_intensity,
    "egrid": egrid,
}


def _grid(region: str, year: str, figure: str, source: str) -> Row:
    """The factor of a region's grid in a year."""
    row = {"usage_type": "grid electricity", "unit": "kWh", "scope": "2", "region": region}
    return row | {"kg_co2e_per_unit": figure, "source": f"{source} {year}"} | _within(year)


def _within(year: str) -> Row:
    following = str(int(year) + 1) if re.fullmatch("[0-9]{4}", year) else year
    return {"valid_from": f"{year}-01-01", "valid_until": f"{following}-01-01"}


def _scaled(figure: str, ratio: Decimal) -> str:
    """The figure times the ratio, rounded once, half to even, at the twelfth decimal; what is no figure, as it is."""
    if not _NUMBER.fullmatch(figure):
        return figure
    exact = Decimal(figure) * ratio
    return format_decimal(exact if ratio == 1 else exact.quantize(FRACTION_DIGITS, ROUND_HALF_EVEN))


def _table(path: Path, required: Collection[str], most_before: int = MOST_BEFORE_HEADER) -> Iterator[tuple[int, Row]]:
    """The lines below the header, which is the first line with the required columns; regular expressions name these.

    most_before: how many lines may stand before it. Raises Invalid where there is none, and for what is no CSV.
    """
    header: list[str] = []
    missing: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in (list(map(str.strip, line)) for line in reader):
                if header and any(cells):
                    if len(cells) != len(header):
                        told = f"{len(cells)} cells, where the header has {len(header)}."
                        raise _refused(path, reader.line_num, told, "has a line of another length")
                    yield reader.line_num, dict(zip(header, cells, strict=True))
                elif not header:
                    lacking = [name for name in required if not any(re.fullmatch(name, cell) for cell in cells)]
                    header = [] if lacking else cells
                    missing = min(missing or lacking, lacking, key=len)
                    if lacking and reader.line_num > most_before:
                        break
    except (UnicodeDecodeError, csv.Error) as error:
        raise _refused(path, 1, f"{error}.", "is no CSV file in UTF-8") from None
    if not header:
        names = ", ".join(sorted(name.replace("\\", "") for name in missing or required))
        raise _refused(path, 1, "Header.", f"lacks the columns {names}")


def _refused(path: Path, line: int, told: str, what: str) -> ValidationFailed:
    return ValidationFailed(f"{path.name} {what}. Nothing was booked.", {"file": {str(line): [told]}})

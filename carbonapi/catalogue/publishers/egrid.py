"""EPA's eGRID: the emission rates of the subregions and states of the US, in pounds per MWh."""

import re
from decimal import Decimal

from ..gwp import co2e_of_gases
from ..models import GWP_SETS
from ..published_table import NO_FIGURE, Edition, PublishedTable, Reading
from ..tables import file_error
from .electricity import grid

KG_PER_POUND = Decimal("0.45359237")  # Exactly: International Yard and Pound Agreement, 1959.
RATIO = KG_PER_POUND / 1000
URL = "https://www.epa.gov/egrid"
# The sheets of subregions and of states, and the tables of the summary.
TOTAL = ("SRC2ERTA", "STC2ERTA", "CO2e")
REGION = ("SUBRGN", "PSTATABB", "eGRID subregion acronym", "State")
SHEET_COLUMNS = ("SUBRGN|PSTATABB", "SRC2ERTA|STC2ERTA")
SUMMARY_COLUMNS = ("eGRID subregion acronym|State", "CO2", "CH4", "N2O", "CO2e")
GASES = {
    "co2_kg": ("SRCO2RTA", "STCO2RTA", "CO2"),
    "ch4_kg": ("SRCH4RTA", "STCH4RTA", "CH4"),
    "n2o_kg": ("SRN2ORTA", "STN2ORTA", "N2O"),
}
# Rates of CH4 and N2O are per GWh in older tables. Then their sum is far from the total, and they are not read.
TOLERANCE = Decimal("0.003")


def read(table: PublishedTable) -> tuple[Edition, list[Reading]]:
    """Return the factors of the regions of a sheet, or of a table of the summary."""
    total, region = table.column(*TOTAL), table.column(*REGION)
    gas_columns = {gas: table.find_column(*names) for gas, names in GASES.items()}
    has_gases = None not in gas_columns.values()
    year_column = table.find_column("YEAR|Data Year")
    stated_year = _year_of_titles(table) if year_column is None else None
    readings: list[Reading] = []
    for line in table.lines:
        factor = table.figure(line, total, RATIO)
        if factor is None or not re.fullmatch("[A-Z]{2,4}", line.cells[region]):
            readings.append((line, NO_FIGURE if factor is None else "It is no subregion and no state."))
            continue
        year = stated_year or line.cells[year_column or 0]
        row = grid(table, line, f"US-{line.cells[region]}", year, factor, f"EPA eGRID {year}")
        if has_gases:
            masses = {gas: table.figure(line, column, RATIO) for gas, column in gas_columns.items()}
            row |= masses if None not in masses.values() else {}
        readings.append((line, row))
    gwp_set = _settle_gases([row for _, row in readings if not isinstance(row, str)], table.options.gwp)
    years = {row["valid_from"][:4] for _, row in readings if not isinstance(row, str)}
    # A revision is published with the same year.
    return Edition("US EPA eGRID", max(years, default=""), gwp_set, "Public domain", URL), readings


def _settle_gases(rows: list[dict[str, object]], stated: str | None) -> str | None:
    """Return the set of potentials with which the gases add up to the totals best. Drop gases that do not."""
    with_gases = [row for row in rows if "ch4_kg" in row]
    if not with_gases:
        return stated
    errors = {name: sum(map(abs, (_difference(row, name) for row in with_gases))) for name in GWP_SETS}
    best = stated or min(errors, key=lambda name: errors[name])
    for row in with_gases:
        if abs(_difference(row, best)) > TOLERANCE * Decimal(str(row["kg_co2e_per_unit"])):
            for gas in GASES:
                del row[gas]
    return best


def _difference(row: dict[str, object], gwp_set: str) -> Decimal:
    co2, ch4, n2o = (Decimal(str(row[gas])) for gas in GASES)
    return co2e_of_gases(co2, ch4, n2o, None, gwp_set) - Decimal(str(row["kg_co2e_per_unit"]))


def _year_of_titles(table: PublishedTable) -> str:
    """Return the year of the first title that has one, such as eGRID2023."""
    if table.options.year is not None:
        return str(table.options.year)
    for text in [*(cell for cells in table.titles for cell in cells), table.sheet or ""]:
        if match := re.search(r"eGRID ?(20[0-9]{2})", text, re.IGNORECASE):
            return match[1]
    message = "Set `year` to the year of the data."
    raise file_error(table.name, 1, message, "does not state the year of its factors")

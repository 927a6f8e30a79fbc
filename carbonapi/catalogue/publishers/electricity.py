"""The carbon intensity of electricity by country and year: Our World in Data, Ember and the EEA, in g CO2e per kWh."""

import re
from decimal import Decimal

from ..published_table import NO_FIGURE, Edition, PublishedTable, Reading, Row, validity
from ..tables import Line
from .countries import ALPHA_2, EUROPEAN_COUNTRIES

PER_GRAM = Decimal("1e-3")
UNKNOWN_REGION = "It is no country."
LIFE_CYCLE = "Life cycle: includes the emissions upstream of generation. Do not add well-to-tank factors."

OWID_INTENSITY = (
    r"(Lifecycle )?Carbon intensity of electricity.*",
    r"carbon_intensity_elec",
)
OWID_COLUMNS = (r"Entity|country", r"Year", "|".join(OWID_INTENSITY))
EMBER_COLUMNS = ("Area", "ISO 3 code|Country code", "Year", "Variable", "Unit", "Value")
EEA_INTENSITY = r"Greenhouse gas \(GHG\) emission intensity(:number)?.*"
EEA_COLUMNS = (r"Member State:text|Country:text|Country", r"Year:year|Date:year|Year", EEA_INTENSITY)


def grid(table: PublishedTable, line: Line, region: str, year: str, factor: Decimal, source: str) -> Row:
    """Return the factor of a region's grid in a year."""
    return {
        "usage_type": "grid electricity",
        "unit": "kWh",
        "scope": 2,
        "category": "purchased_electricity",
        "region": region,
        "kg_co2e_per_unit": factor,
        "source": source,
        "citation": table.cite(line),
        **validity(year),
    }


def read_owid(table: PublishedTable) -> tuple[Edition, list[Reading]]:
    """Read the table of Our World in Data, whose column has had several names."""
    entity, year, intensity = (table.column(name) for name in (*OWID_COLUMNS[:2], OWID_COLUMNS[2]))
    code = table.find_column("Code|iso_code")
    note = LIFE_CYCLE if table.header[intensity].casefold().startswith("life") else None
    readings: list[Reading] = []
    for line in table.lines:
        region = ALPHA_2.get(line.cells[code]) if code is not None else EUROPEAN_COUNTRIES.get(line.cells[entity])
        factor = table.figure(line, intensity, PER_GRAM)
        if region is None or factor is None:
            readings.append((line, UNKNOWN_REGION if region is None else NO_FIGURE))
            continue
        source = f"Our World in Data, carbon intensity of electricity {line.cells[year]}"
        readings.append((line, grid(table, line, region, line.cells[year], factor, source) | {"note": note}))
    url = "https://ourworldindata.org/grapher/carbon-intensity-electricity"
    return Edition("Our World in Data", _last_year(readings), None, "CC BY 4.0", url, note), readings


def read_ember(table: PublishedTable) -> tuple[Edition, list[Reading]]:
    """Read the variable CO2 intensity of Ember's yearly data in the long format."""
    code, year, variable, unit, value = (table.column(name) for name in EMBER_COLUMNS[1:])
    readings: list[Reading] = []
    for line in table.lines:
        if line.cells[variable].casefold() != "co2 intensity" or not line.cells[unit].casefold().startswith("gco2"):
            readings.append((line, "It is another variable."))
            continue
        region, factor = ALPHA_2.get(line.cells[code]), table.figure(line, value, PER_GRAM)
        if region is None or factor is None:
            readings.append((line, UNKNOWN_REGION if region is None else NO_FIGURE))
            continue
        source = f"Ember, yearly electricity data {line.cells[year]}"
        readings.append((line, grid(table, line, region, line.cells[year], factor, source) | {"note": LIFE_CYCLE}))
    url = "https://ember-energy.org/data/yearly-electricity-data/"
    return Edition("Ember", _last_year(readings), None, "CC BY 4.0", url, LIFE_CYCLE), readings


def read_eea(table: PublishedTable) -> tuple[Edition, list[Reading]]:
    """Read the table of the European Environment Agency, which has names of countries but no codes."""
    country, year, intensity = (table.column(name) for name in EEA_COLUMNS)
    readings: list[Reading] = []
    for line in table.lines:
        region = EUROPEAN_COUNTRIES.get(line.cells[country])
        factor = table.figure(line, intensity, PER_GRAM)
        if region is None or factor is None:
            readings.append((line, UNKNOWN_REGION if region is None else NO_FIGURE))
            continue
        source = f"European Environment Agency, emission intensity of electricity {line.cells[year]}"
        readings.append((line, grid(table, line, region, line.cells[year], factor, source)))
    url = "https://www.eea.europa.eu/en/analysis/indicators/greenhouse-gas-emission-intensity-of-1"
    return Edition("European Environment Agency", _last_year(readings), None, "CC BY 4.0", url), readings


def _last_year(readings: list[Reading]) -> str:
    """Return the edition of a table that does not state it: the last year of its factors."""
    years = [row["valid_from"][:4] for _, row in readings if not isinstance(row, str)]
    return max((year for year in years if re.fullmatch("[0-9]{4}", year)), default="")

"""EPA's Emission Factors Hub, table 1: stationary combustion of fuels, with the mass of each gas per mmBtu."""

import re
from decimal import Decimal

from ..figures import to_factor
from ..gwp import co2e_of_gases
from ..published_table import NO_FIGURE, Edition, PublishedTable, Reading, validity

PER_GRAM = Decimal("1e-3")
URL = "https://www.epa.gov/climateleadership/ghg-emission-factors-hub"
COLUMNS = ("Fuel Type", r"kg CO2 per mmBtu.*", r"g CH4 per mmBtu.*", r"g N2O per mmBtu.*")
FIRST_YEAR_OF_AR5 = 2024


def read(table: PublishedTable) -> tuple[Edition, list[Reading]]:
    """Return the factor of each fuel per MMBtu. The CO2 of biomass is not in it."""
    year = table.require_year()
    gwp_set = table.options.gwp or ("AR5" if int(year) >= FIRST_YEAR_OF_AR5 else "AR4")
    fuel, co2, ch4, n2o = (table.column(name) for name in COLUMNS)
    readings: list[Reading] = []
    is_biomass = False
    for line in table.lines:
        name = line.cells[fuel]
        others = [cell for index, cell in enumerate(line.cells) if index != fuel and cell]
        if name and not others:  # A heading, such as Biomass Fuels - Solid.
            is_biomass = "biomass" in name.casefold()
            readings.append((line, NO_FIGURE))
            continue
        masses = table.figure(line, co2), table.figure(line, ch4, PER_GRAM), table.figure(line, n2o, PER_GRAM)
        if masses[0] is None or not name:
            readings.append((line, NO_FIGURE))
            continue
        fossil_co2 = Decimal(0) if is_biomass else masses[0]
        row = {
            "usage_type": re.sub(r"\s+", " ", name),
            "unit": "MMBtu",
            "scope": 1,
            "category": "stationary_combustion",
            "region": "US",
            "kg_co2e_per_unit": to_factor(co2e_of_gases(fossil_co2, masses[1], masses[2], None, gwp_set)),
            "co2_kg": fossil_co2,
            "ch4_kg": masses[1],
            "n2o_kg": masses[2],
            "biogenic_co2_kg": masses[0] if is_biomass else None,
            "source": f"EPA Emission Factors Hub {year}",
            "citation": table.cite(line),
            **validity(year),
        }
        readings.append((line, row))
    return Edition("US EPA Emission Factors Hub", year, gwp_set, "Public domain", URL), readings

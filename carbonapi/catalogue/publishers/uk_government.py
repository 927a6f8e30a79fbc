"""The flat file of the UK government's conversion factors, of any year, as XLSX or CSV.

A line "kg CO2e" has the factor. The lines "kg CO2e of CH4 per unit" and so on have the parts of its gases. They are kg
CO2e, so the masses are these divided by the global warming potentials with which they were calculated.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from ..figures import to_factor
from ..gwp import FOSSIL_METHANE, NITROUS_OXIDE, gwp
from ..models import GWP_SETS, SCOPES
from ..published_table import NO_FIGURE, Edition, PublishedTable, Reading, Row, validity
from ..tables import Line

PUBLISHER = "UK Government"
LICENCE = "Open Government Licence v3.0"
URL = "https://www.gov.uk/government/collections/government-conversion-factors-for-company-reporting"
FACTOR = r"GHG Conversion Factor ([0-9]{4})"
LEVELS = ("Level 1", "Level 2", "Level 3", "Level 4")
GAS = r"GHG(/Unit)?"
COLUMNS = ("Scope", *LEVELS, "UOM", GAS, FACTOR)
UNITS = {"tonnes": "t", "litres": "l", "cubic metres": "m3", "miles": "mile"}
TOTAL = "kg co2e"
# "kg CO2e of CH4 per unit", before 2023 "kg CO2e of CH4", and before 2022 "kg CH4": always kg CO2e, as the sums show.
PART = re.compile(r"kg (?:co2e of )?(co2|ch4|n2o)(?: per unit)?")
# Texts of the last level that only repeat the unit.
UNITS_IN_WORDS = {"energy - gross cv", "energy - net cv", "tonnes", "volume"}
FIRST_YEAR_OF_AR5 = 2023
# Level 1 without spaces and hyphens, and the category of the GHG Protocol.
CATEGORIES = {
    "fuels": "stationary_combustion",
    "bioenergy": "stationary_combustion",
    "passengervehicles": "mobile_combustion",
    "deliveryvehicles": "mobile_combustion",
    "ukelectricity": "purchased_electricity",
    "ukelectricityforevs": "purchased_electricity",
    "overseaselectricity": "purchased_electricity",
    "heatandsteam": "purchased_heat_steam_cooling",
    "transmissionanddistribution": "fuel_and_energy_related",
    "ukelectricityt&dforevs": "fuel_and_energy_related",
    "watersupply": "purchased_goods_and_services",
    "materialuse": "purchased_goods_and_services",
    "watertreatment": "waste",
    "wastedisposal": "waste",
    "hotelstay": "business_travel",
    "homeworking": "employee_commuting",
    "freightinggoods": "upstream_transport",
}
CATEGORIES_BY_PREFIX = {
    "refrigerant": "fugitive_emissions",
    "wtt": "fuel_and_energy_related",
    "businesstravel": "business_travel",
    "managedassets": "upstream_leased_assets",
}
# These families still stand on AR4 in tables that otherwise have AR5.
AR4_FAMILIES = {"materialuse", "wttbioenergy"}
PURE_GASES = {"carbon dioxide": "co2_kg", "methane": "ch4_kg", "nitrous oxide": "n2o_kg"}


@dataclass
class _Activity:
    """The lines of one activity and unit: its total, and its gases, each with its line."""

    scope: str
    levels: list[str]
    unit: str
    total: tuple[Line, Decimal] | None = None
    gases: dict[str, tuple[Line, Decimal]] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """Level 1, whose spelling differs between the years."""
        return re.sub(r"[\s-]", "", self.levels[0]).casefold() if self.levels else ""

    @property
    def is_outside(self) -> bool:
        return "outside" in self.scope.casefold()


def read(table: PublishedTable) -> tuple[Edition, list[Reading]]:
    """Return the activities that have a factor, and the lines that were skipped."""
    year = _year(table)
    activities, readings = _activities(table)
    by_year = "AR5" if int(year) >= FIRST_YEAR_OF_AR5 else "AR4"
    gwp_set = table.options.gwp or _gwp_of_methane(activities) or by_year
    identifier = table.find_column("ID")
    for activity in activities:
        row = _row(activity, year, gwp_set)
        if row is not None:
            line, fields = row
            identity = "" if identifier is None else f"ID {line.cells[identifier]}"
            readings.append((line, fields | {"citation": table.cite(line, identity)}))
    return Edition(PUBLISHER, year + _version(table), gwp_set, LICENCE, URL), readings


def _version(table: PublishedTable) -> str:
    """Return the version that the first page of the workbook states: ` v1.1`."""
    for cells in table.titles:
        for cell, version in pairwise(cells):
            if re.fullmatch("version:?", cell, re.IGNORECASE) and re.fullmatch(r"[0-9.]{1,8}", version):
                return f" v{version}" if "." in version else f" v{version}.0"
    return ""


def _year(table: PublishedTable) -> str:
    match = re.fullmatch(FACTOR, table.header[table.column(FACTOR)], re.IGNORECASE)
    assert match
    return match[1]


def _activities(table: PublishedTable) -> tuple[list[_Activity], list[Reading]]:
    """Collect the lines of each activity. Return also the lines that have no part in a factor."""
    scope, unit, gas, figure = (table.column(name) for name in ("Scope", "UOM", GAS, FACTOR))
    levels = [*(table.column(level) for level in LEVELS), table.find_column("Column Text")]
    activities: dict[tuple[str, ...], _Activity] = {}
    skipped: list[Reading] = []
    for line in table.lines:
        kind = line.cells[gas].casefold()
        part = PART.fullmatch(kind)
        if not line.cells[unit] or (kind != TOTAL and not part):
            skipped.append((line, "It is no greenhouse gas." if line.cells[unit] else "It has no unit."))
            continue
        value = table.figure(line, figure)
        if value is None:
            skipped.append((line, NO_FIGURE))
            continue
        # The last level of electricity is a year, or repeats the unit.
        texts = [line.cells[level] for level in levels if level is not None]
        names = [text for text in texts if text not in ("", line.cells[unit]) and not _repeats(text)]
        key = (line.cells[scope], *texts, line.cells[unit])
        activity = activities.setdefault(key, _Activity(line.cells[scope], names, line.cells[unit]))
        if part:
            activity.gases[f"{part[1]}_kg"] = line, value
        else:
            activity.total = line, value
    return list(activities.values()), skipped


def _repeats(text: str) -> bool:
    return text.casefold() in UNITS_IN_WORDS or re.fullmatch("[0-9]{4}", text) is not None


def _row(activity: _Activity, year: str, gwp_set: str) -> tuple[Line, Row] | None:
    """Return the emission factor of an activity. The published total is the factor, whatever its gases add up to."""
    total = activity.total
    if total is None and activity.is_outside:
        total = activity.gases.get("co2_kg")
    if total is None:
        return None
    line, factor = total
    # kWh by gross and by net calorific value are two usage types.
    unit, _, calorific = activity.unit.partition(" (")
    scope = activity.scope.casefold().removeprefix("scope ")
    category = _category(activity.family)
    in_scope = scope in ("1", "2", "3")
    own_set = "AR4" if activity.family in AR4_FAMILIES else gwp_set
    return line, {
        "usage_type": ", ".join(activity.levels) + (f" ({calorific}" if calorific else ""),
        "unit": UNITS.get(unit, unit),
        "scope": int(scope) if in_scope else None,
        "category": category if category and in_scope and SCOPES[category] == int(scope) else None,
        "outside_of_scopes": activity.is_outside,
        "region": "GB",
        "kg_co2e_per_unit": factor,
        "gwp": own_set if own_set != gwp_set else None,
        "source": f"UK Government GHG Conversion Factors {year}",
        **_masses(activity, factor, own_set),
        **validity(year),
    }


def _masses(activity: _Activity, factor: Decimal, gwp_set: str) -> Row:
    """Return the kg of each gas per unit."""
    parts = {gas: value for gas, (_, value) in activity.gases.items()}
    if activity.is_outside:
        return {"biogenic_co2_kg": parts["co2_kg"]} if "co2_kg" in parts else {}
    if activity.family.startswith("refrigerant"):
        gas = PURE_GASES.get(activity.levels[2].casefold()) if len(activity.levels) > 2 else None
        return {gas: Decimal(1) if factor else Decimal(0)} if gas else {"other_co2e_kg": factor}
    weights = {"co2_kg": Decimal(1), "ch4_kg": gwp(FOSSIL_METHANE, gwp_set), "n2o_kg": gwp(NITROUS_OXIDE, gwp_set)}
    return {gas: to_factor(value / weights[gas]) for gas, value in parts.items()}


def _category(family: str) -> str | None:
    prefix = next((category for start, category in CATEGORIES_BY_PREFIX.items() if family.startswith(start)), None)
    return prefix or CATEGORIES.get(family)


def _gwp_of_methane(activities: list[_Activity]) -> str | None:
    """Return the set whose value is that of a kg of methane in the table."""
    for activity in activities:
        if activity.total and activity.unit == "kg" and "Methane" in activity.levels[2:3]:
            return next((name for name in GWP_SETS if gwp(FOSSIL_METHANE, name) == activity.total[1]), None)
    return None

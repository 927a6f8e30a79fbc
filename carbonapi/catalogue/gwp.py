"""Global warming potentials over 100 years, by gas and assessment report of the IPCC: AR4, AR5 and AR6.

The values and their sources are in factors/global-warming-potentials.csv and factors/README.md.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from ..errors import NotFound
from .models import GWP_SETS

TABLE = Path(__file__).parent / "factors/global-warming-potentials.csv"
FOSSIL_METHANE, BIOGENIC_METHANE, NITROUS_OXIDE = "CH4 (fossil)", "CH4 (biogenic)", "N2O"
# Mass fractions in percent, by ASHRAE Standard 34.
BLENDS = {
    "R404A": {"HFC125": 44, "HFC134a": 4, "HFC143a": 52},
    "R407A": {"HFC32": 20, "HFC125": 40, "HFC134a": 40},
    "R407B": {"HFC32": 10, "HFC125": 70, "HFC134a": 20},
    "R407C": {"HFC32": 23, "HFC125": 25, "HFC134a": 52},
    "R407F": {"HFC32": 30, "HFC125": 30, "HFC134a": 40},
    "R410A": {"HFC32": 50, "HFC125": 50},
    "R410B": {"HFC32": 45, "HFC125": 55},
    "R507A": {"HFC125": 50, "HFC143a": 50},
}


SOURCES = {
    "AR4": "IPCC, Fourth Assessment Report (2007), as listed by the GHG Protocol.",
    "AR5": "IPCC, Fifth Assessment Report (2013), without climate-carbon feedbacks, as listed by the GHG Protocol.",
    "AR6": "IPCC, Sixth Assessment Report (2021), working group I, chapter 7, tables 7.15 and 7.SM.7.",
}


@dataclass(frozen=True)
class GwpSet:
    """The global warming potentials of a report, by gas or blend."""

    name: str
    source: str
    gases: Mapping[str, Decimal]


def gwp_sets() -> list[GwpSet]:
    """Return all sets with all gases and blends."""
    return [
        GwpSet(
            name,
            SOURCES[name],
            {gas: values[name] for gas, values in potentials().items() if name in values}
            | {blend: gwp(blend, name) for blend in BLENDS},
        )
        for name in GWP_SETS
    ]


def gwp(gas: str, gwp_set: str) -> Decimal:
    """Return the kg CO2e of one kg of a gas or blend. Spaces and hyphens do not count: HFC-32, R-410A.

    `CH4` is the value of the report. `CH4 (fossil)` and `CH4 (biogenic)` differ in AR6 only.
    Raise NotFound for an unknown gas, and for one without a value in this set.
    """
    key = _key(gas)
    if key in _blends():
        parts = _blends()[key].items()
        return sum((gwp(part, gwp_set) * percent for part, percent in parts), Decimal(0)) / 100
    value = potentials().get(_names().get(key, ""), {}).get(gwp_set)
    if value is None:
        raise NotFound(f"There is no global warming potential of {gas} in {gwp_set}.")
    return value


def gwp_weights(gwp_set: str) -> dict[str, Decimal]:
    """Return the kg CO2e per kg of each column of gases of an emission factor.

    `ch4_kg` counts as fossil. `biogenic_co2_kg` is missing, because no total contains it.
    """
    return {
        "co2_kg": Decimal(1),
        "ch4_kg": gwp(FOSSIL_METHANE, gwp_set),
        "n2o_kg": gwp(NITROUS_OXIDE, gwp_set),
        "other_co2e_kg": Decimal(1),
    }


def co2e_of_gases(
    co2_kg: Decimal | None,
    ch4_kg: Decimal | None,
    n2o_kg: Decimal | None,
    other_co2e_kg: Decimal | None,
    gwp_set: str,
) -> Decimal:
    """Return the kg CO2e of these masses. A gas that was not published adds nothing."""
    masses = {"co2_kg": co2_kg, "ch4_kg": ch4_kg, "n2o_kg": n2o_kg, "other_co2e_kg": other_co2e_kg}
    weights = gwp_weights(gwp_set)
    return sum(((mass or 0) * weights[name] for name, mass in masses.items()), Decimal(0))


@cache
def potentials() -> Mapping[str, Mapping[str, Decimal]]:
    """Return the values of each gas by set. A gas can lack a value in some sets."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {
            row["gas"]: {name: Decimal(row[name]) for name in GWP_SETS if row[name]} for row in csv.DictReader(file)
        }


@cache
def _names() -> Mapping[str, str]:
    """Return the name of each gas by its key. `R` is the common prefix of refrigerants: R134a is HFC134a."""
    names = {_key(gas): gas for gas in potentials()}
    refrigerants = {"r" + key.removeprefix("hfc"): gas for key, gas in names.items() if key.startswith("hfc")}
    return refrigerants | names


@cache
def _blends() -> Mapping[str, Mapping[str, int]]:
    return {_key(blend): parts for blend, parts in BLENDS.items()}


def _key(gas: str) -> str:
    return re.sub(r"[\s-]", "", gas).casefold()

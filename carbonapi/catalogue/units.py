"""Units of one dimension, and the exact ratio between any two of them.

The ratios are Pint's, which reads every definition as a fraction here: 1 MWh is 1000 kWh, 1 MJ is 5/18 kWh. A therm is
the US one (100,000 Btu at 59 °F), a gallon the US one, a ton without a word before it metric.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache

import pint

from ..errors import ValidationFailed

# As a unit is written here, and its name in Pint's registry. Others than these are known by their own name alone.
UNITS = {
    "Wh": "watt_hour",
    "kWh": "kilowatt_hour",
    "MWh": "megawatt_hour",
    "GWh": "gigawatt_hour",
    "kJ": "kilojoule",
    "MJ": "megajoule",
    "GJ": "gigajoule",
    "TJ": "terajoule",
    "therm": "US_therm",
    "MMBtu": "1000000 * Btu_it",
    "ml": "milliliter",
    "l": "liter",
    "m3": "meter ** 3",
    "ft3": "foot ** 3",
    "gallon": "gallon",
    "imperial gallon": "imperial_gallon",
    "g": "gram",
    "kg": "kilogram",
    "t": "metric_ton",
    "lb": "pound",
    "short ton": "short_ton",
    "long ton": "long_ton",
    "m": "meter",
    "km": "kilometer",
    "mile": "mile",
}
# People write kwh, KWH and kWh; no two units here differ by their capitals alone.
_BY_FOLDED_NAME = {name.casefold(): name for name in UNITS} | {"litre": "l", "liter": "l", "tonne": "t", "m³": "m3"}
MAX_AMOUNT = 10**18  # Of a type's own unit; not included.
# An amount in the unit of its type keeps so many digits after the decimal point.
FRACTION_DIGITS = 12


@dataclass(frozen=True)
class Unit:
    """A unit in which amounts of some type can be given: one of it is `ratio` of the type's own."""

    unit: str
    ratio: Fraction

    @property
    def numerator(self) -> int:
        return self.ratio.numerator

    @property
    def denominator(self) -> int:
        return self.ratio.denominator

    def convert(self, amount: Decimal) -> Decimal:
        """The amount in the type's own unit, rounded half to even at the twelfth digit after the point.

        Raises Invalid for more than the ledger can hold.
        """
        scaled = round(Fraction(amount) * self.ratio * 10**FRACTION_DIGITS)
        if abs(scaled) >= MAX_AMOUNT * 10**FRACTION_DIGITS:
            raise ValidationFailed(f"So many {self.unit} are too many in the usage type's own unit.", field="amount")
        return Decimal((0 if scaled >= 0 else 1, tuple(map(int, str(abs(scaled)))), -FRACTION_DIGITS))


def find_unit(unit: str, type_unit: str) -> Unit:
    """The unit of this name, as amounts of a type in `type_unit` can be given in it.

    Raises Invalid that lists what can be used, for another dimension and for a unit that is not known.
    """
    if unit == type_unit:
        return Unit(type_unit, Fraction(1))
    name, type_name = (_BY_FOLDED_NAME.get(text.casefold()) for text in (unit, type_unit))
    if name and type_name and _dimension(name) == _dimension(type_name):
        # `kwh` and `kWh` are one unit: it is called as the type calls it.
        return Unit(type_unit if name == type_name else name, _size(name) / _size(type_name))
    known = ", ".join(known.unit for known in compatible_units(type_unit))
    raise ValidationFailed(f"{unit} cannot be converted into {type_unit}. What can be used: {known}.", field="unit")


def compatible_units(type_unit: str) -> list[Unit]:
    """Every unit in which amounts of a type in `type_unit` can be given, its own first."""
    own = _BY_FOLDED_NAME.get(type_unit.casefold())
    others = [name for name in UNITS if own and name != own and _dimension(name) == _dimension(own)]
    return [Unit(type_unit, Fraction(1)), *(find_unit(name, type_unit) for name in others)]


@cache
def _registry() -> pint.UnitRegistry:  # type: ignore[type-arg]
    return pint.UnitRegistry(non_int_type=Fraction)


@cache
def _dimension(name: str) -> frozenset[tuple[str, object]]:
    return frozenset(_registry().parse_expression(UNITS[name]).dimensionality.items())


@cache
def _size(name: str) -> Fraction:
    """How many of Pint's base units one of this is."""
    return Fraction(_registry().parse_expression(UNITS[name]).to_base_units().magnitude)

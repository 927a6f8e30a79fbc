"""Units, and the exact ratio between two units of one dimension.

Pint computes the ratios as fractions: 1 MWh is 1000 kWh, 1 MJ is 5/18 kWh. `therm` is the US therm (100,000 Btu at
59 °F) and `gallon` the US gallon.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

from ..errors import ValidationFailed

# Names of the units in the API, and in Pint's registry. Any other unit can only be used by types in that unit.
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
# Lookups ignore case: people write kwh, KWH and kWh, and no two units differ only by case.
_BY_FOLDED_NAME = {name.casefold(): name for name in UNITS} | {"litre": "l", "liter": "l", "tonne": "t", "m³": "m3"}
MAX_AMOUNT = 10**18  # In the usage type's unit, exclusive.
FRACTION_DIGITS = 12  # Of an amount in the usage type's unit.


@dataclass(frozen=True)
class Unit:
    """A unit for amounts of a usage type. One of it is `ratio` of the type's unit."""

    unit: str
    ratio: Fraction

    @property
    def numerator(self) -> int:
        return self.ratio.numerator

    @property
    def denominator(self) -> int:
        return self.ratio.denominator

    def convert(self, amount: Decimal) -> Decimal:
        """Return the amount in the type's unit, rounded half to even to FRACTION_DIGITS.

        Raise ValidationFailed for an amount that is too large.
        """
        scaled = round(Fraction(amount) * self.ratio * 10**FRACTION_DIGITS)
        if abs(scaled) >= MAX_AMOUNT * 10**FRACTION_DIGITS:
            raise ValidationFailed("Amount is too large: 10^18 or more in the usage type's unit.", field="amount")
        return Decimal((0 if scaled >= 0 else 1, tuple(map(int, str(abs(scaled)))), -FRACTION_DIGITS))


def find_unit(unit: str, type_unit: str) -> Unit:
    """Return the unit with this name for amounts of a usage type in `type_unit`.

    Raise ValidationFailed that lists the compatible units for an unknown unit and one of another dimension.
    """
    if unit == type_unit:
        return Unit(type_unit, Fraction(1))
    name, type_name = (_BY_FOLDED_NAME.get(text.casefold()) for text in (unit, type_unit))
    if name and type_name and _dimension(name) == _dimension(type_name):
        # `kwh` and `kWh` are one unit. Use the type's spelling.
        return Unit(type_unit if name == type_name else name, _size(name) / _size(type_name))
    known = ", ".join(compatible.unit for compatible in compatible_units(type_unit))
    raise ValidationFailed(f"{unit} cannot be converted into {type_unit}. Use one of: {known}.", field="unit")


def compatible_units(type_unit: str) -> list[Unit]:
    """Return every unit for amounts of a usage type in `type_unit`, its own first."""
    own = _BY_FOLDED_NAME.get(type_unit.casefold())
    others = [name for name in UNITS if own and name != own and _dimension(name) == _dimension(own)]
    return [Unit(type_unit, Fraction(1)), *(find_unit(name, type_unit) for name in others)]


@cache
def _registry() -> Any:
    # Imported here, because its import takes longer than that of any other package.
    import pint

    return pint.UnitRegistry(non_int_type=Fraction)


@cache
def _dimension(name: str) -> frozenset[tuple[str, object]]:
    return frozenset(_registry().parse_expression(UNITS[name]).dimensionality.items())


@cache
def _size(name: str) -> Fraction:
    """Return the size of a unit in Pint's base units."""
    return Fraction(_registry().parse_expression(UNITS[name]).to_base_units().magnitude)

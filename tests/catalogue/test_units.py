"""Units: exact ratios, and errors of conversions."""

from decimal import Decimal
from fractions import Fraction

import pytest

from carbonapi.catalogue.units import UNITS, compatible_units, find_unit
from carbonapi.errors import ValidationFailed


@pytest.mark.parametrize(
    ("unit", "type_unit", "ratio"),
    [
        # 1 kWh is 3.6 MJ by definition (SI brochure, 9th edition, table 8).
        ("MWh", "kwh", Fraction(1000)),
        ("kWh", "kwh", Fraction(1)),
        ("GJ", "kWh", Fraction(2500, 9)),
        ("MJ", "kWh", Fraction(5, 18)),
        # NIST SP 811, appendix B.8: therm (U.S.) 1.054 804 E+08 J; gallon 3.785 411 784 L; lb 0.453 592 37 kg.
        ("therm", "MJ", Fraction(1054804, 10000)),
        ("gallon", "l", Fraction("3.785411784")),
        ("imperial gallon", "l", Fraction("4.54609")),
        ("ft3", "m3", Fraction("0.028316846592")),
        ("m3", "l", Fraction(1000)),
        ("lb", "kg", Fraction("0.45359237")),
        ("short ton", "kg", Fraction("907.18474")),
        ("t", "kg", Fraction(1000)),
        ("tonne", "kg", Fraction(1000)),
        ("mile", "km", Fraction("1.609344")),
    ],
)
def test_unit_ratios_are_exact(unit, type_unit, ratio):
    assert find_unit(unit, type_unit).ratio == ratio


def test_amount_is_rounded_once_half_to_even():
    third = find_unit("MJ", "kWh")
    assert third.convert(Decimal("1")) == Decimal("0.277777777778")
    assert third.convert(Decimal("3.6")) == 1
    assert third.convert(Decimal("999999999999.999999")) == Decimal("277777777777.777777500000")
    assert find_unit("Wh", "GWh").convert(Decimal("0.0005")) == 0
    assert find_unit("Wh", "GWh").convert(Decimal("0.0015")) == Decimal("0.000000000002")


def test_amount_above_the_maximum_is_rejected():
    with pytest.raises(ValidationFailed) as error:
        find_unit("GWh", "Wh").convert(Decimal("999999999999"))
    assert list(error.value.errors["json"]) == ["amount"]


def test_unit_error_lists_compatible_units():
    with pytest.raises(ValidationFailed) as error:
        find_unit("kg", "l")
    assert str(error.value) == ("kg cannot be converted into l. Use one of: l, ml, m3, ft3, gallon, imperial gallon.")
    assert list(error.value.errors["json"]) == ["unit"]


def test_unknown_type_unit_accepts_only_itself():
    assert [known.unit for known in compatible_units("widget")] == ["widget"]
    assert find_unit("widget", "widget").ratio == 1
    with pytest.raises(ValidationFailed):
        find_unit("kg", "widget")


def test_every_unit_has_compatible_units():
    for unit in UNITS:
        assert len(compatible_units(unit)) > 2
        assert all(known.ratio > 0 for known in compatible_units(unit))

"""Global warming potentials, and the CO2e of gases."""

from decimal import Decimal

import pytest

from carbonapi.catalogue.gwp import BLENDS, co2e_of_gases, gwp, gwp_weights, potentials
from carbonapi.catalogue.models import GWP_SETS
from carbonapi.errors import NotFound


@pytest.mark.parametrize(
    ("gas", "expected"),
    [
        ("CO2", ("1", "1", "1")),
        ("CH4 (fossil)", ("25", "28", "29.8")),
        ("CH4 (biogenic)", ("25", "28", "27.0")),
        ("CH4", ("25", "28", "27.9")),
        ("N2O", ("298", "265", "273")),
        ("HFC-32", ("675", "677", "771")),
        ("R-134a", ("1430", "1300", "1530")),
        ("SF6", ("22800", "23500", "25200")),
        ("R-410A", ("2087.5", "1923.5", "2255.5")),
    ],
)
def test_gwp_of_gas_is_that_of_the_report(gas, expected):
    assert [gwp(gas, gwp_set) for gwp_set in GWP_SETS] == list(map(Decimal, expected))


@pytest.mark.parametrize(
    ("blend", "published"), [("R404A", 3943), ("R407A", 1923), ("R407B", 2547), ("R407C", 1624), ("R407F", 1674),
                             ("R410A", 1924), ("R410B", 2048), ("R507A", 3985)]
)  # fmt: skip
def test_blends_agree_with_uk_factors_of_2025(blend, published):
    assert abs(gwp(blend, "AR5") - published) <= Decimal("0.5")
    assert sum(BLENDS[blend].values()) == 100


@pytest.mark.parametrize(("gwp_set", "total"), [("AR4", "53114.8"), ("AR5", "53114.5"), ("AR6", "53117.1")])
def test_natural_gas_has_the_co2e_of_each_set(gwp_set, total):
    # 1,000 mmBtu of natural gas: 53.06 kg CO2, 1.0 g CH4 and 0.10 g N2O per mmBtu (EPA, emission factors hub).
    masses = [Decimal(1000) * Decimal(mass) for mass in ("53.06", "0.001", "0.0001")]

    assert co2e_of_gases(*masses, None, gwp_set) == Decimal(total)
    weights = gwp_weights(gwp_set)
    assert sum(mass * weights[name] for mass, name in zip(masses, weights, strict=False)) == Decimal(total)


def test_gases_of_uk_electricity_2025_have_other_co2e_in_ar6():
    masses = Decimal("0.17489"), Decimal("0.0009") / 28, Decimal("0.00122") / 265

    assert round(co2e_of_gases(*masses, None, "AR5"), 12) == Decimal("0.17701")
    assert round(co2e_of_gases(*masses, None, "AR6"), 11) == Decimal("0.17710468733")


def test_co2e_of_unpublished_gases_is_zero():
    assert co2e_of_gases(None, None, None, Decimal("1924"), "AR6") == 1924
    assert co2e_of_gases(None, None, None, None, "AR6") == 0


@pytest.mark.parametrize(("gas", "gwp_set"), [("NOF3", "AR6"), ("CO2", "AR7"), ("HFC41", "AR4")])
def test_gwp_of_unknown_gas_or_set_is_not_found(gas, gwp_set):
    with pytest.raises(NotFound, match=gas):
        gwp(gas, gwp_set)


def test_table_of_gwp_is_complete_for_the_main_gases():
    assert len(potentials()) == 91
    for gas in ("CO2", "CH4", "N2O", "SF6", "NF3", "HFC125", "CF4"):
        assert set(potentials()[gas]) == set(GWP_SETS)

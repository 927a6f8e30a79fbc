"""Figures converted to other global warming potentials: a view of the gases. The recorded numbers stay."""

import pytest

from tests.support import factories

# EPA, Emission Factors Hub 2025, table 1: natural gas per mmBtu.
NATURAL_GAS = {"co2_kg": "53.06", "ch4_kg": "0.001", "n2o_kg": "0.0001"}


@pytest.fixture
def natural_gas(as_manager):
    """1,000 mmBtu of natural gas, whose factor has the potentials of AR4."""
    gas = factories.usage_type("natural gas", "mmBtu", factor=None, scope=1)
    factories.emission_factor(gas, "53.1148", gwp="AR4", **NATURAL_GAS)
    factories.usage(as_manager.user, "1000", "2024-03-01", gas.id)
    return gas


@pytest.mark.parametrize(("gwp_set", "co2e_kg"), [("AR4", 53_114.8), ("AR5", 53_114.5), ("AR6", 53_117.1)])
def test_gases_are_converted_in_summary_and_trend(as_manager, natural_gas, gwp_set, co2e_kg):
    summary = as_manager.get(f"/emissions/summary?gwp={gwp_set}").json
    trend = as_manager.get(f"/emissions/trend?gwp={gwp_set}&group_by=category&start=2024-03-01&end=2024-05-01").json

    for figures in (summary, *summary["by_scope"], *summary["by_usage_type"], trend[0], *trend[0]["groups"]):
        assert (figures["co2e_kg"], figures["market_co2e_kg"]) == (co2e_kg, co2e_kg)
        assert figures["unconverted_co2e_kg"] == 0
    assert (trend[1]["co2e_kg"], trend[1]["unconverted_co2e_kg"]) == (0, 0)
    unconverted = as_manager.get("/emissions/summary").json
    assert (unconverted["co2e_kg"], "unconverted_co2e_kg" in unconverted) == (53_114.8, False)
    assert as_manager.get("/usages").json[0]["co2e_kg"] == 53_114.8


def test_published_number_stays_with_its_own_potentials(as_manager):
    """UK electricity of 2025: 0.177, although its gases add up to 0.17701."""
    grid = factories.usage_type("electricity", "kWh", factor=None, scope=2)
    gases = {"co2_kg": "0.17535", "ch4_kg": "0.000025", "n2o_kg": "0.0000036"}
    factories.emission_factor(grid, "0.177", gwp="AR5", **gases)
    factories.usage(as_manager.user, "10000", "2025-03-01", grid.id)

    assert as_manager.get("/emissions/summary?gwp=AR5").json["co2e_kg"] == 1770
    # 0.000025 × (29.8 − 28) + 0.0000036 × (273 − 265), per kWh.
    assert as_manager.get("/emissions/summary?gwp=AR6").json["co2e_kg"] == 1770.738


def test_factors_without_known_gases_are_named(as_manager, natural_gas):
    for fields in ({}, {"gwp": "AR5"}, {"co2_kg": "0.5"}):
        of = factories.usage_type(factor=None)
        factories.emission_factor(of, "0.5", **fields)
        factories.usage(as_manager.user, "10", "2024-03-01", of.id)

    for query in ("", "&scope=1", "&by=user", "&method=market"):
        summary = as_manager.get(f"/emissions/summary?gwp=AR6{query}").json
        others = 0 if "scope" in query else 15
        assert (summary["co2e_kg"], summary["unconverted_co2e_kg"]) == (53_117.1 + others, others)


def test_set_of_the_edition_applies_unless_a_factor_has_another(as_manager):
    edition = {"publisher": "EPA", "edition": "2025", "gwp": "AR5"}
    set_id = as_manager.post("/factor-sets", json=edition).json["id"]
    for own, factor in ((None, "53.1145"), ("AR4", "53.1148")):
        of = factories.usage_type(factor=None, unit="mmBtu")
        factories.emission_factor(of, factor, factor_set_id=set_id, gwp=own, **NATURAL_GAS)
        factories.usage(as_manager.user, "1000", "2024-03-01", of.id)

    assert as_manager.get("/emissions/summary?gwp=AR6").json["co2e_kg"] == 2 * 53_117.1
    for usage, gwp_set in zip(as_manager.get("/usages?sort=id").json, ("AR5", "AR4"), strict=True):
        line, *_ = as_manager.get(f"/usages/{usage['id']}/explain").json["lines"]
        assert (line["gwp"], line["co2_kg"], line["biogenic_co2_kg"]) == (gwp_set, 53.06, None)


def test_usages_outside_of_the_scopes_are_counted(as_manager, natural_gas):
    wood = factories.usage_type("wood", factor="0.35", outside_of_scopes=True)
    factories.usage(as_manager.user, "100", "2024-03-01", wood.id)

    converted, recorded = (as_manager.get(f"/emissions/summary{query}").json for query in ("?gwp=AR4", ""))
    assert [(each["usage_count"], each["co2e_kg"]) for each in (converted, recorded)] == [(2, 53_114.8)] * 2


def test_unknown_set_is_422(as_manager):
    answer = as_manager.get("/emissions/summary?gwp=AR7")

    assert (answer.status_code, list(answer.json["errors"]["query"])) == (422, ["gwp"])

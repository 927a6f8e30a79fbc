"""Explanations contain every step of a calculation, so that a reader can repeat it."""

import hashlib
import json
import random
from decimal import Decimal
from fractions import Fraction

import pytest

from tests.support import factories
from tests.support.client import query_now
from tests.support.random_ledger import record_at_random


def test_explanation_contains_every_step(as_member, as_manager):
    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"region": "GB"})
    usage_type = factories.usage_type("steam", "kWh", factor="0.3")
    factories.emission_factor(usage_type, "0.2", region="GB", source="a British table")
    body = {"usage_type_id": usage_type.id, "usage_at": "2024-01-01T00:00:00Z", "amount": 3, "unit": "MJ"}
    usage = as_member.post("/usages", json=body).json

    explained = as_member.get(f"/usages/{usage['id']}/explain").json

    assert explained["usage"] == usage
    assert explained["usage_type"]["name"] == "steam"
    assert explained["region_of_organization"] == "GB"
    assert explained["conversion"] == {
        "unit": "MJ",
        "type_unit": "kWh",
        "numerator": 5,
        "denominator": 18,
        "calculation": "3 MJ × 5/18 kWh/MJ = 0.833333333333 kWh",
    }
    assert (explained["factor"]["factor"], explained["factor"]["source"]) == (0.2, "a British table")
    assert [factor["factor"] for factor in explained["candidates"]] == [0.2, 0.3]
    assert explained["why"] == (
        "The region is GB. An organization's own factor takes precedence over a shared one; within each, the factor of "
        "a subdivision over that of its country, and both over the general one. The location-based factor that applies "
        "at that time is the shared factor for region GB."
    )
    assert explained["calculation"] == "0.833333333333 kWh × 0.2 kg CO2e/kWh = 0.1666666666666 kg CO2e"
    assert (explained["co2e_kg"], explained["outdated"], explained["versions"]) == (usage["co2e_kg"], False, 1)
    assert explained["restatement_ids"] == []
    assert explained["sha256"] == hashlib.sha256(explained["canonical"].encode()).hexdigest()
    assert json.loads(explained["canonical"])["co2e_kg"] == "0.1666666666666"


def test_explanation_contains_restatements_and_versions(as_member, as_manager):
    usage_type = factories.usage_type(factor="2")
    usage = factories.usage(as_member.user, usage_type_id=usage_type.id)
    path = f"/usages/{usage.id}/explain"
    before, as_of = as_member.get(path).json, query_now()
    factories.emission_factor(usage_type, "1", organization_id=as_member.user.organization_id)
    assert (as_member.get(path).json["outdated"], as_member.get(path).json["co2e_kg"]) == (True, 2)

    ask = {"usage_type_ids": [usage_type.id], "reason": "why", "mode": "apply"}
    restatement = as_manager.post("/restatements", json=ask).json
    as_member.patch(f"/usages/{usage.id}", json={"amount": 5})

    explained = as_member.get(path).json
    assert (explained["outdated"], explained["co2e_kg"], explained["versions"]) == (False, 5, 3)
    assert explained["restatement_ids"] == [restatement["id"]]
    assert "the organization's own factor for any region" in explained["why"]
    assert explained["sha256"] != before["sha256"]
    assert as_member.get(f"{path}?as_of={as_of}").json["sha256"] == before["sha256"]


@pytest.mark.parametrize("number", [100, pytest.param(10_000, marks=pytest.mark.thorough)])
def test_explanation_reproduces_every_number(as_manager, number):
    """Usages in all units, corrected and restated ones among them, by their explanations' own ratios and factors."""
    record_at_random(as_manager, random.Random(42), number)
    last = json.loads(as_manager.get("/usages?page_size=1000").headers["X-Pagination"])["total_pages"]
    ids = [
        usage["id"]
        for page in range(1, last + 1)
        for usage in as_manager.get(f"/usages?sort=id&page_size=1000&page={page}").json
    ]

    assert len(ids) == number - min(number, 1000) // 20

    for id_ in ids:
        explained = json.loads(as_manager.get(f"/usages/{id_}/explain").text, parse_float=Decimal, parse_int=Decimal)
        conversion, usage_fields, factor = explained["conversion"], explained["usage"], explained["factor"]["factor"]
        ratio = Fraction(int(conversion["numerator"]), int(conversion["denominator"]))
        converted = Fraction(round(Fraction(usage_fields["amount"]) * ratio * 10**12), 10**12)
        assert converted == Fraction(usage_fields["amount_in_type_unit"])
        co2e_kg = converted * Fraction(factor)
        if explained["parts"]:
            assert sum(part["amount"] for part in explained["parts"]) == converted
            co2e_kg = sum(Fraction(part["amount"]) * Fraction(part["factor"]) for part in explained["parts"])
        assert co2e_kg == Fraction(usage_fields["co2e_kg"]) == Fraction(explained["co2e_kg"])
        assert explained["sha256"] == hashlib.sha256(explained["canonical"].encode()).hexdigest()
        canonical = json.loads(explained["canonical"])
        for of_hash, shown in zip(canonical.get("parts", [canonical]), explained["parts"] or [explained], strict=True):
            assert [line["factor"] for line in of_hash["lines"]] == [f"{line['factor']:f}" for line in shown["lines"]]
        for name in ("amount", "amount_in_type_unit", "co2e_kg", "market_co2e_kg"):
            assert canonical[name] == f"{usage_fields[name]:f}"
        assert (canonical["id"], canonical["version"]) == (usage_fields["id"], usage_fields["version"])

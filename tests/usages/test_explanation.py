"""How a number came about, told so that anybody can do the sum again."""

import hashlib
import json
import random
from decimal import Decimal
from fractions import Fraction

from tests import factories
from tests.usages.test_history import moment


def test_every_step_is_told(as_member, as_manager):
    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"region": "GB"})
    usage_type = factories.usage_type("steam", "kWh", factor="0.3")
    factories.emission_factor(usage_type, "0.2", region="GB", source="a British table")
    body = {"usage_type_id": usage_type.id, "usage_at": "2024-01-01T00:00:00Z", "amount": 3, "unit": "MJ"}
    usage = as_member.post("/usages", json=body).json

    told = as_member.get(f"/usages/{usage['id']}/explain").json

    assert told["usage"] == usage
    assert told["usage_type"]["name"] == "steam"
    assert told["region_of_organization"] == "GB"
    assert told["conversion"] == {
        "unit": "MJ",
        "type_unit": "kWh",
        "numerator": 5,
        "denominator": 18,
        "calculation": "3 MJ × 5/18 kWh/MJ = 0.833333333333 kWh",
    }
    assert (told["factor"]["factor"], told["factor"]["source"]) == (0.2, "a British table")
    assert [factor["factor"] for factor in told["candidates"]] == [0.2, 0.3]
    assert told["why"] == (
        "The usage is of region GB. Own factors go before shared ones, and among these a region's before the general "
        "one; the location-based factor that won at that time is the shared one for region GB."
    )
    assert told["calculation"] == "0.833333333333 kWh × 0.2 kg CO2e/kWh = 0.1666666666666 kg CO2e"
    assert (told["co2e_kg"], told["outdated"], told["versions"]) == (usage["co2e_kg"], False, 1)
    assert told["restatement_ids"] == []
    assert told["sha256"] == hashlib.sha256(told["canonical"].encode()).hexdigest()
    assert json.loads(told["canonical"])["co2e_kg"] == "0.1666666666666"


def test_what_touched_it_is_told(as_member, as_manager):
    usage_type = factories.usage_type(factor="2")
    usage = factories.usage(as_member.user, usage_type_id=usage_type.id)
    path = f"/usages/{usage.id}/explain"
    before, as_of = as_member.get(path).json, moment()
    factories.emission_factor(usage_type, "1", organization_id=as_member.user.organization_id)
    assert (as_member.get(path).json["outdated"], as_member.get(path).json["co2e_kg"]) == (True, 2)

    ask = {"usage_type_id": usage_type.id, "reason": "why", "mode": "apply"}
    restatement = as_manager.post("/restatements", json=ask).json
    as_member.patch(f"/usages/{usage.id}", json={"amount": 5})

    told = as_member.get(path).json
    assert (told["outdated"], told["co2e_kg"], told["versions"]) == (False, 5, 3)
    assert told["restatement_ids"] == [restatement["id"]]
    assert "the organization's own for any region" in told["why"]
    assert told["sha256"] != before["sha256"]
    assert as_member.get(f"{path}?as_of={as_of}").json["sha256"] == before["sha256"]


def test_the_explanation_reproduces_every_number(as_member):
    random.seed(42)
    usage_types = [factories.usage_type(unit="kWh", factor=f"{random.randrange(10**13)}e-12") for _ in range(3)]
    rows = ["usage_type_id,usage_at,amount,unit"]
    for number in range(1000):
        amount = Decimal(random.randrange(10 ** random.randrange(1, 16))).scaleb(-6)
        unit = random.choice(["kWh", "MWh", "MJ", "therm", "MMBtu", ""])
        rows.append(f"{random.choice(usage_types).id},2024-01-01T00:{number % 60:02}:00Z,{amount:f},{unit}")
    file = "\n".join(rows) + "\n"
    assert as_member.post("/imports", data=file, content_type="text/csv").status_code == 201

    for usage in as_member.get("/usages?page_size=1000").json[::20]:
        told = json.loads(as_member.get(f"/usages/{usage['id']}/explain").text, parse_float=Decimal, parse_int=Decimal)
        conversion, given = told["conversion"], told["usage"]
        converted = Fraction(given["amount"]) * Fraction(int(conversion["numerator"]), int(conversion["denominator"]))
        assert round(converted * 10**12) == Fraction(given["amount_in_type_unit"]) * 10**12
        assert Fraction(given["amount_in_type_unit"]) * Fraction(given["factor"]) == Fraction(told["co2e_kg"])

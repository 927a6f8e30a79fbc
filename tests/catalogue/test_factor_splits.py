"""Intervals over a change of factor: divided by days, or with the factor of their start."""

import hashlib
import json
import random
from decimal import Decimal
from itertools import pairwise

import pytest

from tests.support import factories
from tests.support.client import query_now
from tests.support.daily_totals import assert_totals_match_usages, stored_totals
from tests.support.scale import examples

BILL = {"usage_at": "2024-12-15T00:00:00Z", "usage_until": "2025-01-15T00:00:00Z", "amount": 3100}
HEADER = "usage_at,usage_until,amount,external_id\n"


@pytest.fixture
def electricity():
    """The id of a type with the UK's factors of 2024 and 2025."""
    usage_type = factories.usage_type("UK electricity", "kWh", scope=2, category="purchased_electricity", factor=None)
    factories.emission_factor(usage_type, "0.20705", "2024-01-01", "2025-01-01")
    factories.emission_factor(usage_type, "0.177", "2025-01-01", "2026-01-01")
    return usage_type.id


def record(client, usage_type_id, **fields):
    answer = client.post("/usages", json=BILL | {"usage_type_id": usage_type_id} | fields)
    assert answer.status_code == 201, answer.json
    return answer.json


def set_organization(client, **fields):
    path = f"/organizations/{client.user.organization_id}"
    assert client.patch(path, json=fields).status_code == 200


def by_month(client, query=""):
    trend = client.get(f"/emissions/trend?start=2024-12-01&end=2025-02-01{query}").json
    return [(bucket["co2e_kg"], bucket["usage_count"]) for bucket in trend]


def import_bills(client, usage_type_id, *lines, on_conflict="reject"):
    path = f"/imports?usage_type_id={usage_type_id}&on_conflict={on_conflict}"
    return client.post(path, data=HEADER + "".join(f"{line}\n" for line in lines), content_type="text/csv")


def test_bill_over_a_change_of_factor_is_split(as_manager, electricity):
    usage = record(as_manager, electricity)

    assert (usage["co2e_kg"], usage["factor"], usage["split_co2e_kg"]) == (599.785, 0.20705, -42.07)
    for as_of in ("", f"&as_of={query_now()}"):
        assert by_month(as_manager, as_of) == [(351.985, 1), (247.8, 1)]
        summary = as_manager.get(f"/emissions/summary?by=scope&by=category{as_of}").json
        assert (summary["co2e_kg"], summary["usage_count"]) == (599.785, 1)
        (group,) = summary["by_scope"]
        assert (group["id"], group["co2e_kg"], group["usage_count"]) == (2, 599.785, 1)
        assert as_manager.get(f"/emissions/summary?scope=2{as_of}").json["co2e_kg"] == 599.785
        assert [each["id"] for each in as_manager.get(f"/usages?scope=2{as_of}").json] == [usage["id"]]
    assert_totals_match_usages(as_manager.user.organization_id)


def test_explanation_of_a_bill_has_its_parts(as_manager, electricity):
    usage = record(as_manager, electricity)
    explained = as_manager.get(f"/usages/{usage['id']}/explain").json

    assert explained["calculation"] == (
        "1700 kWh × 0.20705 kg CO2e/kWh + 1400 kWh × 0.177 kg CO2e/kWh = 599.785 kg CO2e"
    )
    assert (explained["lines"], explained["outdated"]) == ([], False)
    parts = [(part["starts_at"], part["ends_at"], part["amount"], part["co2e_kg"]) for part in explained["parts"]]
    assert parts == [
        ("2024-12-15T00:00:00Z", "2025-01-01T00:00:00Z", 1700, 351.985),
        ("2025-01-01T00:00:00Z", "2025-01-15T00:00:00Z", 1400, 247.8),
    ]
    assert explained["parts"][1]["calculation"] == "1400 kWh × 0.177 kg CO2e/kWh = 247.8 kg CO2e"
    assert [line["line"] for line in explained["parts"][1]["lines"]] == ["location", "market"]
    canonical = json.loads(explained["canonical"])
    assert [part["amount"] for part in canonical["parts"]] == ["1700", "1400"]
    assert canonical["parts"][1]["lines"][0]["factor"] == "0.177"
    assert explained["sha256"] == hashlib.sha256(explained["canonical"].encode()).hexdigest()


def test_blended_factor_is_the_average_of_the_days(as_manager):
    """The UK's guidance: April 2019 to March 2020, in days of 2019 and of 2020."""
    usage_type = factories.usage_type(factor=None)
    factories.emission_factor(usage_type, "0.2556", "2019-01-01", "2020-01-01")
    factories.emission_factor(usage_type, "0.23314", "2020-01-01", "2021-01-01")
    year = {"usage_at": "2019-05-26T00:00:00Z", "usage_until": "2020-05-25T00:00:00Z", "amount": 365}
    answer = as_manager.post("/usages", json=year | {"usage_type_id": usage_type.id})

    co2e_kg = json.loads(answer.text, parse_float=Decimal)["co2e_kg"]
    assert co2e_kg == 220 * Decimal("0.2556") + 145 * Decimal("0.23314")
    assert str(co2e_kg / 365).startswith("0.24667753424657")


def test_start_gives_a_bill_the_factor_of_its_start(as_manager, electricity):
    set_organization(as_manager, factor_split="start")
    usage = record(as_manager, electricity)

    assert (usage["co2e_kg"], usage["split_co2e_kg"]) == (641.855, None)
    assert by_month(as_manager) == [(351.985, 1), (289.87, 1)]
    set_organization(as_manager, factor_split="days")
    record(as_manager, electricity, usage_at="2025-01-02T00:00:00Z")  # The valuation of 2025 exists now.
    assert [each["id"] for each in as_manager.get("/usages?outdated=true").json] == [usage["id"]]


def test_imported_bill_equals_a_recorded_one(as_manager, electricity):
    recorded = record(as_manager, electricity)
    line = "2024-12-15T00:00:00Z,2025-01-15T00:00:00Z,3100,a"
    assert import_bills(as_manager, electricity, line, "2025-02-01T00:00:00Z,,1,b").status_code == 201
    imported = as_manager.get("/usages?external_id=a").json[0]

    names = ("valuation_id", "factor", "co2e_kg", "market_co2e_kg", "split_co2e_kg", "split_market_co2e_kg")
    assert {name: imported[name] for name in names} == {name: recorded[name] for name in names}
    replaced = import_bills(as_manager, electricity, line.replace("3100", "31"), on_conflict="replace")
    assert replaced.status_code == 201
    assert as_manager.get("/usages?external_id=a").json[0]["co2e_kg"] == 5.99785
    assert_totals_match_usages(as_manager.user.organization_id)


def test_import_creates_split_valuations(as_manager, electricity):
    days = ("2024-12-15T00:00:00Z,2025-01-15T00:00:00Z,3100,a", "2024-11-01T00:00:00Z,2024-12-01T00:00:00Z,1,b")
    assert import_bills(as_manager, electricity, *days).json["co2e_kg"] == 599.99205
    assert as_manager.get("/usages?external_id=b").json[0]["split_co2e_kg"] is None


def test_bill_beyond_the_last_factor_is_rejected(as_manager, electricity):
    times = {"usage_at": "2025-12-15T00:00:00Z", "usage_until": "2026-01-15T00:00:00Z"}
    answer = as_manager.post("/usages", json=BILL | times | {"usage_type_id": electricity})
    imported = import_bills(as_manager, electricity, "2025-12-15T00:00:00Z,2026-01-15T00:00:00Z,1,a")

    message = (
        "UK electricity (kWh) has no emission factor at 2026-01-01T00:00:00Z; the last is valid until "
        "2026-01-01T00:00:00Z. Create the next one, or set missing_factor of the organization to latest"
    )
    assert (answer.status_code, imported.status_code) == (422, 422)
    assert message in answer.text
    assert message in imported.text
    assert record(as_manager, electricity, **times | {"usage_until": "2026-01-01T00:00:00Z"})["co2e_kg"] == 548.7


def test_correction_splits_a_bill_again(as_manager, electricity):
    usage = record(as_manager, electricity)
    path = f"/usages/{usage['id']}"
    for changes, expected in (
        ({"amount": 31}, (5.99785, -0.4207)),
        ({"amount": 0.031, "unit": "MWh"}, (5.99785, -0.4207)),
        ({"usage_until": "2025-01-01T00:00:00Z"}, (6.41855, None)),
        ({"usage_until": "2025-01-15T00:00:00Z"}, (5.99785, -0.4207)),
        ({"note": "read again"}, (5.99785, -0.4207)),
        ({"usage_at": "2025-01-01T00:00:00Z"}, (5.487, None)),
    ):
        corrected = as_manager.patch(path, json=changes).json
        assert (corrected["co2e_kg"], corrected["split_co2e_kg"]) == expected
        assert_totals_match_usages(as_manager.user.organization_id)
    entry = as_manager.get("/audit-entries?sort=-id").json[0]
    assert (entry["old"]["split_co2e_kg"], entry["old"]["co2e_kg"]) == (-0.4207, 5.99785)
    assert as_manager.delete(path).status_code == 204
    assert stored_totals(as_manager.user.organization_id) == {}


def test_restatement_of_a_split_bill_reports_its_months(as_admin, as_manager, electricity):
    usage = record(as_manager, electricity)
    before = query_now()
    (_, of_2025) = as_admin.get(f"/usage-types/{electricity}/factors?sort=valid_from").json
    corrected = {"factor": 0.2, "source": "an erratum", "reason": "Corrected by the publisher."}
    path = f"/usage-types/{electricity}/factors/{of_2025['id']}/supersede"
    answer = as_admin.post(path, json=corrected)
    assert answer.status_code == 201, answer.text
    assert [each["id"] for each in as_manager.get("/usages?outdated=true").json] == [usage["id"]]

    ask = {"usage_type_ids": [electricity], "reason": "The factor of 2025 was corrected.", "mode": "apply"}
    restated = as_manager.post("/restatements", json=ask).json

    assert [(month["month"], month["before_kg"], month["after_kg"]) for month in restated["months"]] == [
        ("2024-12", 351.985, 351.985),
        ("2025-01", 247.8, 280),
    ]
    assert as_manager.get(f"/usages/{usage['id']}").json["co2e_kg"] == 631.985
    assert as_manager.get("/usages?outdated=true").json == []
    assert by_month(as_manager) == [(351.985, 1), (280, 1)]
    assert by_month(as_manager, f"&as_of={before}") == [(351.985, 1), (247.8, 1)]
    ranges = "start=2025-01-01&end=2025-02-01&compare_start=2024-12-01&compare_end=2025-01-01"
    bridge = as_manager.get(f"/emissions/bridge?{ranges}").json
    assert (bridge["before_kg"], bridge["after_kg"], bridge["restated_kg"]) == (351.985, 280, 32.2)
    assert_totals_match_usages(as_manager.user.organization_id)
    assert as_manager.post("/restatements", json=ask).json["usage_count"] == 0


def test_bridge_shows_that_a_bill_was_split_by_a_restatement(as_manager, electricity):
    set_organization(as_manager, factor_split="start")
    record(as_manager, electricity)
    set_organization(as_manager, factor_split="days")
    ask = {"usage_type_ids": [electricity], "reason": "Bills are split now.", "mode": "apply"}
    assert as_manager.post("/restatements", json=ask).json["difference_kg"] == -42.07

    ranges = "start=2025-01-01&end=2025-02-01&compare_start=2024-12-01&compare_end=2025-01-01"
    bridge = as_manager.get(f"/emissions/bridge?{ranges}").json
    assert (bridge["before_kg"], bridge["after_kg"], bridge["restated_kg"]) == (351.985, 247.8, -42.07)


def test_change_takes_effect_at_the_nearest_local_midnight(sign_in):
    usage_type = factories.usage_type(factor=None)
    factories.emission_factor(usage_type, "2", "2024-01-01", "2025-01-01")
    factories.emission_factor(usage_type, "3", "2025-01-01")
    for timezone, midnight in (("Europe/Berlin", "2024-12-31T23:00:00Z"), ("America/New_York", "2025-01-01T05:00:00Z")):
        manager = sign_in(factories.user(factories.organization(timezone=timezone), "manager"))
        usage = record(manager, usage_type.id)
        parts = manager.get(f"/usages/{usage['id']}/explain").json["parts"]
        assert [part["ends_at"] for part in parts] == [midnight, BILL["usage_until"]]
        january = record(manager, usage_type.id, usage_at=midnight, usage_until="2025-01-31T00:00:00Z")
        assert (january["factor"], january["split_co2e_kg"]) == (3, None)
        assert_totals_match_usages(manager.user.organization_id)


def test_new_time_zone_keeps_split_bills_exact(as_manager, electricity):
    record(as_manager, electricity)
    set_organization(as_manager, timezone="America/New_York")
    assert_totals_match_usages(as_manager.user.organization_id)
    for as_of in ("", f"&as_of={query_now()}"):
        summary = as_manager.get(f"/emissions/summary?by=scope{as_of}").json
        assert (summary["co2e_kg"], summary["usage_count"]) == (599.785, 1)
        assert [count for _, count in by_month(as_manager, as_of)] == [1, 1]
    assert as_manager.get("/usages?outdated=true").json == []
    later = record(as_manager, electricity)
    parts = as_manager.get(f"/usages/{later['id']}/explain").json["parts"]
    assert parts[0]["ends_at"] == "2025-01-01T05:00:00Z"


def test_equal_factors_do_not_split_a_bill(as_manager, electricity):
    factories.emission_factor(
        factories.db.session.get_one(factories.UsageType, electricity),
        "0.5", "2020-01-01", organization_id=as_manager.user.organization_id,
    )  # fmt: skip
    usage = record(as_manager, electricity)

    assert (usage["co2e_kg"], usage["split_co2e_kg"]) == (1550, None)
    assert len(as_manager.get(f"/usages/{usage['id']}/explain").json["lines"]) == 2
    assert (by_month(as_manager), as_manager.get("/usages?outdated=true").json) == ([(850, 1), (700, 1)], [])


def test_short_interval_has_the_factor_of_its_start(as_manager, electricity):
    times = {"usage_at": "2024-12-31T22:00:00Z", "usage_until": "2025-01-01T02:00:00Z"}
    usage = record(as_manager, electricity, **times)

    assert (usage["factor"], usage["split_co2e_kg"]) == (0.20705, None)


def test_export_of_a_split_bill_is_verified(as_manager, electricity):
    record(as_manager, electricity)
    exported = as_manager.get("/usages/export?format=csv").text
    verified = as_manager.post("/verify", data=exported, content_type="text/csv").json

    assert (verified["lines"], verified["reproduced"]) == (1, 1)


@pytest.mark.parametrize("timezone", ["UTC", "Europe/London", "America/Los_Angeles", "Australia/Lord_Howe"])
def test_parts_add_up_at_random(sign_in, timezone):
    dice = random.Random(timezone)
    manager = sign_in(factories.user(factories.organization(timezone=timezone), "manager"))
    usage_type = factories.usage_type(factor="1", scope=1)
    for owner in ({"organization_id": manager.user.organization_id}, {"region": "GB"}):
        times = sorted(
            f"2024-{month:02}-{dice.randrange(1, 29):02}T{dice.choice(['00:00', '05:00', '12:00', '17:30'])}"
            for month in dice.sample(range(1, 13), 5)
        )
        for start, end in pairwise(times):
            new = {"factor": f"{dice.randrange(10**6)}e-6", "valid_from": start, "valid_until": end}
            if dice.random() < 0.8:
                factories.emission_factor(usage_type, **new, **owner)
    total = Decimal(0)
    for place in range(examples(15, 60)):
        start = f"2024-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}T{dice.randrange(24):02}:15:00Z"
        until = f"2025-{dice.randrange(1, 4):02}-{dice.randrange(1, 29):02}T{dice.randrange(24):02}:00:00Z"
        usage = {
            "usage_at": start,
            "usage_until": until,
            "amount": dice.randrange(10**9) / 1000,
            "region": dice.choice(["GB", None]),
            "usage_type_id": usage_type.id,
        }
        answer = manager.post("/usages", json=usage)
        assert answer.status_code == 201, answer.text
        if place % 5 == 0:
            answer = manager.patch(f"/usages/{answer.json['id']}", json={"amount": place})
        total += json.loads(answer.text, parse_float=Decimal)["co2e_kg"]
    assert_totals_match_usages(manager.user.organization_id)
    for query in (
        "bucket=month",
        "bucket=day&start=2024-01-01&end=2026-01-01",
        "bucket=hour&start=2024-12-01&end=2025-01-01",
    ):
        by_days = json.loads(manager.get(f"/emissions/trend?{query}").text, parse_float=Decimal)
        by_usages = manager.get(f"/emissions/trend?{query}&as_of={query_now()}")
        assert by_days == json.loads(by_usages.text, parse_float=Decimal)
        if "hour" not in query:
            assert sum(bucket["co2e_kg"] for bucket in by_days) == total
    set_organization(manager, timezone="Asia/Kolkata")
    assert_totals_match_usages(manager.user.organization_id)
    answer = manager.get("/emissions/summary?by=scope")
    assert json.loads(answer.text, parse_float=Decimal)["co2e_kg"] == total

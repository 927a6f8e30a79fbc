"""Usages at a time without an emission factor: rejected, or recorded with the latest factor and marked provisional."""

import pytest

from tests.support import factories
from tests.support.daily_totals import assert_totals_match_usages

USAGE = {"usage_at": "2026-03-01T00:00:00Z", "amount": 1000}


@pytest.fixture
def electricity():
    """A type whose last factor, and the factor of whose upstream line, end with 2025."""
    usage_type = factories.usage_type("electricity", "kWh", scope=2, factor=None)
    factories.emission_factor(usage_type, "0.20705", "2024-01-01", "2025-01-01")
    factories.emission_factor(usage_type, "0.177", "2025-01-01", "2026-01-01")
    return usage_type


@pytest.fixture
def takes_latest(as_manager):
    set_missing_factor(as_manager, "latest")


def set_missing_factor(client, value):
    path = f"/organizations/{client.user.organization_id}"
    assert client.patch(path, json={"missing_factor": value}).json["missing_factor"] == value


def record(client, usage_type, **fields):
    answer = client.post("/usages", json=USAGE | {"usage_type_id": usage_type.id} | fields)
    assert answer.status_code == 201, answer.json
    return answer.json


def provisional_kg(client, query=""):
    summary = client.get(f"/emissions/summary?{query}").json
    return summary["co2e_kg"], summary["provisional_co2e_kg"]


def restate(client, usage_type):
    body = {"usage_type_ids": [usage_type.id], "mode": "apply", "reason": "The factors of 2026 are there."}
    answer = client.post("/restatements", json=body)
    assert answer.status_code == 201, answer.json
    return answer.json


def test_usage_without_a_factor_is_422_by_default(as_manager, electricity):
    answer = as_manager.post("/usages", json=USAGE | {"usage_type_id": electricity.id})

    assert answer.status_code == 422
    assert "set missing_factor of the organization to latest" in answer.text


def test_usage_gets_the_latest_factor_provisionally(as_manager, electricity, takes_latest):
    usage = record(as_manager, electricity)

    assert (usage["factor"], usage["co2e_kg"], usage["provisional"]) == (0.177, 177, True)
    final = record(as_manager, electricity, usage_at="2025-12-31T00:00:00Z")
    assert (final["factor"], final["provisional"]) == (0.177, False)
    assert [each["id"] for each in as_manager.get("/usages?provisional=true").json] == [usage["id"]]
    assert [each["id"] for each in as_manager.get("/usages?provisional=false").json] == [final["id"]]
    explained = as_manager.get(f"/usages/{usage['id']}/explain").json
    assert explained["why"].endswith("No factor is valid at that time, so the latest one applies provisionally.")
    assert (explained["usage"]["provisional"], explained["outdated"]) == (True, False)


@pytest.mark.parametrize("query", ["", "by=user", "scope=2", "gwp=AR6", "usage_type_id={id}", "method=market"])
def test_totals_name_their_provisional_part(as_manager, electricity, takes_latest, query):
    record(as_manager, electricity)
    record(as_manager, electricity, usage_at="2025-12-31T00:00:00Z", amount=1)

    query = query.format(id=electricity.id)
    assert provisional_kg(as_manager, query) == (177.177, 177)
    if query != "by=user":
        trend = as_manager.get(f"/emissions/trend?start=2025-12-01&end=2026-04-01&group_by=category&{query}").json
        assert [bucket["provisional_co2e_kg"] for bucket in trend] == [0, 0, 0, 177]
        assert trend[-1]["groups"][0]["provisional_co2e_kg"] == 177


def test_only_the_later_part_of_a_bill_is_provisional(as_manager, electricity, takes_latest):
    times = {"usage_at": "2025-12-15T00:00:00Z", "usage_until": "2026-01-15T00:00:00Z", "amount": 3100}
    bill = record(as_manager, electricity, **times)

    assert (bill["co2e_kg"], bill["provisional"]) == (548.7, True)
    assert provisional_kg(as_manager) == (548.7, 247.8)
    explained = as_manager.get(f"/usages/{bill['id']}/explain").json
    assert [part["provisional"] for part in explained["parts"]] == [False, True]
    assert_totals_match_usages(as_manager.user.organization_id)


def test_restatement_makes_provisional_usages_final(as_manager, electricity, takes_latest):
    usage = record(as_manager, electricity)
    times = {"usage_at": "2025-12-15T00:00:00Z", "usage_until": "2026-01-15T00:00:00Z", "amount": 3100}
    bill = record(as_manager, electricity, **times)
    factories.emission_factor(electricity, "0.15", "2026-01-01", "2027-01-01")

    outdated = as_manager.get("/usages?outdated=true&sort=id").json
    assert [each["id"] for each in outdated] == [usage["id"], bill["id"]]
    restated = restate(as_manager, electricity)
    assert restated["usage_count"] == 2
    usages = as_manager.get("/usages?sort=id").json
    assert [(each["co2e_kg"], each["provisional"]) for each in usages] == [(150, False), (510.9, False)]
    assert as_manager.get("/usages?provisional=true").json == []
    assert provisional_kg(as_manager) == (660.9, 0)
    versions = as_manager.get(f"/usages/{usage['id']}/versions").json
    assert [version["provisional"] for version in versions] == [True, False]
    assert_totals_match_usages(as_manager.user.organization_id)


def test_usage_is_restated_to_an_equal_factor(as_manager, electricity, takes_latest):
    usage = record(as_manager, electricity)
    factories.emission_factor(electricity, "0.177", "2026-01-01")

    restate(as_manager, electricity)
    usage = as_manager.get(f"/usages/{usage['id']}").json
    assert (usage["version"], usage["co2e_kg"], usage["provisional"]) == (2, 177, False)


def test_changing_the_setting_back_keeps_usages(as_manager, electricity, takes_latest):
    usage = record(as_manager, electricity)
    set_missing_factor(as_manager, "refuse")

    answer = as_manager.post("/usages", json=USAGE | {"usage_type_id": electricity.id})
    assert answer.status_code == 422
    path = f"/imports?usage_type_id={electricity.id}"
    lines = "usage_at,amount\n2026-03-01T00:00:00Z,1\n"
    assert as_manager.post(path, data=lines, content_type="text/csv").status_code == 422
    assert as_manager.get(f"/usages/{usage['id']}").json["provisional"] is True
    changed = as_manager.patch(f"/usages/{usage['id']}", json={"amount": 10, "reason": "Mistyped."})
    assert (changed.json["co2e_kg"], changed.json["provisional"]) == (1.77, True)
    set_missing_factor(as_manager, "latest")
    assert record(as_manager, electricity)["valuation_id"] == usage["valuation_id"]


def test_import_takes_the_latest_factor(as_manager, electricity, takes_latest):
    path = f"/imports?usage_type_id={electricity.id}"
    lines = "usage_at,amount,external_id\n2026-03-01T00:00:00Z,1000,a\n2025-03-01T00:00:00Z,1,b\n"
    imported = as_manager.post(path, data=lines, content_type="text/csv")

    assert (imported.status_code, imported.json.get("co2e_kg")) == (201, 177.177), imported.json
    assert [each["external_id"] for each in as_manager.get("/usages?provisional=true").json] == ["a"]
    moved = lines.replace("2026-03-01", "2025-03-01")
    assert as_manager.post(f"{path}&on_conflict=replace", data=moved, content_type="text/csv").status_code == 201
    assert as_manager.get("/usages?provisional=true").json == []


def test_gap_between_factors_takes_the_earlier_one(as_manager, takes_latest):
    usage_type = factories.usage_type(factor=None)
    factories.emission_factor(usage_type, 2, "2024-01-01", "2025-01-01")
    factories.emission_factor(usage_type, 3, "2026-01-01")

    usage = record(as_manager, usage_type, usage_at="2025-06-01T00:00:00Z", amount=1)
    assert (usage["co2e_kg"], usage["provisional"]) == (2, True)


def test_time_before_the_first_factor_is_always_422(as_manager, electricity, takes_latest):
    early = USAGE | {"usage_type_id": electricity.id, "usage_at": "2023-06-01T00:00:00Z"}
    answer = as_manager.post("/usages", json=early)

    assert answer.status_code == 422
    assert "the first is valid from 2024-01-01T00:00:00Z" in answer.text


def test_all_lines_are_of_the_edition_that_ended(as_manager, electricity, takes_latest):
    """A market-based factor and an upstream line that ended earlier stay missing; a valid one is used."""
    losses = factories.usage_type("losses", "kWh", scope=3, factor=None)
    factories.emission_factor(losses, "0.02", "2024-01-01", "2025-01-01")
    factories.emission_factor(losses, "0.01853", "2025-01-01", "2026-01-01")
    line = {"line": "t_and_d", "factor_type_id": losses.id}
    assert as_manager.post(f"/usage-types/{electricity.id}/upstream-lines", json=line).status_code == 201
    factories.emission_factor(electricity, "0.3", "2024-01-01", "2025-01-01", method="market")

    usage = record(as_manager, electricity)
    lines = as_manager.get(f"/usages/{usage['id']}/explain").json["lines"]
    found = [(each["line"], each["factor"], each["fallback"]) for each in lines]
    assert found == [("location", 0.177, False), ("market", 0.177, True), ("t_and_d", 0.01853, False)]
    factories.emission_factor(electricity, "0.25", "2026-01-01", None, method="market")
    usage = record(as_manager, electricity)
    assert (usage["factor"], usage["market_factor"], usage["provisional"]) == (0.177, 0.25, True)


def test_verification_confirms_a_provisional_usage(as_manager, electricity, takes_latest):
    record(as_manager, electricity)
    exported = as_manager.get("/usages/export")
    verified = as_manager.post("/verify", data=exported.text, content_type="text/csv")
    assert verified.status_code == 200, verified.text
    assert "provisional" in exported.text
    assert (verified.json["reproduced"], verified.json["differing"]) == (1, 0), verified.json

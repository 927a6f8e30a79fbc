"""Valuations: location-based, market-based and upstream numbers of one recording, with their frozen scopes."""

import json
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.support import factories
from tests.support.client import query_now

UK_ELECTRICITY = {"location": "0.177", "t_and_d": "0.01853", "wtt_generation": "0.0459", "wtt_t_and_d": "0.00397"}


@pytest.fixture
def electricity(as_admin, as_manager):
    """The id of a type of purchased electricity, with the UK's factors of 2025 and three upstream lines."""
    grid = factories.usage_type("UK electricity", "kWh", scope=2, category="purchased_electricity", factor="0.177")
    for line, factor in UK_ELECTRICITY.items():
        if line != "location":
            of_line = factories.usage_type(line, "kWh", scope=3, category="fuel_and_energy_related", factor=factor)
            answer = as_admin.post(
                f"/usage-types/{grid.id}/upstream-lines", json={"line": line, "factor_type_id": of_line.id}
            )
            assert answer.status_code == 201, answer.json
    return grid.id


def record(client, usage_type_id, amount=10_000, **fields):
    usage = {"usage_type_id": usage_type_id, "usage_at": "2025-03-01T00:00:00Z", "amount": amount}
    answer = client.post("/usages", json=usage | fields)
    assert answer.status_code == 201, answer.json
    return answer.json


def enter_market_factor(client, usage_type_id, factor, **fields):
    new = {"factor": factor, "valid_from": "2020-01-01T00:00:00Z", "source": "a contract", "method": "market"}
    assert client.post(f"/usage-types/{usage_type_id}/factors", json=new | fields).status_code == 201


def test_one_recording_gives_every_line(as_manager, electricity):
    usage = record(as_manager, electricity)
    lines = {line["line"]: line for line in as_manager.get(f"/usages/{usage['id']}/explain").json["lines"]}

    assert {name: line["co2e_kg"] for name, line in lines.items()} == {
        "location": 1770,
        "market": 1770,
        "t_and_d": 185.3,
        "wtt_generation": 459,
        "wtt_t_and_d": 39.7,
    }
    assert [lines["market"]["fallback"], lines["location"]["fallback"]] == [True, False]
    assert (usage["co2e_kg"], usage["market_co2e_kg"]) == (1770, 1770)
    summary = as_manager.get("/emissions/summary").json
    assert (summary["co2e_kg"], summary["usage_count"]) == (2454, 1)
    assert {group["id"]: group["co2e_kg"] for group in summary["by_scope"]} == {2: 1770, 3: 684}
    assert {group["name"]: group["co2e_kg"] for group in summary["by_category"]} == {
        "purchased_electricity": 1770,
        "fuel_and_energy_related": 684,
    }


def test_residual_mix_changes_scope_2_only(as_manager, electricity):
    enter_market_factor(as_manager, electricity, "0.70147", region="DE")
    usage = record(as_manager, electricity, region="DE")

    assert (usage["co2e_kg"], usage["market_co2e_kg"]) == (1770, 7014.7)
    by_method = {
        method: as_manager.get(f"/emissions/summary?method={method}").json for method in ("location", "market")
    }
    scopes = {
        method: {group["id"]: group["co2e_kg"] for group in summary["by_scope"]}
        for method, summary in by_method.items()
    }
    assert scopes == {"location": {2: 1770, 3: 684}, "market": {2: 7014.7, 3: 684}}
    for summary in by_method.values():
        assert (summary["location_co2e_kg"], summary["market_co2e_kg"]) == (2454, 7698.7)


def test_certificates_have_a_market_factor_of_zero(as_manager, electricity):
    enter_market_factor(as_manager, electricity, "0")
    usage = record(as_manager, electricity)
    market = as_manager.get(f"/usages/{usage['id']}/explain").json["lines"][1]

    assert (usage["market_co2e_kg"], market["line"], market["fallback"]) == (0, "market", False)


def test_new_scope_of_a_type_moves_nothing_recorded(as_admin, as_manager):
    gas = factories.usage_type("gas", "kWh", scope=1, category="stationary_combustion", factor="0.2")
    record(as_manager, gas.id)
    question = f"/emissions/summary?by=scope&as_of={query_now()}"
    before = as_manager.get(question).json

    changes = {"scope": 3, "category": "downstream_leased_assets"}
    etag = as_admin.get(f"/usage-types/{gas.id}").headers["ETag"]
    assert as_admin.patch(f"/usage-types/{gas.id}", json=changes, headers={"If-Match": etag}).status_code == 200
    record(as_manager, gas.id)

    assert as_manager.get(question).json == before
    now = as_manager.get("/emissions/summary?by=scope").json
    assert {group["id"]: group["co2e_kg"] for group in now["by_scope"]} == {1: 2000, 3: 2000}


def test_restatement_moves_usages_to_a_new_scope(as_admin, as_manager):
    gas = factories.usage_type("gas", "kWh", scope=1, factor="0.2")
    usage = record(as_manager, gas.id)
    etag = as_admin.get(f"/usage-types/{gas.id}").headers["ETag"]
    as_admin.patch(f"/usage-types/{gas.id}", json={"scope": 3}, headers={"If-Match": etag})

    assert [found["id"] for found in as_manager.get("/usages?outdated=true").json] == [usage["id"]]
    ask = {"usage_type_ids": [gas.id], "reason": "The boiler is the landlord's.", "mode": "apply"}
    restated = as_manager.post("/restatements", json=ask).json
    assert (restated["usage_count"], restated["difference_kg"]) == (1, 0)
    assert as_manager.get("/usages?outdated=true").json == []
    assert [group["id"] for group in as_manager.get("/emissions/summary").json["by_scope"]] == [3]


def test_line_outside_of_scopes_is_in_no_total(as_manager):
    wood = factories.usage_type("biogenic wood", "kWh", scope=None, outside_of_scopes=True, factor="0.35")
    usage = record(as_manager, wood.id)
    summary = as_manager.get("/emissions/summary").json

    assert (usage["co2e_kg"], summary["co2e_kg"], summary["usage_count"]) == (3500, 0, 1)


def test_usages_of_one_choice_share_a_valuation(as_manager, as_member, electricity):
    ids = {
        record(client, electricity, amount)["valuation_id"] for client in (as_manager, as_member) for amount in (1, 2)
    }
    other = record(as_manager, electricity, region="FR")["valuation_id"]

    assert (len(ids), other in ids) == (1, False)


def test_later_factor_begins_another_valuation(as_manager, electricity):
    first = record(as_manager, electricity)
    new = {"factor": "0.1", "valid_from": "2025-06-01T00:00:00Z", "source": "a contract"}
    assert as_manager.post(f"/usage-types/{electricity}/factors", json=new).status_code == 201

    again, later = record(as_manager, electricity), record(as_manager, electricity, usage_at="2025-07-01T00:00:00Z")

    assert [usage["factor"] for usage in (first, again, later)] == [0.177, 0.177, 0.1]
    assert as_manager.get("/usages?outdated=true").json == []


def test_time_after_a_factor_has_its_own_valuation(as_manager):
    gas = factories.usage_type("gas", "kWh", factor="0.2")
    own = {"organization_id": as_manager.user.organization_id}
    factories.emission_factor(gas, "0.1", "2025-01-01", "2026-01-01", **own)
    times = ("2025-07-01", "2024-07-01", "2026-07-01")

    assert [record(as_manager, gas.id, usage_at=f"{day}T00:00:00Z")["factor"] for day in times] == [0.1, 0.2, 0.2]


def test_deleted_upstream_line_stays_in_recorded_usages(as_admin, as_manager, electricity):
    usage = record(as_manager, electricity)
    path = f"/usage-types/{electricity}/upstream-lines"
    (line, *_) = as_manager.get(path).json
    assert as_manager.delete(f"{path}/{line['id']}").status_code == 403
    assert as_admin.delete(f"{path}/{line['id']}", headers={"If-Match": "*"}).status_code == 204

    explained = as_manager.get(f"/usages/{usage['id']}/explain").json
    assert (line["line"] in {each["line"] for each in explained["lines"]}, explained["outdated"]) == (True, True)
    later = as_manager.get(f"/usages/{record(as_manager, electricity)['id']}/explain").json
    assert line["line"] not in {each["line"] for each in later["lines"]}


factor = st.decimals(0, 10, places=5)
amount = st.decimals(Decimal("0.001"), 10_000, places=3)


# Every example adds to one ledger, so a smaller failing one cannot be searched for.
@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example([(Decimal("0.5"), Decimal("0.1"), Decimal(10), 3), (Decimal("0.5"), Decimal("0.1"), Decimal(10), 2)])
@given(st.lists(st.tuples(factor, st.none() | factor, amount, st.sampled_from([1, 2, 3])), min_size=1, max_size=4))
def test_methods_differ_by_scope_2_only(as_manager, usages):
    for location, market, used, scope in usages:
        type_ = factories.usage_type(scope=scope, factor=str(location))
        if market is not None:
            factories.emission_factor(type_, str(market), method="market")
        record(as_manager, type_.id, str(used))
    totals, scope_2 = [], []
    for method in ("location", "market"):
        answer = as_manager.get(f"/emissions/summary?method={method}")
        summary = json.loads(answer.text, parse_float=Decimal)
        totals.append(summary["co2e_kg"])
        scope_2.append(sum(group["co2e_kg"] for group in summary["by_scope"] if group["id"] == 2))

    assert totals[1] - totals[0] == scope_2[1] - scope_2[0]

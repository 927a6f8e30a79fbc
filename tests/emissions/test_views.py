"""Trend and summary through HTTP."""

import pytest

from tests.support import factories
from tests.support.figures import by_both_methods


@pytest.fixture
def ledger(as_manager, as_member):
    """Three usages of a manager and one of a member, of two types and scopes."""
    power = factories.usage_type("power", "kWh", factor="0.5", scope=2)
    gas = factories.usage_type("gas", "m3", factor="2", scope=1)
    factories.usage(as_manager.user, "10", "2024-01-15T12:00", power.id)
    factories.usage(as_manager.user, "0.1", "2024-01-31T23:30", power.id)
    factories.usage(as_manager.user, "3", "2024-03-01T00:00", gas.id)
    factories.usage(as_member.user, "1", "2024-03-31T22:30", power.id, quality="estimated")
    return power, gas


def test_trend_includes_empty_buckets(as_manager, ledger):
    trend = as_manager.get("/emissions/trend?start=2024-01-01&end=2024-05-01").json

    assert trend == [
        {
            "bucket_start": "2024-01-01T00:00:00Z",
            "bucket_end": "2024-02-01T00:00:00Z",
            **by_both_methods(5.05),
            "usage_count": 2,
            "amount": 10.1,
            "unit": "kWh",
            "coverage": 0.258736,
            "estimated_share": 0,
            "partial": False,
        },
        {
            "bucket_start": "2024-02-01T00:00:00Z",
            "bucket_end": "2024-03-01T00:00:00Z",
            **by_both_methods(0),
            "usage_count": 0,
            "coverage": 0.275143,
            "estimated_share": None,
            "partial": False,
        },
        {
            "bucket_start": "2024-03-01T00:00:00Z",
            "bucket_end": "2024-04-01T00:00:00Z",
            **by_both_methods(6.5),
            "usage_count": 2,
            "coverage": 0.001344,
            "estimated_share": 0.076923,
            "partial": False,
        },
        {
            "bucket_start": "2024-04-01T00:00:00Z",
            "bucket_end": "2024-05-01T00:00:00Z",
            **by_both_methods(0),
            "usage_count": 0,
            "coverage": 0.265277,
            "estimated_share": None,
            "partial": False,
        },
    ]


def test_trend_without_range_covers_all_usages(as_manager, ledger):
    trend = as_manager.get("/emissions/trend?bucket=month&timezone=Europe/Berlin").json

    # 23:30 UTC on 31 January is February in Berlin, and 22:30 UTC on 31 March is April.
    assert [(bucket["bucket_start"], bucket["co2e_kg"]) for bucket in trend] == [
        ("2023-12-31T23:00:00Z", 5),
        ("2024-01-31T23:00:00Z", 0.05),
        ("2024-02-29T23:00:00Z", 6),
        ("2024-03-31T22:00:00Z", 0.5),
    ]
    assert not any(bucket["partial"] for bucket in trend)


def test_trend_uses_the_organization_time_zone(as_manager, ledger):
    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"timezone": "Asia/Kathmandu"})

    trend = as_manager.get("/emissions/trend?bucket=day&start=2024-02-01&end=2024-02-02").json

    assert [(bucket["bucket_start"], bucket["usage_count"]) for bucket in trend] == [("2024-01-31T18:15:00Z", 1)]


def test_range_cuts_the_outer_buckets(as_manager, ledger):
    trend = as_manager.get("/emissions/trend?start=2024-01-20&end=2024-03-01T00:00:00.000001Z").json

    assert [(bucket["usage_count"], bucket["partial"]) for bucket in trend] == [(1, True), (0, False), (1, True)]


def test_figures_without_usages_are_empty(as_manager):
    assert as_manager.get("/emissions/trend").json == []
    assert as_manager.get("/emissions/trend?end=2024-01-01").json == []
    assert len(as_manager.get("/emissions/trend?start=2024-01-01&end=2025-01-01").json) == 12
    assert as_manager.get("/emissions/summary").json == {
        **by_both_methods(0),
        "usage_count": 0,
        "restatement_ids": [],
        "by_scope": [],
        "by_category": [],
        "by_usage_type": [],
        "by_user": [],
    }


@pytest.mark.parametrize("group_by", ["usage_type", "user", "scope", "category", "organization"])
def test_groups_add_up_to_their_bucket(as_manager, as_member, ledger, group_by):
    power, gas = ledger
    manager, member = as_manager.user, as_member.user
    organization_id = manager.organization_id
    name = as_manager.get(f"/organizations/{organization_id}").json["name"]
    of_gas = {**by_both_methods(6), "usage_count": 1, "amount": 3, "unit": "m3"}
    of_power = {**by_both_methods(0.5), "usage_count": 1, "amount": 1, "unit": "kWh"}
    expected = {
        "usage_type": [{"id": power.id, "name": "power"} | of_power, {"id": gas.id, "name": "gas"} | of_gas],
        "user": [{"id": manager.id, "name": "Somebody"} | of_gas, {"id": member.id, "name": "Somebody"} | of_power],
        "scope": [{"id": 1, "name": "scope 1"} | of_gas, {"id": 2, "name": "scope 2"} | of_power],
        "category": [{"id": None, "name": None, **by_both_methods(6.5), "usage_count": 2}],
        "organization": [{"id": organization_id, "name": name, **by_both_methods(6.5), "usage_count": 2}],
    }[group_by]

    trend = as_manager.get(f"/emissions/trend?group_by={group_by}&start=2024-02-01&end=2024-04-01").json

    assert (trend[0]["groups"], trend[0]["usage_count"]) == ([], 0)
    assert (trend[1]["groups"], trend[1]["co2e_kg"], trend[1]["usage_count"]) == (expected, 6.5, 2)


@pytest.mark.parametrize(
    ("query", "co2e_kg"),
    [
        ("scope=1", 6),
        ("scope=1&scope=2", 11.55),
        ("quality=estimated", 0.5),
        ("start=2024-03-01&end=2024-03-01T00:00:01Z", 6),
        ("end=2024-01-31T23:30:00Z", 5),
    ],
)
def test_trend_and_summary_have_the_filters_of_the_list(as_manager, ledger, query, co2e_kg):
    assert as_manager.get(f"/emissions/summary?{query}").json["co2e_kg"] == co2e_kg
    assert sum(bucket["co2e_kg"] for bucket in as_manager.get(f"/emissions/trend?{query}").json) == co2e_kg


def test_summary_has_shares(as_manager, as_member, ledger):
    power, gas = ledger

    summary = as_manager.get("/emissions/summary").json

    assert (summary["co2e_kg"], summary["usage_count"]) == (11.55, 4)
    assert summary["by_scope"] == [
        {
            "id": 1,
            "name": "scope 1",
            **by_both_methods(6),
            "usage_count": 1,
            "amount": 3,
            "unit": "m3",
            "share": 0.519481,
        },
        {
            "id": 2,
            "name": "scope 2",
            **by_both_methods(5.55),
            "usage_count": 3,
            "amount": 11.1,
            "unit": "kWh",
            "share": 0.480519,
        },
    ]
    assert [(part["id"], part["share"]) for part in summary["by_usage_type"]] == [
        (gas.id, 0.519481),
        (power.id, 0.480519),
    ]
    assert [(part["id"], part["co2e_kg"]) for part in summary["by_user"]] == [
        (as_manager.user.id, 11.05),
        (as_member.user.id, 0.5),
    ]


def test_zero_total_has_no_shares(as_manager):
    factories.usage(as_manager.user, "0")

    summary = as_manager.get("/emissions/summary").json

    assert (summary["co2e_kg"], summary["by_scope"][0]["share"]) == (0, None)


def test_figures_are_of_the_usages_visible_to_the_actor(as_member, as_auditor, as_other_manager, ledger):
    assert as_member.get("/emissions/summary").json["co2e_kg"] == 0.5
    assert as_auditor.get("/emissions/summary").json["co2e_kg"] == 11.55
    assert as_other_manager.get("/emissions/summary").json["usage_count"] == 0


def test_deleted_user_keeps_figures_without_a_name(as_manager, as_member, ledger):
    assert as_manager.delete(f"/users/{as_member.user.id}").status_code == 204

    by_user = as_manager.get("/emissions/summary").json["by_user"]

    assert [(part["id"], part["name"], part["co2e_kg"]) for part in by_user] == [
        (as_manager.user.id, "Somebody", 11.05),
        (as_member.user.id, None, 0.5),
    ]


@pytest.mark.parametrize(
    ("query", "argument"),
    [("bucket=decade", "bucket"), ("group_by=mood", "group_by"), ("page=1", "page"), ("sort=id", "sort"),
     ("bucket=hour&start=1900-01-01&end=2200-01-01", "bucket")],
)  # fmt: skip
def test_invalid_trend_argument_is_422(as_manager, query, argument):
    answer = as_manager.get(f"/emissions/trend?{query}")

    assert (answer.status_code, list(answer.json["errors"]["query"])) == (422, [argument])


def test_usages_outside_of_scopes_are_in_no_total(as_manager):
    wood = factories.usage_type("wood", factor="0.35", outside_of_scopes=True)
    gas = factories.usage_type("gas", factor="0.2")
    for usage_type in (wood, gas):
        factories.usage(as_manager.user, "100", "2024-03-01", usage_type.id)

    summary = as_manager.get("/emissions/summary").json
    assert (summary["co2e_kg"], summary["usage_count"]) == (20, 2)
    assert {group["name"]: group["co2e_kg"] for group in summary["by_usage_type"]} == {"gas": 20, "wood": 0}
    (month,) = as_manager.get("/emissions/trend").json
    assert month["co2e_kg"] == 20
    years = "start=2024-01-01&end=2025-01-01&compare_start=2023-01-01&compare_end=2024-01-01"
    assert as_manager.get(f"/emissions/bridge?{years}").json["after_kg"] == 20

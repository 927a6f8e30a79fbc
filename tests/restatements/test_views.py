"""Restatements through HTTP: preview, apply, and traceability."""

import pytest

from carbonapi.db import db
from tests.support import factories
from tests.support.client import query_now


@pytest.fixture
def steam(as_manager, as_member):
    """Return a usage type with usages in three months. Two of the months have got a new factor since."""
    usage_type = factories.usage_type("steam", "kg", factor="2")
    for of, amount, usage_at in (
        (as_manager, "10", "2024-01-15"),
        (as_member, "0.1", "2024-01-31T23:30"),
        (as_member, "3", "2024-02-15"),
        (as_member, "5", "2024-03-15"),
    ):
        factories.usage(of.user, amount, usage_at, usage_type.id)
    factories.usage(as_member.user)
    own = {"organization_id": as_manager.user.organization_id}
    factories.emission_factor(usage_type, "1.5", "2024-01-01", "2024-03-01", **own)
    return usage_type


def restate(client, usage_type, as_mode, **fields):
    body = {"usage_type_ids": [usage_type.id], "reason": "why", "mode": as_mode}
    return client.post("/restatements", json=body | fields)


def changes(before, after, difference):
    """The kg CO2e of usages whose location-based and market-based numbers are equal."""
    figures = {"before_kg": before, "after_kg": after, "difference_kg": difference}
    return figures | {f"market_{name}": value for name, value in figures.items()}


def test_preview_returns_changes_without_making_them(as_manager, steam):
    before = as_manager.get("/usages").json

    answer = restate(as_manager, steam, "preview")

    assert answer.status_code == 200
    preview = answer.json
    assert preview.pop("recorded_at").endswith("Z")
    months = [
        {"month": "2024-01", "usage_count": 2} | changes(20.2, 15.15, -5.05),
        {"month": "2024-02", "usage_count": 1} | changes(6, 4.5, -1.5),
    ]
    assert preview == {
        "id": None,
        "organization_id": as_manager.user.organization_id,
        "usage_type_ids": [steam.id],
        "factor_set_id": None,
        "start": None,
        "end": None,
        "region": None,
        "site_id": None,
        "reason": "why",
        "usage_count": 3,
        **changes(26.2, 19.65, -6.55),
        "difference_percent": -25,
        "significance_threshold": 5,
        "significant": True,
        "months": months,
        "by_usage_type": [
            {
                "id": steam.id,
                "name": "steam",
                "unit": "kg",
                "usage_count": 3,
                **changes(26.2, 19.65, -6.55),
                "months": months,
            }
        ],
        "recorded_by": as_manager.user.id,
    }
    assert as_manager.get("/usages").json == before
    assert as_manager.get("/restatements").json == []


def test_apply_creates_versions_with_the_restatement_id(as_manager, as_member, steam):
    as_of = query_now()
    then = as_manager.get("/emissions/summary").json
    preview = restate(as_manager, steam, "preview").json

    answer = restate(as_manager, steam, "apply")

    assert answer.status_code == 201
    restatement = answer.json
    changed = ("id", "recorded_at")
    assert {k: v for k, v in restatement.items() if k not in changed} == {
        k: v for k, v in preview.items() if k not in changed
    }
    assert as_manager.get(answer.headers["Location"]).json == restatement
    assert as_manager.get("/restatements").json == [restatement]
    usages = as_manager.get(f"/usages?restatement_id={restatement['id']}&sort=usage_at").json
    assert [(usage["factor"], usage["co2e_kg"], usage["version"], usage["reason"]) for usage in usages] == [
        (1.5, 15, 2, "why"),
        (1.5, 0.15, 2, "why"),
        (1.5, 4.5, 2, "why"),
    ]
    versions = as_manager.get(f"/usages/{usages[0]['id']}/versions").json
    assert [(version["factor"], version["restatement_id"]) for version in versions] == [
        (2, None),
        (1.5, restatement["id"]),
    ]
    assert versions[0]["superseded_at"] == versions[1]["recorded_at"] == restatement["recorded_at"]
    summary = as_manager.get(f"/emissions/summary?usage_type_id={steam.id}").json
    assert (summary["co2e_kg"], summary["restatement_ids"]) == (29.65, [restatement["id"]])
    assert as_manager.get(f"/emissions/summary?as_of={as_of}").json == then


def test_applying_twice_changes_nothing(as_manager, steam):
    restate(as_manager, steam, "apply")
    before = as_manager.get("/usages").json

    again = restate(as_manager, steam, "apply")

    assert (again.status_code, again.json["usage_count"], again.json["id"]) == (200, 0, None)
    assert (again.json["difference_percent"], again.json["significant"]) == (None, False)
    assert as_manager.get("/usages").json == before
    assert len(as_manager.get("/restatements").json) == 1


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        ({"start": "2024-01-31T00:00:00Z"}, 2),
        ({"start": "2024-01-31T00:00:00Z", "end": "2024-02-15T00:00:00Z"}, 1),
        ({"region": "GB"}, 0),
        ({}, 3),
    ],
)
def test_range_and_region_limit_the_restatement(as_manager, steam, fields, number):
    assert restate(as_manager, steam, "apply", **fields).json["usage_count"] == number


def test_country_includes_its_subdivisions(as_manager, organization):
    heat = factories.usage_type("heat", "kg", factor="2")
    factories.usage(as_manager.user, "1", "2024-01-20", heat.id, region="GB-SCT")
    factories.emission_factor(heat, "1.5", organization_id=organization.id)

    assert restate(as_manager, heat, "preview", region="GB").json["usage_count"] == 1


def test_site_limits_the_restatement_with_those_below(as_manager, as_other_manager, organization):
    heat = factories.usage_type("heat", "kg", factor="2")
    germany, london = factories.site(organization, "Germany"), factories.site(organization, "London")
    berlin = factories.site(organization, "Berlin", parent=germany)
    factories.usage(as_manager.user, "7", "2024-01-20", heat.id, site_id=berlin.id)
    factories.usage(as_manager.user, "8", "2024-01-20", heat.id, site_id=london.id)
    factories.emission_factor(heat, "1.5", organization_id=organization.id)

    preview = restate(as_manager, heat, "preview", site_id=germany.id).json
    assert (preview["usage_count"], preview["before_kg"], preview["after_kg"]) == (1, 14, 10.5)
    applied = restate(as_manager, heat, "apply", site_id=germany.id).json
    assert applied["site_id"] == germany.id
    assert as_manager.get(f"/restatements?site_id={germany.id}").json == [applied]
    assert as_manager.get(f"/restatements?site_id={berlin.id}").json == []
    changed = as_manager.get(f"/usages?restatement_id={applied['id']}").json
    assert [usage["site_id"] for usage in changed] == [berlin.id]
    assert as_manager.delete(f"/sites/{germany.id}").status_code == 409

    for client in (as_manager, as_other_manager):
        other_site = london.id if client is as_other_manager else 987654321
        rejected = restate(client, heat, "apply", site_id=other_site)
        assert (rejected.status_code, list(rejected.json["errors"]["json"])) == (422, ["site_id"])


def test_months_use_the_organizations_time_zone(as_manager, steam):
    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"timezone": "Asia/Tokyo"})

    months = restate(as_manager, steam, "preview").json["months"]

    assert [(month["month"], month["usage_count"]) for month in months] == [("2024-01", 1), ("2024-02", 2)]


@pytest.mark.parametrize(("threshold", "significant"), [(24.99, True), (25, True), (25.01, False)])
def test_threshold_of_the_organization_sets_significance(as_manager, steam, threshold, significant):
    path = f"/organizations/{as_manager.user.organization_id}"
    assert as_manager.patch(path, json={"significance_threshold": threshold}).status_code == 200

    assert restate(as_manager, steam, "preview").json["significant"] is significant


def test_other_organizations_are_not_restated(as_manager, as_other_manager, steam):
    theirs = factories.usage(as_other_manager.user, usage_type_id=steam.id, usage_at="2024-01-15")
    factories.emission_factor(steam, 1, "2024-01-01", "2025-01-01", organization_id=theirs.organization_id)

    assert restate(as_manager, steam, "apply").json["usage_count"] == 3
    assert as_other_manager.get(f"/usages/{theirs.id}").json["factor"] == 2
    assert as_other_manager.get("/restatements").json == []


def test_restatement_requires_manager_and_valid_fields(as_member, as_auditor, as_manager, steam):
    for client in (as_member, as_auditor):
        assert restate(client, steam, "preview").status_code == 403
    for fields, field in (
        ({"usage_type_ids": [10**15]}, "usage_type_ids"),
        ({"factor_set_id": 10**15}, "factor_set_id"),
        ({"reason": " "}, "reason"),
        ({"mode": "undo"}, "mode"),
        ({"start": "2024-01-01T00:00:00Z", "end": "2024-01-01T00:00:00Z"}, "end"),
    ):
        answer = restate(as_manager, steam, "apply", **fields)
        assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, [field])


def test_new_factor_selection_clears_restatement_id(as_manager, steam):
    restatement = restate(as_manager, steam, "apply").json
    usage = as_manager.get(f"/usages?restatement_id={restatement['id']}").json[0]

    corrected = as_manager.patch(f"/usages/{usage['id']}", json={"amount": 1}).json
    assert corrected["restatement_id"] == restatement["id"]
    moved = as_manager.patch(f"/usages/{usage['id']}", json={"usage_at": "2024-03-01T00:00:00Z"}).json
    assert (moved["restatement_id"], moved["factor"]) == (None, 2)


def test_apply_is_one_statement(as_manager, steam, statements):
    restate(as_manager, steam, "apply")

    writes = [statement for statement in statements if "UPDATE usages" in statement]
    assert len(writes) == 1
    assert "INSERT INTO usage_versions" in writes[0]


def test_household_restatement_has_exact_totals(household):
    electricity = next(
        usage_type["id"]
        for usage_type in household.get("/usage-types").json
        if usage_type["name"] == "grid electricity"
    )
    as_of = query_now()
    factor = {
        "factor": 0.177,
        "valid_from": "2020-01-01T00:00:00Z",
        "valid_until": "2023-01-01T00:00:00Z",
        "source": "UK Government GHG Conversion Factors 2025",
        "region": "GB",
    }
    assert household.post(f"/usage-types/{electricity}/factors", json=factor).status_code == 201
    ask = {"usage_type_ids": [electricity], "reason": "One factor for all years"}

    for mode in ("preview", "apply"):
        answer = household.post("/restatements", json=ask | {"mode": mode})
        assert '"before_kg":804.35879851,"after_kg":670.763802,"difference_kg":-133.59499651,' in answer.text
        assert answer.json["usage_count"] == 23_508
        assert round(answer.json["difference_percent"], 1) == -16.6
    assert len(answer.json["months"]) == 33

    total = f"/emissions/summary?usage_type_id={electricity}"
    assert '"co2e_kg":670.763802,' in household.get(total).text
    assert '"co2e_kg":804.35879851,' in household.get(f"{total}&as_of={as_of}").text
    assert db.session.scalar(db.text("SELECT count(*) FROM usage_versions")) == 23_508


def test_months_of_a_bill_match_the_trend(as_manager):
    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"timezone": "Europe/Berlin"})
    usage_type = factories.usage_type("steam", "kg", factor="2")
    factories.usage(as_manager.user, "100", "2024-01-20", usage_type.id, usage_until=factories.at("2024-03-11T05:00"))
    factories.usage(as_manager.user, "5", "2024-02-15", usage_type.id)
    factories.emission_factor(usage_type, "3", organization_id=as_manager.user.organization_id)
    trend = "/emissions/trend?start=2024-01-01&end=2024-04-01"
    before = as_manager.get(trend).json

    answer = restate(as_manager, usage_type, "apply")

    after = as_manager.get(trend).json
    assert (answer.json["usage_count"], answer.json["before_kg"], answer.json["after_kg"]) == (2, 210, 315)
    assert [(month["usage_count"], month["before_kg"], month["after_kg"]) for month in answer.json["months"]] == [
        (b["usage_count"], b["co2e_kg"], a["co2e_kg"]) for b, a in zip(before, after, strict=True)
    ]
    assert [month["month"] for month in answer.json["months"]] == ["2024-01", "2024-02", "2024-03"]
    assert [month["usage_count"] for month in answer.json["months"]] == [1, 2, 1]


def test_totals_of_many_digits_are_exact(as_manager):
    usage_type = factories.usage_type("steam", "kg", factor="0.123456789012")
    for _ in range(3):
        factories.usage(as_manager.user, "999999999999.999999", "2024-01-20", usage_type.id)
    factories.emission_factor(usage_type, "999999999999.999999999999", organization_id=as_manager.user.organization_id)

    answer = restate(as_manager, usage_type, "preview")

    assert answer.status_code == 200
    # 3 × 999999999999.999999 × (999999999999.999999999999 − 0.123456789012)
    assert '"difference_kg":2999999999999629626632961.000000370370367039,' in answer.text
    assert as_manager.get("/emissions/trend?compare=previous_year").status_code == 200


@pytest.fixture
def corrected_edition(as_manager, steam):
    """The id of a factor set that supersedes the factor of another type than `steam`, and has an older usage of it."""
    gas = factories.usage_type("gas", "kWh")
    factors = f"/usage-types/{gas.id}/factors"
    factories.usage(as_manager.user, "1000", "2024-05-01", gas.id)
    edition = {"publisher": "Northern Gas", "edition": "2024, corrected"}
    set_id = as_manager.post("/factor-sets", json=edition).json["id"]
    own = {"factor": "1.9", "valid_from": "2024-01-01T00:00:00Z", "source": "Northern Gas", "factor_set_id": set_id}
    assert as_manager.post(factors, json=own).status_code == 201
    return set_id


def test_effect_of_a_factor_set_is_shown_before_it_is_applied(as_manager, steam, corrected_edition):
    effect = as_manager.get(f"/factor-sets/{corrected_edition}/effect").json

    assert {name: effect[name] for name in ("usage_count", "before_kg", "after_kg", "significant")} == {
        "usage_count": 1,
        "before_kg": 2000,
        "after_kg": 1900,
        "significant": True,
    }
    assert [(of["name"], of["difference_kg"]) for of in effect["by_usage_type"]] == [("gas", -100)]
    assert as_manager.get(f"/factor-sets/{corrected_edition}/effect?start=2024-06-01T00:00:00Z").json["months"] == []

    ask = {"factor_set_id": corrected_edition, "reason": "The supplier corrected its table.", "mode": "apply"}
    applied = as_manager.post("/restatements", json=ask).json
    assert {name: applied[name] for name in effect} == effect
    assert as_manager.get(f"/factor-sets/{corrected_edition}/effect").json["usage_count"] == 0


def test_effect_takes_the_range_of_figures(as_manager, corrected_edition):
    effect = f"/factor-sets/{corrected_edition}/effect"

    assert as_manager.get(f"{effect}?start=2024-05-01&end=2024-06-01&timezone=UTC").json["usage_count"] == 1
    assert as_manager.get(f"{effect}?start=2024-05-01&end=2024-06-01&region=GB").json["usage_count"] == 0
    answer = as_manager.get(f"{effect}?start=2024-06-01&end=2024-06-01")
    assert (answer.status_code, list(answer.json["errors"]["query"])) == (422, ["end"])


def test_every_unknown_usage_type_is_named(as_manager, steam):
    ask = {"usage_type_ids": [steam.id, 10**15, 10**15 + 1], "reason": "x"}
    (message,) = as_manager.post("/restatements", json=ask).json["errors"]["json"]["usage_type_ids"]

    assert f"{10**15}, {10**15 + 1}" in message


def test_everything_is_restated_in_one_act_by_type(as_manager, steam, corrected_edition):
    assert len(as_manager.get("/usages?outdated=true").json) == 4

    answer = as_manager.post("/restatements", json={"reason": "New factors", "mode": "apply"})

    by_type = {of["name"]: (of["usage_count"], of["difference_kg"]) for of in answer.json["by_usage_type"]}
    assert by_type == {"steam": (3, -6.55), "gas": (1, -100)}
    assert {month["month"]: month["difference_kg"] for month in answer.json["months"]} == {
        "2024-01": -5.05,
        "2024-02": -1.5,
        "2024-05": -100,
    }
    assert (answer.json["usage_type_ids"], answer.json["usage_count"], answer.json["difference_kg"]) == (
        None,
        4,
        -106.55,
    )
    assert as_manager.get("/usages?outdated=true").json == []


def test_restated_market_factor_is_shown(as_manager):
    power = factories.usage_type("power", "kWh", factor="0.2", scope=2)
    factories.usage(as_manager.user, "1000", "2024-05-01", power.id)
    own = {"organization_id": as_manager.user.organization_id}
    factories.emission_factor(power, "0.5", method="market", **own)

    preview = restate(as_manager, power, "preview").json

    assert (preview["difference_kg"], preview["market_before_kg"], preview["market_after_kg"]) == (0, 200, 500)
    assert preview["significant"]


def test_list_filters_by_usage_type_and_set(as_manager, steam, corrected_edition):
    first = restate(as_manager, steam, "apply").json["id"]
    ask = {"factor_set_id": corrected_edition, "reason": "Corrected", "mode": "apply"}
    second = as_manager.post("/restatements", json=ask).json["id"]

    for query, ids in (
        (f"usage_type_id={steam.id}", [first]),
        (f"factor_set_id={corrected_edition}", [second]),
        ("", [second, first]),
    ):
        assert [found["id"] for found in as_manager.get(f"/restatements?{query}").json] == ids

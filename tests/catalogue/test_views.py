"""The catalogue through HTTP."""

import pytest

from tests.support import factories

FACTOR = {"factor": 0.5, "valid_from": "2024-01-01T00:00:00Z", "source": "a table"}


def test_migrations_create_five_usage_types(as_member):
    first = as_member.get("/usage-types?sort=id").json[:5]

    assert [(kind["id"], kind["name"], kind["unit"], kind["factor"]) for kind in first] == [
        (100, "electricity", "kwh", 1.5),
        (101, "water", "kg", 26.93),
        (102, "heating", "kwh", 3.892),
        (103, "heating", "l", 8.57),
        (104, "heating", "m3", 19.456),
    ]
    factor = as_member.get("/usage-types/101/factors").json[0]
    assert (factor["source"], factor["valid_from"], factor["valid_until"], factor["region"]) == (
        "exercise",
        "1900-01-01T00:00:00Z",
        None,
        None,
    )


def test_admin_manages_usage_types(as_admin):
    made = as_admin.post("/usage-types", json={"name": "steam", "unit": "kg", "scope": 2})
    assert made.status_code == 201
    assert made.json["id"] >= 1000
    assert (made.json["factor"], made.json["archived"]) == (None, False)
    path = made.headers["Location"]

    assert as_admin.post(f"{path}/factors", json=FACTOR).status_code == 201
    assert as_admin.get(path).json["factor"] == 0.5
    changed = as_admin.patch(path, json={"category": "purchased_heat_steam_cooling"})
    assert (changed.json["category"], changed.json["scope"]) == ("purchased_heat_steam_cooling", 2)
    assert changed.json["factor"] == 0.5
    replaced = as_admin.put(path, json={"name": "steam", "unit": "kg"})
    assert (replaced.json["category"], replaced.json["scope"]) == (None, None)
    assert as_admin.delete(path).status_code == 204
    assert as_admin.get(path).status_code == 404


def test_shared_usage_types_are_read_only_except_for_admins(as_manager, as_member, as_auditor):
    for client in (as_manager, as_member, as_auditor):
        assert client.get("/usage-types/100").status_code == 200
        for rejected in (
            client.put("/usage-types/100", json={"name": "steam", "unit": "kg"}),
            client.patch("/usage-types/100", json={"name": "x"}),
            client.delete("/usage-types/100"),
        ):
            assert rejected.status_code == 403
    assert "Create one of your organization instead" in as_manager.delete("/usage-types/100").json["detail"]


def test_manager_creates_factors_of_own_organization(as_manager, as_member, as_other_manager, as_auditor):
    usage_type = factories.usage_type(factor="2")
    path = f"/usage-types/{usage_type.id}/factors"

    own = as_manager.post(path, json=FACTOR | {"valid_from": "1900-01-01T00:00:00Z"})

    assert (own.status_code, own.json["organization_id"]) == (201, as_manager.user.organization_id)
    assert [factor["factor"] for factor in as_member.get(f"{path}?sort=id").json] == [2, 0.5]
    assert [factor["factor"] for factor in as_other_manager.get(path).json] == [2]
    assert as_other_manager.get(own.headers["Location"]).status_code == 404
    assert as_manager.get(f"/usage-types/{usage_type.id}").json["factor"] == 2
    for client in (as_member, as_auditor):
        assert client.post(path, json=FACTOR).status_code == 403
    foreign = FACTOR | {"organization_id": as_other_manager.user.organization_id}
    rejected = as_manager.post(path, json=foreign)
    assert (rejected.status_code, list(rejected.json["errors"]["json"])) == (422, ["organization_id"])


def test_admins_factor_is_shared_by_default(as_admin, as_manager):
    usage_type = factories.usage_type(factor=None)
    path = f"/usage-types/{usage_type.id}/factors"
    theirs = {"organization_id": as_manager.user.organization_id}

    assert as_admin.post(path, json=FACTOR).json["organization_id"] is None
    assert as_admin.post(path, json=FACTOR | theirs).json["organization_id"] == as_manager.user.organization_id
    assert as_admin.post(path, json=FACTOR | theirs | {"method": "market"}).status_code == 201
    assert as_admin.post(path, json=FACTOR | {"valid_until": "2025-01-01T00:00:00Z"}).status_code == 409


def test_usage_type_name_and_unit_are_unique(as_admin):
    answer = as_admin.post("/usage-types", json={"name": "electricity", "unit": "kwh"})
    assert (answer.status_code, list(answer.json["errors"]["json"])) == (409, ["name"])
    assert as_admin.post("/usage-types", json={"name": "electricity", "unit": "MWh"}).status_code == 201


def test_usage_type_with_usages_cannot_be_deleted(as_admin, as_member):
    usage_type = factories.usage_type(name="peat")
    usage = factories.usage(as_member.user, usage_type_id=usage_type.id)

    rejected = as_admin.delete(f"/usage-types/{usage_type.id}")

    assert (rejected.status_code, "archived" in rejected.json["detail"]) == (409, True)
    assert as_admin.get(f"/usage-types/{usage_type.id}").json["factor"] == 2
    assert as_admin.patch(f"/usage-types/{usage_type.id}", json={"archived": True}).status_code == 200
    assert as_member.patch(f"/usages/{usage.id}", json={"amount": 7}).json["co2e_kg"] == 14
    assert usage_type.id not in [kind["id"] for kind in as_member.get("/usage-types?archived=false").json]


def test_open_factor_ends_the_previous_one(as_admin):
    usage_type = factories.usage_type(factor="2")
    path = f"/usage-types/{usage_type.id}/factors"

    assert as_admin.post(path, json=FACTOR).status_code == 201

    assert [(row["factor"], row["valid_from"], row["valid_until"]) for row in as_admin.get(path).json] == [
        (2, "1900-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        (0.5, "2024-01-01T00:00:00Z", None),
    ]


@pytest.mark.parametrize(
    ("valid_from", "valid_until", "region", "status"),
    [
        ("2022-01-01", "2023-01-01", None, 201),
        ("2020-06-01", "2020-07-01", None, 409),
        ("2019-01-01", "2020-01-01T00:00:00.000001", None, 409),
        ("2019-01-01", "2020-01-01", None, 201),
        ("2019-01-01", None, None, 409),
        ("2020-06-01", "2020-07-01", "GB", 201),
        ("2020-01-01", "2021-01-01", "FR", 409),
        ("2021-01-01", None, "FR", 201),
    ],
)
def test_factor_validity_cannot_overlap_within_a_region(as_admin, valid_from, valid_until, region, status):
    usage_type = factories.usage_type(factor=None)
    factories.emission_factor(usage_type, "1", "2020-01-01", "2021-01-01")
    factories.emission_factor(usage_type, "1", "2020-06-01", "2021-01-01", region="FR")
    path = f"/usage-types/{usage_type.id}/factors"
    until = factories.at(valid_until).isoformat() if valid_until else None

    answer = as_admin.post(
        path, json=FACTOR | {"valid_from": factories.at(valid_from).isoformat(), "valid_until": until, "region": region}
    )

    assert answer.status_code == status, answer.json
    if status == 409:
        assert list(answer.json["errors"]["json"]) == ["valid_from"]
        assert len(as_admin.get(path).json) == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"factor": -1}, "factor"),
        ({"factor": "0.1234567890123"}, "factor"),
        ({"factor": 10**12}, "factor"),
        ({"valid_from": "2024-01-01"}, "valid_from"),
        ({"valid_until": "2024-01-01T00:00:00Z"}, "valid_until"),
        ({"source": ""}, "source"),
        ({"region": "gb"}, "region"),
    ],
)
def test_invalid_factor_is_422_by_field(as_admin, changes, field):
    answer = as_admin.post("/usage-types/100/factors", json=FACTOR | changes)

    assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, [field])


def test_factor_is_found_only_under_its_type(as_member):
    factor = as_member.get("/usage-types/100/factors").json[0]

    assert as_member.get(f"/usage-types/100/factors/{factor['id']}").json == factor
    assert as_member.get(f"/usage-types/101/factors/{factor['id']}").status_code == 404
    assert as_member.get("/usage-types/999/factors").status_code == 404


def test_usage_type_etag_changes_with_current_factor(as_admin):
    before = as_admin.get("/usage-types/100").headers["ETag"]
    as_admin.post("/usage-types/100/factors", json=FACTOR)

    after = as_admin.get("/usage-types/100", headers={"If-None-Match": before})

    assert (after.status_code, after.json["factor"]) == (200, 0.5)
    assert as_admin.patch("/usage-types/100", json={}, headers={"If-Match": before}).status_code == 412

"""What members with sites see and may do: a member of Berlin sees nothing of London."""

import pytest

from carbonapi.accounts.sessions import actor_for_user
from tests.support import factories

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 2}


@pytest.fixture
def germany(organization):
    return factories.site(organization, "Germany")


@pytest.fixture
def berlin(organization, germany):
    return factories.site(organization, "Berlin", germany)


@pytest.fixture
def london(organization):
    return factories.site(organization, "London")


@pytest.fixture
def as_member_of_germany(as_manager, as_member, germany):
    answer = as_manager.put(f"/users/{as_member.user.id}/sites", json={"site_ids": [germany.id, germany.id]})
    assert answer.json == {"site_ids": [germany.id]}
    return as_member


@pytest.fixture
def recorded(as_manager, berlin, london):
    """The ids of a manager's usages in Berlin, in London, and nowhere."""
    places = ({"site_id": berlin.id}, {"site_id": london.id}, {})
    return [
        as_manager.post("/usages", json=USAGE | {"amount": 10**number} | place).json["id"]
        for number, place in enumerate(places)
    ]


def ids(answer):
    assert answer.status_code == 200, answer.text
    return sorted(row["id"] for row in answer.json)


def test_sites_of_a_user_are_set_by_managers(as_manager, as_auditor, as_member_of_germany, germany, london):
    path = f"/users/{as_member_of_germany.user.id}/sites"

    for client in (as_manager, as_auditor, as_member_of_germany):
        assert client.get(path).json == {"site_ids": [germany.id]}
    for client in (as_auditor, as_member_of_germany):
        assert client.put(path, json={"site_ids": [london.id]}).status_code == 403
    assert as_manager.put(path, json={"site_ids": [987654321]}).status_code == 422
    entries = as_manager.get("/audit-entries?subject=user%20site").json
    assert [(entry["subject_id"], entry["old"], entry["new"]) for entry in entries] == [
        (as_member_of_germany.user.id, {"site_ids": []}, {"site_ids": [germany.id]})
    ]


def test_member_sees_sites_and_meters_of_their_sites(as_member_of_germany, as_auditor, germany, berlin, london):
    meters = [factories.meter(site) for site in (berlin, london)]

    assert ids(as_member_of_germany.get("/sites")) == [germany.id, berlin.id]
    assert ids(as_member_of_germany.get("/meters")) == [meters[0].id]
    assert as_member_of_germany.get(f"/meters?site_id={london.id}").json == []
    assert as_member_of_germany.get("/sites/export").text.count("\n") == 3
    assert as_member_of_germany.get("/meters/export").text.count("\n") == 2
    for path in (f"/sites/{london.id}", f"/sites/{london.id}/shares", f"/meters/{meters[1].id}"):
        assert as_member_of_germany.get(path).status_code == 404
    assert len(as_auditor.get("/sites").json) == 3


def test_member_without_sites_sees_all_sites_and_own_usages(as_member, recorded, berlin, london, germany):
    assert ids(as_member.get("/sites")) == sorted([germany.id, berlin.id, london.id])
    assert as_member.get("/usages").json == []
    assert as_member.post("/usages", json=USAGE | {"site_id": london.id}).status_code == 201


def test_member_sees_usages_of_their_sites(as_manager, as_member_of_germany, recorded, london):
    client, (berlins, londons, others) = as_member_of_germany, recorded
    own = client.post("/usages", json=USAGE | {"amount": 1000}).json["id"]
    now = factories.now().isoformat().replace("+00:00", "Z")

    for query in ("?", f"?as_of={now}&"):
        assert ids(client.get(f"/usages{query}")) == [berlins, own]
        assert client.get(f"/emissions/summary{query}").json["co2e_kg"] == 1501.5
        assert client.get(f"/emissions/trend{query}bucket=year").json[0]["usage_count"] == 2
        assert client.get(f"/usages/export{query}format=ndjson").text.count("\n") == 2
        assert client.get(f"/usages{query}site_id={london.id}").json == []
    bridge = "/emissions/bridge?start=2024-01-01&end=2025-01-01&compare_start=2023-01-01&compare_end=2024-01-01"
    assert client.get(bridge).json["after_kg"] == 1501.5
    assert [change["usage_id"] for change in client.get("/changes").json] == [berlins, own]
    assert client.get(f"/usages/{berlins}/versions").status_code == 200
    for usage_id in (londons, others):
        for path in ("", "/versions", "/explain"):
            assert client.get(f"/usages/{usage_id}{path}").status_code == 404


def test_member_corrects_and_deletes_at_their_sites(as_member_of_germany, recorded, berlin):
    client, (berlins, londons, _) = as_member_of_germany, recorded

    assert client.patch(f"/usages/{berlins}", json={"amount": 3}).json["amount"] == 3
    assert client.patch(f"/usages/{londons}", json={"amount": 3}).status_code == 404
    assert client.delete(f"/usages?id={berlins}&id={londons}").status_code == 404
    assert client.delete(f"/usages?id={berlins}").status_code == 204
    assert client.post("/usages", json=USAGE | {"site_id": berlin.id}).status_code == 201


def test_member_records_nothing_at_other_sites(as_member_of_germany, recorded, london):
    client, meter = as_member_of_germany, factories.meter(london)

    for place, field in (({"site_id": london.id}, "site_id"), ({"meter_id": meter.id}, "meter_id")):
        for answer in (
            client.post("/usages", json=USAGE | place),
            client.patch(f"/usages/{recorded[0]}", json=place),
            client.put(f"/usages/{recorded[0]}", json=USAGE | place),
        ):
            assert answer.status_code == 422
            assert list(answer.json["errors"]["json"]) == [field]
    assert client.post("/usages", json=USAGE).status_code == 201  # At no site.


def test_usage_that_leaves_the_sites_of_a_member_is_deleted(as_manager, as_member_of_germany, recorded, berlin, london):
    path = f"/usages/{recorded[0]}"
    moves = ({"site_id": london.id}, {"amount": 5}, {"site_id": berlin.id}, {"amount": 7})
    for change in moves:
        assert as_manager.patch(path, json=change).status_code == 200

    changes = as_member_of_germany.get("/changes").json

    assert [(change["kind"], change["version"]) for change in changes if change["usage_id"] == recorded[0]] == [
        ("recorded", 1), ("deleted", 1), ("corrected", 4), ("corrected", 5),
    ]  # fmt: skip
    versions = as_member_of_germany.get(f"{path}/versions").json
    assert [version["version"] for version in versions] == [1, 4, 5]


def test_own_usage_of_a_member_stays_visible_elsewhere(as_manager, as_member_of_germany, berlin, london):
    usage = as_member_of_germany.post("/usages", json=USAGE | {"site_id": berlin.id}).json
    as_manager.patch(f"/usages/{usage['id']}", json={"site_id": london.id})

    changes = as_member_of_germany.get("/changes").json

    assert [change["kind"] for change in changes] == ["recorded", "corrected"]
    corrected = as_member_of_germany.patch(f"/usages/{usage['id']}", json={"usage_at": "2024-02-01T00:00:00Z"})
    assert (corrected.status_code, corrected.json["site_id"]) == (200, london.id)


def test_new_sites_apply_at_once(app, as_manager, as_member, germany, berlin, london, recorded, monkeypatch):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 60)
    path = f"/users/{as_member.user.id}/sites"
    assert as_member.get("/usages").json == []

    as_manager.put(path, json={"site_ids": [germany.id]})
    assert ids(as_member.get("/usages")) == [recorded[0]]
    as_manager.patch(f"/sites/{london.id}", json={"parent_id": germany.id})
    assert ids(as_member.get("/usages")) == recorded[:2]
    as_manager.put(path, json={"site_ids": []})
    assert as_member.get("/usages").json == []


def test_sites_apply_to_keys_and_background_jobs(app, as_member_of_germany, germany, berlin, recorded):
    client = as_member_of_germany
    key = client.post("/api-keys", json={"name": "x", "scope": "read"}).json["key"]
    client.tokens["access_token"] = key

    assert ids(client.get("/usages")) == [recorded[0]]
    assert actor_for_user(client.user.id).site_ids == (germany.id, berlin.id)


def test_sites_do_not_limit_other_roles(as_manager, as_auditor, germany, recorded):
    for client in (as_manager, as_auditor):
        path = f"/users/{client.user.id}/sites"
        assert as_manager.put(path, json={"site_ids": [germany.id]}).status_code == 200
        assert ids(client.get("/usages")) == recorded
        assert len(client.get("/sites").json) == 3

"""Sites, their ownership, and meters."""

import pytest
import sqlalchemy as sa

from carbonapi.db import db
from tests.support import factories
from tests.support.databases import fetch_all


@pytest.fixture
def germany(organization):
    return factories.site(organization, "Germany", region="DE")


@pytest.fixture
def berlin(organization, germany):
    return factories.site(organization, "Berlin", germany, external_id="BER")


def paths():
    return dict(map(tuple, fetch_all("SELECT id, path FROM sites")))


def names(answer):
    return [row["name"] for row in answer.json]


def test_site_is_created_read_changed_and_deleted(as_manager):
    made = as_manager.post("/sites", json={"name": "Berlin", "region": "DE", "external_id": "BER"})
    path = f"/sites/{made.json['id']}"

    assert made.status_code == 201
    assert made.json | {"id": 0, "organization_id": 0, "created_at": ""} == {
        "id": 0, "organization_id": 0, "name": "Berlin", "parent_id": None, "region": "DE", "external_id": "BER",
        "archived": False, "created_at": "",
    }  # fmt: skip
    read = as_manager.get(path)
    assert read.json == made.json and read.headers["ETag"] == made.headers["ETag"]
    assert as_manager.get(path, headers={"If-None-Match": read.headers["ETag"]}).status_code == 304
    changed = as_manager.patch(path, json={"name": "Potsdam"}, headers={"If-Match": read.headers["ETag"]})
    assert (changed.status_code, changed.json["name"], changed.json["region"]) == (200, "Potsdam", "DE")
    assert as_manager.patch(path, json={}, headers={"If-Match": read.headers["ETag"]}).status_code == 412
    assert as_manager.delete(path).status_code == 204
    assert as_manager.get(path).status_code == 404
    actions = [entry["action"] for entry in as_manager.get("/audit-entries?subject=site&sort=id").json]
    assert actions == ["created", "changed", "deleted"]


def test_site_names_and_external_ids_are_unique(as_manager, berlin, germany):
    taken = as_manager.post("/sites", json={"name": "Berlin", "parent_id": germany.id})
    known = as_manager.post("/sites", json={"name": "Other", "external_id": "BER"})

    assert (taken.status_code, known.status_code) == (409, 409)
    assert taken.json["errors"] == {"json": {"name": ["A site with this name already exists below the same parent."]}}
    assert "external_id" in known.json["errors"]["json"]
    assert as_manager.post("/sites", json={"name": "Berlin"}).status_code == 201  # Below another parent: none.


def test_site_lists_filter_and_sort(as_manager, organization, germany, berlin):
    factories.site(organization, "Altona", germany, archived=True)

    assert names(as_manager.get("/sites?sort=name")) == ["Altona", "Berlin", "Germany"]
    assert names(as_manager.get(f"/sites?parent_id={germany.id}")) == ["Berlin", "Altona"]
    assert names(as_manager.get("/sites?archived=false&q=ber")) == ["Berlin"]
    assert names(as_manager.get("/sites?external_id=BER")) == names(as_manager.get("/sites?q=BER")) == ["Berlin"]
    assert names(as_manager.get("/sites?region=DE")) == ["Germany"]


def test_moved_site_takes_its_descendants_along(as_manager, organization, germany, berlin):
    floor = factories.site(organization, "Floor", berlin)
    room = factories.site(organization, "Room", floor)
    poland = factories.site(organization, "Poland")

    assert as_manager.patch(f"/sites/{berlin.id}", json={"parent_id": poland.id}).status_code == 200

    assert paths()[berlin.id] == [poland.id, berlin.id]
    assert paths()[room.id] == [*paths()[floor.id], room.id] == [poland.id, berlin.id, floor.id, room.id]
    assert as_manager.patch(f"/sites/{berlin.id}", json={"parent_id": None}).json["parent_id"] is None
    assert paths()[room.id] == [berlin.id, floor.id, room.id]


def test_site_cannot_be_below_itself(as_manager, germany, berlin):
    for parent in (germany, berlin):
        answer = as_manager.patch(f"/sites/{germany.id}", json={"parent_id": parent.id})
        assert answer.status_code == 422
        assert list(answer.json["errors"]["json"]) == ["parent_id"]


def test_tree_has_at_most_ten_levels(as_manager, organization):
    parent, chain = None, []
    for _ in range(10):
        parent = factories.site(organization, parent=parent)
        chain.append(parent)
    top = factories.site(organization)

    deeper = as_manager.post("/sites", json={"name": "Eleventh", "parent_id": parent.id})
    moved = as_manager.patch(f"/sites/{chain[0].id}", json={"parent_id": top.id})

    for answer in (deeper, moved):
        assert answer.status_code == 422
        assert "10 levels" in answer.json["errors"]["json"]["parent_id"][0]


def test_used_site_is_not_deleted(as_manager, organization, germany, berlin):
    user = factories.user(organization)
    london = factories.site(organization, "London")
    assert as_manager.put(f"/users/{user.id}/sites", json={"site_ids": [london.id]}).status_code == 200
    factories.meter(berlin)

    for site in (germany, berlin, london):
        answer = as_manager.delete(f"/sites/{site.id}")
        assert answer.status_code == 409
        assert "archived" in answer.json["detail"]


def test_shares_of_ownership_are_replaced(as_manager, as_auditor, berlin):
    path = f"/sites/{berlin.id}/shares"
    first = {"valid_from": "2024-01-01", "equity_share": 0.5, "financial_control": True, "operational_control": True}
    second = first | {"valid_from": "2025-07-01", "equity_share": 0.83}

    assert as_manager.put(path, json={"shares": [second, first]}).json == {"shares": [first, second]}
    assert as_auditor.get(path).json == {"shares": [first, second]}
    assert as_manager.put(path, json={"shares": [second]}).json == {"shares": [second]}
    assert as_auditor.put(path, json={"shares": []}).status_code == 403
    for shares, field in (([first, first], "shares"), ([first | {"equity_share": 1.000001}], "0")):
        answer = as_manager.put(path, json={"shares": shares})
        assert answer.status_code == 422 and field in str(answer.json["errors"])
    entry = as_manager.get("/audit-entries?subject=site%20share&sort=-id").json[0]
    assert (entry["old"]["shares"], entry["new"]["shares"]) == ([first, second], [second])
    assert as_manager.delete(f"/sites/{berlin.id}").status_code == 204


def test_meter_is_created_read_changed_and_deleted(as_manager, berlin, germany):
    fields = {"site_id": berlin.id, "usage_type_id": 100, "name": "Main", "external_id": "19"}
    made = as_manager.post("/meters", json=fields | {"valid_from": "2020-01-01T00:00:00Z"})
    path = f"/meters/{made.json['id']}"

    assert made.status_code == 201
    assert made.json == as_manager.get(path).json
    assert made.json | fields == made.json
    changed = as_manager.patch(path, json={"site_id": germany.id}, headers={"If-Match": made.headers["ETag"]})
    assert changed.json["site_id"] == germany.id
    assert as_manager.patch(path, json={}, headers={"If-Match": made.headers["ETag"]}).status_code == 412
    assert names(as_manager.get("/meters?q=main")) == names(as_manager.get("/meters?external_id=19")) == ["Main"]
    assert as_manager.delete(path).status_code == 204
    actions = [entry["action"] for entry in as_manager.get("/audit-entries?subject=meter&sort=id").json]
    assert actions == ["created", "changed", "deleted"]


def test_meter_lists_include_those_below_a_site(as_manager, organization, germany, berlin):
    factories.meter(berlin, "B")
    factories.meter(germany, "G", usage_type_id=102)
    factories.meter(factories.site(organization, "London"), "L")

    assert names(as_manager.get(f"/meters?site_id={germany.id}")) == ["B", "G"]
    assert names(as_manager.get(f"/meters?site_id={berlin.id}&sort=-name")) == ["B"]
    assert names(as_manager.get("/meters?usage_type_id=102")) == ["G"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"site_id": 987654321}, "site_id"),
        ({"usage_type_id": 987654321}, "usage_type_id"),
        ({"replaced_by_id": 987654321}, "replaced_by_id"),
        ({"valid_from": "2020-01-01T00:00:00Z", "valid_until": "2020-01-01T00:00:00Z"}, "valid_until"),
    ],
)
def test_invalid_meter_is_rejected(as_manager, berlin, changes, field):
    answer = as_manager.post("/meters", json={"site_id": berlin.id, "usage_type_id": 100, "name": "x"} | changes)

    assert answer.status_code == 422
    assert list(answer.json["errors"]["json"]) == [field]


def test_meter_is_replaced_by_one_of_its_type(as_manager, berlin):
    old, new, gas = (factories.meter(berlin, usage_type_id=type_id) for type_id in (100, 100, 102))

    path = f"/meters/{old.id}"
    assert as_manager.patch(path, json={"replaced_by_id": new.id}).json["replaced_by_id"] == new.id
    for other in (old, gas):
        answer = as_manager.patch(path, json={"replaced_by_id": other.id})
        assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, ["replaced_by_id"])
    assert as_manager.delete(f"/meters/{new.id}").status_code == 409
    assert as_manager.patch(f"/meters/{new.id}", json={"usage_type_id": 102}).status_code == 409


def test_meter_names_are_unique_at_a_site(as_manager, berlin, germany):
    factories.meter(berlin, "Main", external_id="19")
    meter = {"usage_type_id": 100, "name": "Main"}

    assert as_manager.post("/meters", json=meter | {"site_id": berlin.id}).status_code == 409
    assert as_manager.post("/meters", json=meter | {"site_id": germany.id, "external_id": "19"}).status_code == 409
    assert as_manager.post("/meters", json=meter | {"site_id": germany.id}).status_code == 201


def test_sites_of_other_organizations_are_unknown(as_other_manager, organization, berlin):
    meter = factories.meter(berlin)

    for path in (f"/sites/{berlin.id}", f"/sites/{berlin.id}/shares", f"/meters/{meter.id}"):
        assert as_other_manager.get(path).status_code == 404
    for path, body, field in (
        ("/sites", {"name": "x", "parent_id": berlin.id}, "parent_id"),
        ("/meters", {"name": "x", "site_id": berlin.id, "usage_type_id": 100}, "site_id"),
    ):
        answer = as_other_manager.post(path, json=body)
        assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, [field])
    user = as_other_manager.user.id
    assert as_other_manager.put(f"/users/{user}/sites", json={"site_ids": [berlin.id]}).status_code == 422
    assert as_other_manager.get(f"/meters?site_id={berlin.id}").json == []


def test_admin_joins_no_rows_of_two_organizations(as_admin, as_other_manager, berlin):
    other = as_other_manager.post("/sites", json={"name": "Elsewhere"}).json
    meter = factories.meter(berlin)

    for method, path, body, field in (
        ("patch", f"/sites/{berlin.id}", {"parent_id": other["id"]}, "parent_id"),
        ("patch", f"/meters/{meter.id}", {"site_id": other["id"]}, "site_id"),
        ("put", f"/users/{as_other_manager.user.id}/sites", {"site_ids": [berlin.id]}, "site_ids"),
    ):
        answer = getattr(as_admin, method)(path, json=body)
        assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, [field])


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE sites SET parent_id = id, ancestor_ids = ARRAY[id] WHERE parent_id IS NULL", "ck_sites_cycle"),
        ("UPDATE meters SET replaced_by_id = id", "ck_meters_replaced_by_id"),
        ("UPDATE meters SET replaced_by_id = 0", "fk_meters_replaced_by_id"),
        ("UPDATE meters SET usage_type_id = 0", "fk_meters_usage_type_id"),
    ],
)
def test_invalid_row_violates_its_constraint(berlin, statement, constraint):
    factories.meter(berlin)

    with pytest.raises(sa.exc.IntegrityError) as error:
        db.session.execute(sa.text(statement))

    assert error.value.orig.diag.constraint_name == constraint

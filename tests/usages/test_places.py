"""The site and the meter of a usage."""

import pytest

from tests.support import factories
from tests.support.databases import fetch_all

USAGE = {"usage_at": "2024-01-31T12:00:00Z", "amount": 2}


@pytest.fixture
def germany(organization):
    return factories.site(organization, "Germany", region="DE")


@pytest.fixture
def berlin(organization, germany):
    return factories.site(organization, "Berlin", germany)


@pytest.fixture
def london(organization):
    return factories.site(organization, "London", region="GB")


@pytest.fixture
def meter(berlin):
    return factories.meter(berlin, "Main")


def place_of(answer):
    assert answer.status_code in (200, 201), answer.text
    return tuple(answer.json[name] for name in ("site_id", "meter_id", "usage_type_id", "region"))


def rejected(answer):
    assert answer.status_code == 422, answer.text
    return list(answer.json["errors"]["json"])


def test_usage_gets_site_type_and_region_of_its_meter(as_manager, berlin, meter):
    factories.emission_factor(factories.db.session.get(factories.UsageType, 100), 3, region="DE")

    recorded = as_manager.post("/usages", json=USAGE | {"meter_id": meter.id})

    assert place_of(recorded) == (berlin.id, meter.id, 100, "DE")
    assert recorded.json["factor"] == 3
    explained = as_manager.get(f"/usages/{recorded.json['id']}/explain").json
    assert explained["usage"]["meter_id"] == meter.id


def test_usage_at_a_site_has_its_nearest_region(as_manager, organization, berlin, london):
    nowhere = factories.site(organization, "Nowhere")
    usage = USAGE | {"usage_type_id": 100}

    assert place_of(as_manager.post("/usages", json=usage | {"site_id": berlin.id})) == (berlin.id, None, 100, "DE")
    assert place_of(as_manager.post("/usages", json=usage | {"site_id": nowhere.id})) == (nowhere.id, None, 100, None)
    own = as_manager.post("/usages", json=usage | {"site_id": london.id, "region": "FR"})
    assert place_of(own) == (london.id, None, 100, "FR")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"usage_type_id": 101}, "usage_type_id"),
        ({"site_id": "london"}, "site_id"),
        ({"meter_id": 987654321}, "meter_id"),
        ({"meter_id": None, "usage_type_id": 100, "site_id": 987654321}, "site_id"),
        ({"meter_id": None}, "usage_type_id"),
        ({"usage_at": "2019-12-31T23:59:59Z"}, "usage_at"),
        ({"usage_at": "2025-01-01T00:00:00Z"}, "usage_at"),
    ],
)
def test_contradictory_place_is_rejected(as_manager, berlin, london, changes, field):
    validity = {"valid_from": factories.at("2020-01-01"), "valid_until": factories.at("2025-01-01")}
    usage = USAGE | {"meter_id": factories.meter(berlin, **validity).id} | changes
    usage |= {"site_id": london.id} if usage.get("site_id") == "london" else {}

    assert rejected(as_manager.post("/usages", json=usage)) == [field]


def test_archived_site_and_meter_accept_no_usages(as_manager, berlin, meter):
    recorded = as_manager.post("/usages", json=USAGE | {"meter_id": meter.id}).json
    as_manager.patch(f"/sites/{berlin.id}", json={"archived": True})
    usage = USAGE | {"usage_at": "2024-02-29T12:00:00Z"}

    assert rejected(as_manager.post("/usages", json=usage | {"meter_id": meter.id})) == ["meter_id"]
    by_site = usage | {"usage_type_id": 100, "site_id": berlin.id}
    assert rejected(as_manager.post("/usages", json=by_site)) == ["site_id"]
    assert as_manager.patch(f"/usages/{recorded['id']}", json={"amount": 3, "usage_at": usage["usage_at"]}).json[
        "version"
    ]
    as_manager.patch(f"/sites/{berlin.id}", json={"archived": False})
    as_manager.patch(f"/meters/{meter.id}", json={"archived": True})
    assert rejected(as_manager.post("/usages", json=USAGE | {"meter_id": meter.id})) == ["meter_id"]


def test_meter_has_one_usage_at_a_time(as_manager, berlin, meter):
    first = as_manager.post("/usages", json=USAGE | {"meter_id": meter.id}).json

    again = as_manager.post("/usages", json=USAGE | {"meter_id": meter.id})

    assert again.status_code == 409
    assert list(again.json["errors"]["json"]) == ["usage_at"]
    assert "already has a usage at this time" in again.json["detail"]
    other = factories.meter(berlin)
    second = as_manager.post("/usages", json=USAGE | {"meter_id": other.id}).json
    assert as_manager.patch(f"/usages/{second['id']}", json={"meter_id": meter.id}).status_code == 409
    assert as_manager.delete(f"/usages/{first['id']}").status_code == 204
    assert as_manager.patch(f"/usages/{second['id']}", json={"meter_id": meter.id}).status_code == 200


def test_moved_meter_leaves_recorded_usages_where_they_are(as_manager, berlin, london, meter):
    before = as_manager.post("/usages", json=USAGE | {"meter_id": meter.id}).json
    path = f"/usages/{before['id']}"
    as_manager.patch(f"/meters/{meter.id}", json={"site_id": london.id})

    later = as_manager.post("/usages", json=USAGE | {"meter_id": meter.id, "usage_at": "2024-03-01T00:00:00Z"})

    assert place_of(later) == (london.id, meter.id, 100, "GB")
    assert place_of(as_manager.patch(path, json={"amount": 5, "note": "x"})) == (berlin.id, meter.id, 100, "DE")
    assert place_of(as_manager.patch(path, json={"usage_at": "2024-01-30T00:00:00Z"}))[0] == berlin.id
    replaced = as_manager.put(path, json=USAGE | {"meter_id": meter.id})
    assert place_of(replaced) == (berlin.id, meter.id, 100, "DE")
    assert place_of(as_manager.patch(path, json={"site_id": london.id})) == (london.id, meter.id, 100, "GB")


def test_correction_changes_the_place(as_manager, berlin, london, meter):
    gas = factories.meter(london, usage_type_id=102)
    path = f"/usages/{as_manager.post('/usages', json=USAGE | {'usage_type_id': 100}).json['id']}"

    def patch(**fields):
        return as_manager.patch(path, json=fields)

    assert place_of(patch(site_id=berlin.id)) == (berlin.id, None, 100, "DE")
    assert place_of(patch(meter_id=meter.id)) == (berlin.id, meter.id, 100, "DE")
    assert rejected(patch(usage_type_id=101)) == ["usage_type_id"]
    assert rejected(patch(site_id=london.id)) == ["site_id"]
    assert place_of(patch(meter_id=gas.id)) == (london.id, gas.id, 102, "GB")
    assert place_of(patch(meter_id=None)) == (london.id, None, 102, "GB")
    assert place_of(patch(region="FR")) == (london.id, None, 102, "FR")
    assert place_of(patch(region=None)) == (london.id, None, 102, "GB")
    assert place_of(patch(site_id=None)) == (None, None, 102, None)
    versions = as_manager.get(f"{path}/versions").json
    assert [version["site_id"] for version in versions][:4] == [None, berlin.id, berlin.id, london.id]


def test_usage_type_of_a_used_meter_stays(as_manager, meter):
    usage = as_manager.post("/usages", json=USAGE | {"meter_id": meter.id}).json

    for _ in range(2):  # With the usage, and with its versions alone.
        answer = as_manager.patch(f"/meters/{meter.id}", json={"usage_type_id": 101})
        assert (answer.status_code, list(answer.json["errors"]["json"])) == (409, ["usage_type_id"])
        assert as_manager.delete(f"/meters/{meter.id}").status_code == 409
        as_manager.delete(f"/usages/{usage['id']}")
    assert as_manager.patch(f"/meters/{meter.id}", json={"name": "Renamed"}).status_code == 200


@pytest.mark.parametrize("as_of", ["", "&as_of=now"])
def test_lists_and_figures_select_a_site_with_those_below(as_manager, germany, berlin, london, meter, as_of):
    places = ({"meter_id": meter.id}, {"site_id": germany.id}, {"site_id": london.id}, {})
    for month, place in enumerate(places, 1):
        usage = {"usage_type_id": 100, "usage_at": f"2024-{month:02}-01T00:00:00Z", "amount": 10**month}
        assert as_manager.post("/usages", json=usage | place).status_code == 201
    as_of = as_of.replace("now", factories.now().isoformat().replace("+00:00", "Z"))

    def total(query):
        amounts = [usage["amount"] for usage in as_manager.get(f"/usages?{query}{as_of}").json]
        figures = as_manager.get(f"/emissions/summary?{query}{as_of}").json
        trend = as_manager.get(f"/emissions/trend?{query}{as_of}&start=2024-01-01&end=2025-01-01&bucket=year").json
        exported = as_manager.get(f"/usages/export?{query}{as_of}&format=ndjson").text.count("\n")
        assert len(amounts) == figures["usage_count"] == trend[0]["usage_count"] == exported
        assert figures["co2e_kg"] == trend[0]["co2e_kg"] == sum(amounts) * 1.5
        return sum(amounts)

    assert total(f"site_id={germany.id}") == 110
    assert total(f"site_id={berlin.id}&site_id={london.id}") == 1010
    assert total(f"meter_id={meter.id}") == 10
    assert total("page_size=50".replace("page_size=50", "quality=measured")) == 11110


def test_export_with_places_is_verified(as_manager, meter):
    as_manager.post("/usages", json=USAGE | {"meter_id": meter.id})
    file = as_manager.get("/usages/export").data

    assert b",site_id,meter_id," in file
    assert as_manager.post("/verify", data=file, content_type="text/csv").json["reproduced"] == 1


def test_import_keeps_the_place_of_a_usage(as_manager, berlin, meter):
    usage = USAGE | {"meter_id": meter.id, "external_id": "a", "region": "DE"}
    recorded = as_manager.post("/usages", json=usage).json
    file = "usage_type_id,usage_at,amount,external_id,region\n100,2024-01-31T12:00:00Z,7,a,DE\n"

    imported = as_manager.post("/imports?on_conflict=replace", data=file, content_type="text/csv")

    assert imported.json["changed_count"] == 1, imported.text
    assert place_of(as_manager.get(f"/usages/{recorded['id']}")) == (berlin.id, meter.id, 100, "DE")


def test_usage_names_places_of_its_organization(as_manager, as_admin, as_other_manager, berlin, meter):
    for place in ({"site_id": berlin.id, "usage_type_id": 100}, {"meter_id": meter.id}):
        field = next(iter(place))
        assert rejected(as_other_manager.post("/usages", json=USAGE | place)) == [field]
        user = {"user_id": as_other_manager.user.id}
        assert rejected(as_admin.post("/usages", json=USAGE | place | user)) == [field]
        assert as_admin.post("/usages", json=USAGE | place | {"user_id": as_manager.user.id}).status_code == 201
    assert fetch_all("SELECT count(*) FROM usages WHERE site_id IS NOT NULL") == [(2,)]

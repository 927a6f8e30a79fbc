"""Usage types of organizations, their classification, and how they are searched."""

import pytest

from carbonapi.catalogue.models import CATEGORIES, SCOPES
from tests.support import factories

REFRIGERANT = {"name": "R-410A", "unit": "kg", "scope": 1, "category": "fugitive_emissions"}
FACTOR = {"factor": 1923.5, "valid_from": "2024-01-01T00:00:00Z", "source": "AR5"}
USAGE = {"usage_at": "2024-06-01T00:00:00Z", "amount": 1}


@pytest.fixture
def own(as_manager):
    """A usage type of the manager's organization, with a factor."""
    made = as_manager.post("/usage-types", json=REFRIGERANT)
    assert made.status_code == 201, made.text
    assert as_manager.post(f"{made.headers['Location']}/factors", json=FACTOR).status_code == 201
    return made.json


def test_manager_manages_own_usage_types(as_manager, as_member, as_auditor, own):
    path = f"/usage-types/{own['id']}"

    assert own["organization_id"] == as_manager.user.organization_id
    assert as_member.get(path).json["name"] == "R-410A"
    assert as_member.post("/usages", json=USAGE | {"usage_type_id": own["id"]}).json["co2e_kg"] == 1923.5
    assert as_manager.patch(path, json={"archived": True}).json["archived"]
    assert as_manager.put(path, json=REFRIGERANT | {"name": "R410"}).json["name"] == "R410"
    in_use = as_manager.delete(path)
    assert (in_use.status_code, "archived" in in_use.json["detail"]) == (409, True)
    for client in (as_member, as_auditor):
        assert client.post("/usage-types", json=REFRIGERANT).status_code == 403
        assert client.patch(path, json={"name": "x"}).status_code == client.delete(path).status_code == 403
    unused = as_manager.post("/usage-types", json=REFRIGERANT).headers["Location"]
    assert as_manager.delete(unused).status_code == 204


def test_own_usage_type_is_hidden_from_others(as_admin, as_other_manager, own):
    path = f"/usage-types/{own['id']}"

    for hidden in ("", "/units", "/factors", "/factors/1"):
        assert as_other_manager.get(path + hidden).status_code == 404
    assert own["id"] not in [row["id"] for row in as_other_manager.get("/usage-types?page_size=1000").json]
    assert as_other_manager.get(f"/usage-types?organization_id={own['organization_id']}").json == []
    for rejected in (
        as_other_manager.patch(path, json={"name": "x"}),
        as_other_manager.delete(path),
        as_other_manager.post(f"{path}/factors", json=FACTOR),
    ):
        assert rejected.status_code == 404
    for client, field in ((as_other_manager, "usage_type_id"), (as_admin, "usage_at")):  # The admin's has no factor.
        rejected = client.post("/usages", json=USAGE | {"usage_type_id": own["id"]})
        assert (rejected.status_code, list(rejected.json["errors"]["json"])) == (422, [field]), rejected.text
    file = f"usage_at,amount,usage_type_id\n2024-06-01T00:00:00Z,1,{own['id']}\n"
    for client in (as_other_manager, as_admin):
        assert client.post("/imports", data=file, content_type="text/csv").status_code == 422
    named = "usage_at,amount,usage_type\n2024-06-01T00:00:00Z,1,R-410A\n"
    assert as_other_manager.post("/imports", data=named, content_type="text/csv").status_code == 422
    restatement = {"usage_type_ids": [own["id"]], "reason": "x", "mode": "preview"}
    assert as_other_manager.post("/restatements", json=restatement).status_code == 422


def test_usage_cannot_be_moved_to_a_type_of_others(as_other_manager, own):
    usage = as_other_manager.post("/usages", json=USAGE | {"usage_type_id": 100}).json

    rejected = as_other_manager.patch(f"/usages/{usage['id']}", json={"usage_type_id": own["id"]})

    assert (rejected.status_code, list(rejected.json["errors"]["json"])) == (422, ["usage_type_id"])


def test_admin_creates_types_and_factors_for_an_organization(as_admin, as_manager, own):
    factors = f"/usage-types/{own['id']}/factors"

    made = as_admin.post(factors, json=FACTOR | {"region": "GB"})

    assert made.json["organization_id"] == own["organization_id"]
    foreign = as_admin.post(factors, json=FACTOR | {"organization_id": as_admin.user.organization_id})
    assert (foreign.status_code, list(foreign.json["errors"]["json"])) == (422, ["organization_id"])
    theirs = REFRIGERANT | {"name": "R-32", "organization_id": own["organization_id"]}
    assert as_admin.post("/usage-types", json=theirs).json["organization_id"] == own["organization_id"]
    assert as_admin.post("/usage-types", json=REFRIGERANT).json["organization_id"] is None
    assert as_manager.post("/usage-types", json=REFRIGERANT | {"organization_id": 10**9}).status_code == 422


def test_own_usage_type_shows_its_own_factor(as_manager, own):
    path = f"/usage-types/{own['id']}"
    before = as_manager.get(path)
    assert before.json["factor"] == 1923.5

    as_manager.post(f"{path}/factors", json=FACTOR | {"factor": 2255.5, "valid_from": "2025-01-01T00:00:00Z"})

    assert as_manager.get(path, headers={"If-None-Match": before.headers["ETag"]}).json["factor"] == 2255.5


def test_usage_type_name_is_unique_by_owner(as_admin, as_manager, as_other_manager, own):
    twice = as_manager.post("/usage-types", json=REFRIGERANT)
    assert (twice.status_code, list(twice.json["errors"]["json"])) == (409, ["name"])
    assert as_other_manager.post("/usage-types", json=REFRIGERANT).status_code == 201
    assert as_admin.post("/usage-types", json=REFRIGERANT).status_code == 201


def test_import_by_name_prefers_own_type(as_admin, as_manager, as_other_manager, own):
    shared = as_admin.post("/usage-types", json=REFRIGERANT).json["id"]
    as_admin.post(f"/usage-types/{shared}/factors", json=FACTOR | {"factor": 2000})
    in_pounds = as_admin.post("/usage-types", json=REFRIGERANT | {"unit": "lb"}).json["id"]
    as_admin.post(f"/usage-types/{in_pounds}/factors", json=FACTOR | {"factor": 900})

    def imported(client, unit):
        file = f"usage_at,amount,usage_type,unit\n2024-06-01T00:00:00Z,1,R-410A,{unit}\n"
        answer = client.post("/imports", data=file, content_type="text/csv")
        assert answer.status_code == 201, answer.text
        return client.get("/usages?sort=-id").json[0]["usage_type_id"]

    assert imported(as_manager, "kg") == own["id"]
    assert imported(as_other_manager, "kg") == shared
    assert imported(as_manager, "lb") == in_pounds
    ambiguous = "usage_at,amount,usage_type\n2024-06-02T00:00:00Z,1,R-410A\n"
    rejected = as_manager.post("/imports", data=ambiguous, content_type="text/csv")
    assert (rejected.status_code, "Give the id of one, or its unit" in rejected.text) == (422, True)
    assert str(shared) not in rejected.text


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"category": "waste", "scope": 1}, "category"),
        ({"category": "waste"}, "category"),
        ({"category": "energy", "scope": 2}, "category"),
        ({"outside_of_scopes": True, "scope": 1}, "scope"),
        ({"outside_of_scopes": True, "category": "waste"}, "category"),
        ({"scope": 4}, "scope"),
    ],
)
def test_scope_and_category_must_agree(as_manager, fields, field):
    rejected = as_manager.post("/usage-types", json={"name": "pellets", "unit": "kg"} | fields)

    assert (rejected.status_code, list(rejected.json["errors"]["json"])) == (422, [field])


def test_change_of_scope_checks_the_category(as_manager, own):
    path = f"/usage-types/{own['id']}"

    rejected = as_manager.patch(path, json={"scope": 3})

    message = rejected.json["errors"]["json"]["category"][0]
    assert message.startswith("category fugitive_emissions belongs to scope 1, so set scope to 1. For scope 3, choose")
    changed = as_manager.patch(path, json={"scope": 3, "category": "use_of_sold_products"}).json
    assert (changed["scope"], changed["category"]) == (3, "use_of_sold_products")
    outside = as_manager.patch(path, json={"scope": None, "category": None, "outside_of_scopes": True}).json
    assert (outside["scope"], outside["outside_of_scopes"]) == (None, True)


def test_every_category_is_accepted(as_manager):
    assert [len(names) for names in CATEGORIES.values()] == [4, 2, 15]
    for category, scope in SCOPES.items():
        fields = {"name": category, "unit": "kg", "scope": scope, "category": category}
        assert as_manager.post("/usage-types", json=fields).json["category"] == category


def test_usage_types_are_searched(as_manager, own):
    flights = factories.usage_type("Flights, Long-haul, Business class", "passenger.km", scope=3)
    odd = factories.usage_type("100% wool_blend", "kg")

    def ids(query):
        answer = as_manager.get(f"/usage-types?{query}")
        assert answer.status_code == 200, answer.text
        return [usage_type["id"] for usage_type in answer.json]

    assert ids("q=BUSINESS flights") == ids("unit=passenger.km") == [flights.id]
    assert ids("q=fugitive") == ids("category=fugitive_emissions") == ids("shared=false") == [own["id"]]
    assert ids(f"organization_id={own['organization_id']}") == [own["id"]]
    assert ids("q=100%25") == ids("q=l_b") == [odd.id]
    assert ids("q=g%25y") == []
    assert own["id"] not in ids("shared=true") and 100 in ids("shared=true")
    assert ids("scope=1&q=r-410") == [own["id"]]
    assert ids("outside_of_scopes=true") == []
    for invalid in ("category=energy", "q=", "shared=perhaps", "scope=0"):
        assert as_manager.get(f"/usage-types?{invalid}").status_code == 422

"""Corrections of emission factors through HTTP: change, delete, supersede."""

import pytest

from carbonapi.auth import Actor, acting_as
from carbonapi.catalogue import service
from carbonapi.db import db
from tests.support import factories

FACTOR = {"factor": 2.01, "valid_from": "2024-01-01T00:00:00Z", "valid_until": "2025-01-01T00:00:00Z", "source": "A"}
USAGE = {"usage_at": "2024-06-01T00:00:00Z", "amount": 100}
RIGHT = {"factor": 0.201, "source": "A, read again", "reason": "A typing error: 2.01 for 0.201."}


@pytest.fixture
def gas(as_manager):
    """The path of the factors of a usage type of the manager's organization."""
    made = as_manager.post("/usage-types", json={"name": "gas", "unit": "kwh", "scope": 1})
    return f"/usage-types/{made.json['id']}/factors"


def use(client, factors, **fields):
    usage = client.post("/usages", json=USAGE | {"usage_type_id": int(factors.split("/")[2])} | fields)
    assert usage.status_code == 201, usage.text
    return usage.json


def test_typing_error_is_superseded_and_restated(as_manager, gas):
    wrong = as_manager.post(gas, json=FACTOR).json
    usage = use(as_manager, gas)
    assert usage["co2e_kg"] == 201
    before = as_manager.get(f"/usages/{usage['id']}").json["recorded_at"]

    right = as_manager.post(f"{gas}/{wrong['id']}/supersede", json=RIGHT)

    assert right.status_code == 201, right.text
    assert right.headers["Location"] == f"/api/v1{gas}/{right.json['id']}"
    assert as_manager.get(right.headers["Location"]).json == right.json
    same = ("usage_type_id", "organization_id", "region", "method", "valid_from", "valid_until")
    assert [right.json[name] for name in same] == [wrong[name] for name in same]
    assert (right.json["factor"], right.json["supersedes_id"], right.json["superseded_at"]) == (
        0.201,
        wrong["id"],
        None,
    )
    old = as_manager.get(f"{gas}/{wrong['id']}").json
    assert (old["factor"], old["superseded_reason"], old["superseded_by"]) == (
        2.01,
        RIGHT["reason"],
        as_manager.user.id,
    )
    assert as_manager.get(f"/usages/{usage['id']}").json["co2e_kg"] == 201
    assert use(as_manager, gas)["co2e_kg"] == 20.1

    restatement = {"usage_type_ids": [wrong["usage_type_id"]], "reason": RIGHT["reason"], "mode": "apply"}
    restated = as_manager.post("/restatements", json=restatement).json

    assert (restated["usage_count"], restated["before_kg"], restated["after_kg"]) == (1, 201, 20.1)
    assert as_manager.get(f"/usages/{usage['id']}").json["co2e_kg"] == 20.1
    assert [row["co2e_kg"] for row in as_manager.get(f"/usages?as_of={before}").json] == [201]


def test_unused_factor_is_changed_and_deleted(as_manager, gas):
    made = as_manager.post(gas, json=FACTOR)
    path, tag = made.headers["Location"], made.headers["ETag"]

    changed = as_manager.patch(path, json={"factor": 0.201, "ch4_kg": "0.00001"}, headers={"If-Match": tag})

    assert (changed.status_code, changed.json) == (200, made.json | {"factor": 0.201, "ch4_kg": 0.00001})
    assert as_manager.patch(path, json={"factor": 1}, headers={"If-Match": tag}).status_code == 412
    assert as_manager.get(path, headers={"If-None-Match": changed.headers["ETag"]}).status_code == 304
    assert use(as_manager, gas, amount=0)["factor"] == 0.201
    unused = as_manager.post(gas, json=FACTOR | {"region": "FR"}).headers["Location"]
    assert as_manager.delete(unused).status_code == 204
    assert as_manager.get(unused).status_code == 404


def test_etag_of_usage_type_changes_with_its_factor(as_admin):
    usage_type = factories.usage_type(factor="2")
    path = f"/usage-types/{usage_type.id}"
    (factor,) = as_admin.get(f"{path}/factors").json
    tag = as_admin.get(path).headers["ETag"]

    as_admin.patch(f"{path}/factors/{factor['id']}", json={"factor": 3})

    answer = as_admin.get(path, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.json["factor"]) == (200, 3)


@pytest.mark.parametrize("state", ["current", "corrected", "deleted"])
def test_used_factor_cannot_be_changed_or_deleted(as_manager, gas, state):
    path = as_manager.post(gas, json=FACTOR).headers["Location"]
    as_manager.post(gas, json=FACTOR | {"region": "FR", "factor": 1})
    usage = use(as_manager, gas)
    if state == "corrected":
        as_manager.patch(f"/usages/{usage['id']}", json={"region": "FR"})
    elif state == "deleted":
        as_manager.delete(f"/usages/{usage['id']}")

    for rejected in (as_manager.patch(path, json={"factor": 1}), as_manager.delete(path)):
        assert rejected.status_code == 409
        assert f"{path.removeprefix('/api/v1')}/supersede" in rejected.json["detail"]
    assert as_manager.get(path).json["factor"] == 2.01


def test_superseded_factor_is_final(as_manager, gas):
    path = as_manager.post(gas, json=FACTOR).headers["Location"]
    successor = as_manager.post(f"{path}/supersede", json=RIGHT).json["id"]

    for rejected in (
        as_manager.post(f"{path}/supersede", json=RIGHT),
        as_manager.patch(path, json={"factor": 1}),
        as_manager.delete(path),
    ):
        assert (rejected.status_code, f"superseded by {successor}" in rejected.json["detail"]) == (409, True)
    again = as_manager.post(f"{gas}/{successor}/supersede", json=RIGHT | {"factor": 0.202})
    assert again.status_code == 201


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"factor": None}, "factor"),
        ({"reason": " "}, "reason"),
        ({"source": None}, "source"),
        ({"factor_set_id": 10**9}, "factor_set_id"),
        ({"n2o_kg": -1}, "n2o_kg"),
        ({"gwp": "AR1"}, "gwp"),
        ({"valid_from": "2024-01-01T00:00:00Z"}, "valid_from"),
    ],
)
def test_invalid_supersession_is_422_by_field(as_manager, gas, changes, field):
    path = as_manager.post(gas, json=FACTOR).headers["Location"]

    answer = as_manager.post(f"{path}/supersede", json=RIGHT | changes)

    assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, [field])
    assert as_manager.get(path).json["superseded_at"] is None


def test_change_of_validity_is_checked(as_manager, gas):
    path = as_manager.post(gas, json=FACTOR).headers["Location"]
    as_manager.post(gas, json=FACTOR | {"valid_from": "2025-01-01T00:00:00Z", "valid_until": None})

    overlapping = as_manager.patch(path, json={"valid_until": "2026-01-01T00:00:00Z"})
    assert (overlapping.status_code, list(overlapping.json["errors"]["json"])) == (409, ["valid_from"])
    reversed_ = as_manager.patch(path, json={"valid_from": "2025-01-01T00:00:00Z"})
    assert (reversed_.status_code, list(reversed_.json["errors"]["json"])) == (422, ["valid_until"])
    assert as_manager.patch(path, json={"valid_from": "2023-01-01T00:00:00Z"}).status_code == 200


def test_managers_correct_only_factors_of_their_own(as_admin, as_manager, as_other_manager, as_member, as_auditor):
    usage_type = factories.usage_type(factor="2")
    factors = f"/usage-types/{usage_type.id}/factors"
    (shared,) = as_admin.get(factors).json
    own = as_manager.post(factors, json=FACTOR).json

    def attempts(client, factor):
        path = f"{factors}/{factor['id']}"
        requests = client.patch(path, json={"note": "x"}), client.post(f"{path}/supersede", json=RIGHT)
        return [answer.status_code for answer in (*requests, client.delete(path))]

    assert attempts(as_manager, shared) == attempts(as_other_manager, shared) == [403] * 3
    assert attempts(as_other_manager, own) == [404] * 3
    assert attempts(as_member, own) == attempts(as_auditor, own) == [403] * 3
    assert attempts(as_manager, own) == [200, 201, 409]
    assert attempts(as_admin, shared) == [200, 201, 409]
    assert as_manager.get(f"{factors}/{shared['id']}").json["superseded_by"] is None


def test_own_factor_supersedes_only_the_own_one(as_admin, as_manager, as_other_manager):
    usage_type = factories.usage_type(factor="2")
    factors = f"/usage-types/{usage_type.id}/factors"
    own = as_manager.post(factors, json=FACTOR).json["id"]
    as_manager.post(f"{factors}/{own}/supersede", json=RIGHT)

    assert use(as_manager, factors)["factor"] == 0.201
    assert use(as_other_manager, factors)["factor"] == 2
    (shared,) = as_other_manager.get(factors).json
    as_admin.post(f"{factors}/{shared['id']}/supersede", json=RIGHT | {"factor": 3})
    assert use(as_manager, factors)["factor"] == 0.201
    assert use(as_other_manager, factors)["factor"] == 3
    assert as_other_manager.get(f"/usage-types/{usage_type.id}").json["factor"] == 3


def test_factor_list_filters_by_state_and_time(as_manager, gas):
    first = as_manager.post(gas, json=FACTOR).json["id"]
    second = as_manager.post(f"{gas}/{first}/supersede", json=RIGHT).json["id"]
    third = as_manager.post(gas, json=FACTOR | {"valid_from": "2025-01-01T00:00:00Z", "valid_until": None}).json["id"]

    def ids(query):
        return [factor["id"] for factor in as_manager.get(f"{gas}?sort=id&{query}").json]

    assert ids("") == [first, second, third]
    assert ids("in_force=true") == [second, third]
    assert ids("in_force=false") == [first]
    assert ids("valid_at=2024-12-31T23:59:59Z") == [first, second]
    assert ids("valid_at=2025-01-01T00:00:00Z") == [third]
    assert ids("shared=true") == []
    assert as_manager.get(f"{gas}?in_force=maybe").status_code == 422


def test_open_factor_does_not_end_a_superseded_one(as_manager, gas):
    open_ended = FACTOR | {"valid_until": None}
    first = as_manager.post(gas, json=open_ended).json["id"]
    second = as_manager.post(f"{gas}/{first}/supersede", json=RIGHT).json["id"]

    later = as_manager.post(gas, json=open_ended | {"valid_from": "2025-01-01T00:00:00Z"})

    assert later.status_code == 201
    ends = {factor["id"]: factor["valid_until"] for factor in as_manager.get(gas).json}
    assert ends == {first: None, second: "2025-01-01T00:00:00Z", later.json["id"]: None}


def test_supersession_is_audited_with_its_reason(as_manager, as_auditor, gas):
    wrong = as_manager.post(gas, json=FACTOR).json["id"]
    right = as_manager.post(f"{gas}/{wrong}/supersede", json=RIGHT).json["id"]

    entries = as_auditor.get("/audit-entries?subject=emission factor&sort=id").json

    assert [(entry["action"], entry["subject_id"], entry["reason"]) for entry in entries] == [
        ("created", wrong, None),
        ("changed", wrong, RIGHT["reason"]),
        ("created", right, None),
    ]
    assert entries[1]["actor_id"] == as_manager.user.id
    assert entries[2]["new"]["supersedes_id"] == wrong


def test_usage_type_is_deleted_with_superseded_factors(as_manager, gas):
    wrong = as_manager.post(gas, json=FACTOR).json["id"]
    as_manager.post(f"{gas}/{wrong}/supersede", json=RIGHT)

    assert as_manager.delete(gas.removesuffix("/factors")).status_code == 204


def test_import_uses_the_factor_in_force(as_manager, gas):
    wrong = as_manager.post(gas, json=FACTOR).json["id"]
    as_manager.post(f"{gas}/{wrong}/supersede", json=RIGHT)
    file = "usage_at,amount,usage_type\n2024-06-01T00:00:00Z,100,gas\n"

    imported = as_manager.post("/imports", data=file, content_type="text/csv")

    assert imported.status_code == 201, imported.text
    assert [usage["co2e_kg"] for usage in as_manager.get("/usages").json] == [20.1]


def test_operator_supersedes_without_a_user(app):
    usage_type = factories.usage_type(factor=None)
    factor = factories.emission_factor(usage_type, "2")
    with acting_as(Actor(id=0, organization_id=0, role="admin", timezone="UTC")):
        successor = service.supersede_factor(factor, factories.now(), "Edition 2", factor=3, source="a table")

    db.session.commit()
    assert (factor.superseded_by, successor.supersedes_id) == (None, factor.id)

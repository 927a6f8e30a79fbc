"""Factor sets through HTTP."""

import pytest

from tests.support import factories

EDITION = {
    "publisher": "UK Government",
    "edition": "2025 v1.0",
    "published_on": "2025-06-10",
    "gwp": "AR5",
    "licence": "OGL-UK-3.0",
    "url": "https://www.gov.uk/",
    "sha256": "0" * 64,
    "note": "Condensed.",
}
FACTOR = {"factor": 0.177, "valid_from": "2025-01-01T00:00:00Z", "source": "A table"}


def test_manager_manages_own_factor_sets(as_manager, as_member, as_other_manager):
    made = as_manager.post("/factor-sets", json=EDITION)

    assert made.status_code == 201, made.text
    path, owner = made.headers["Location"], as_manager.user.organization_id
    assert made.json == EDITION | {name: made.json[name] for name in ("id", "created_at")} | {"organization_id": owner}
    assert as_member.get(path).json == made.json
    assert as_other_manager.get(path).status_code == 404
    changed = as_manager.patch(path, json={"edition": "2025 v1.1"}, headers={"If-Match": made.headers["ETag"]})
    assert changed.json == made.json | {"edition": "2025 v1.1"}
    assert as_manager.patch(path, json={}, headers={"If-Match": made.headers["ETag"]}).status_code == 412
    assert as_other_manager.patch(path, json={}).status_code == as_other_manager.delete(path).status_code == 404
    assert as_member.post("/factor-sets", json=EDITION).status_code == 403
    assert as_member.delete(path).status_code == 403
    assert as_manager.delete(path).status_code == 204
    assert as_manager.get(path).status_code == 404


def test_admins_factor_set_is_shared(as_admin, as_manager):
    shared = as_admin.post("/factor-sets", json=EDITION)
    path = shared.headers["Location"]

    assert as_manager.get(path).json == shared.json | {"organization_id": None}
    for rejected in (as_manager.patch(path, json={"note": "x"}), as_manager.delete(path)):
        assert (rejected.status_code, "only admins" in rejected.json["detail"]) == (403, True)
    theirs = as_admin.post("/factor-sets", json=EDITION | {"organization_id": as_manager.user.organization_id})
    assert theirs.json["organization_id"] == as_manager.user.organization_id
    assert as_admin.patch(path, json={"note": None}).json["note"] is None


def test_publisher_and_edition_are_unique_by_owner(as_manager, as_other_manager):
    assert as_manager.post("/factor-sets", json=EDITION).status_code == 201
    assert as_other_manager.post("/factor-sets", json=EDITION).status_code == 201
    twice = as_manager.post("/factor-sets", json=EDITION)
    assert (twice.status_code, list(twice.json["errors"]["json"])) == (409, ["edition"])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"publisher": " "}, "publisher"),
        ({"edition": None}, "edition"),
        ({"published_on": "2025-02-30"}, "published_on"),
        ({"published_on": "20250610"}, "published_on"),
        ({"published_on": "1899-12-31"}, "published_on"),
        ({"published_on": 20250610}, "published_on"),
        ({"gwp": "AR7"}, "gwp"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"sha256": "ABC"}, "sha256"),
        ({"organization_id": 10**9}, "organization_id"),
    ],
)
def test_invalid_factor_set_is_422_by_field(as_manager, changes, field):
    answer = as_manager.post("/factor-sets", json=EDITION | changes)

    assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, [field])


def test_factor_names_its_set(as_admin, as_manager, as_other_manager):
    usage_type = factories.usage_type(factor=None)
    factors = f"/usage-types/{usage_type.id}/factors"
    shared, own, foreign = (
        client.post("/factor-sets", json=EDITION).json["id"] for client in (as_admin, as_manager, as_other_manager)
    )
    cited = FACTOR | {"factor_set_id": shared, "citation": "UK electricity, F24", "gwp": "AR4", "co2_kg": "0.17535"}

    made = as_manager.post(factors, json=cited)

    assert made.status_code == 201, made.text
    names = ("factor_set_id", "citation", "gwp", "co2_kg", "ch4_kg")
    assert [made.json[name] for name in names] == [shared, "UK electricity, F24", "AR4", 0.17535, None]
    assert as_manager.patch(made.headers["Location"], json={"factor_set_id": own}).json["factor_set_id"] == own
    assert [len(as_manager.get(f"{factors}?factor_set_id={set_id}").json) for set_id in (shared, own)] == [0, 1]
    for client, set_id in ((as_manager, foreign), (as_admin, own), (as_manager, 10**9)):
        rejected = client.post(factors, json=FACTOR | {"factor_set_id": set_id, "region": "FR"})
        assert (rejected.status_code, list(rejected.json["errors"]["json"])) == (422, ["factor_set_id"])
    in_use = as_manager.delete(f"/factor-sets/{own}")
    assert (in_use.status_code, "has factors" in in_use.json["detail"]) == (409, True)
    assert as_manager.delete(made.headers["Location"]).status_code == 204
    assert as_manager.delete(f"/factor-sets/{own}").status_code == 204


def test_factor_sets_are_searched(as_admin, as_manager):
    shared = as_admin.post("/factor-sets", json=EDITION).json["id"]
    own = as_manager.post("/factor-sets", json={"publisher": "Our supplier", "edition": "2025"}).json["id"]

    def ids(query):
        return [factor_set["id"] for factor_set in as_manager.get(f"/factor-sets?{query}").json]

    assert ids("") == ids("q=2025") == [shared, own]
    assert ids("q=government 2025") == ids("gwp=AR5") == ids("shared=true") == ids("edition=2025 v1.0") == [shared]
    assert ids(f"organization_id={as_manager.user.organization_id}") == ids("shared=false") == [own]
    assert ids("q=100%25") == []

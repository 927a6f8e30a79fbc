"""Exports and imports of sites and meters."""

import pytest

from tests.support import factories

SITES = (
    "name,parent,external_id,region,archived\n"
    "Berlin,EU,BER,DE,\n"  # Before its parent.
    "Europe,,EU,,false\n"
    "Floor 1,Berlin,,,TRUE\n"
)
METERS = (
    "external_id,name,site,usage_type,valid_from\n19,Main,BER,electricity,2020-01-01T00:00:00Z\n,Water,Floor 1,water,\n"
)


@pytest.fixture
def as_importer(as_manager):
    def upload(path, file):
        return as_manager.post(path, data=file, content_type="text/csv")

    return upload


def counts(answer):
    assert answer.status_code == 200, answer.text
    return tuple(answer.json[f"{name}_count"] for name in ("added", "changed", "unchanged"))


def errors(answer):
    assert answer.status_code == 422, answer.text
    return answer.json["errors"]["file"]


def test_sites_are_imported_once(as_manager, as_importer):
    assert counts(as_importer("/sites/import", SITES)) == (3, 0, 0)
    assert counts(as_importer("/sites/import", SITES)) == (0, 0, 3)

    europe, berlin, floor = as_manager.get("/sites?sort=id").json
    assert (europe["name"], berlin["parent_id"], floor["parent_id"]) == ("Europe", europe["id"], berlin["id"])
    assert (berlin["region"], floor["archived"], floor["external_id"]) == ("DE", True, None)


def test_exported_sites_and_meters_import_unchanged(as_manager, as_importer):
    as_importer("/sites/import", SITES)
    as_importer("/meters/import", METERS)

    for path, number in (("sites", 3), ("meters", 2)):
        file = as_manager.get(f"/{path}/export").data
        assert counts(as_importer(f"/{path}/import", file)) == (0, 0, number)
    lines = as_manager.get("/meters/export?format=ndjson").text.splitlines()
    assert len(lines) == 2 and '"site":"BER","usage_type":"electricity"' in lines[0]


def test_imported_sites_change_and_move(as_manager, as_importer):
    as_importer("/sites/import", SITES)

    file = "external_id,name,parent\nBER,Potsdam,\nEU,Europe,BER\n"
    assert list(errors(as_importer("/sites/import", file.replace("\nBER,Potsdam,\n", "\n")))) == ["2"]
    assert counts(as_importer("/sites/import", file)) == (0, 2, 0)
    sites = {site["name"]: site for site in as_manager.get("/sites").json}
    assert sites["Potsdam"]["parent_id"] is None
    assert sites["Europe"]["parent_id"] == sites["Potsdam"]["id"] == sites["Floor 1"]["parent_id"]
    assert sites["Potsdam"]["region"] == "DE"  # The file has no such column.


def test_site_without_external_id_gets_one(as_manager, as_importer):
    as_importer("/sites/import", "name\nBerlin\n")

    assert counts(as_importer("/sites/import", "name,external_id\nBerlin,BER\n")) == (0, 1, 0)
    assert as_manager.get("/sites").json[0]["external_id"] == "BER"


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("name,colour\nA,red\n", "1", "Unknown column 'colour'"),
        ("parent\nA\n", "1", "Missing column name."),
        ("name\n\nA\nA\n", "4", "Duplicate of line 3."),
        ("name,parent\nA,Nowhere\n", "2", "parent: There is no site Nowhere"),
        ("name,parent\nA,B\nB,A\n", "2", "parent: There is no site B"),
        ("name,region\nA,Atlantis\n", "2", "region: "),
        ("name,archived\nA,maybe\n", "2", "archived: "),
        ("name,external_id\nA,1\nB,1\n", "3", "external_id: An earlier line"),
        ("name,region\nA\n", "2", "The row has 1 cells"),
        ("name\nHere\nNew,x\n", "3", "The row has 2 cells"),
    ],
)
def test_invalid_table_of_sites_imports_nothing(as_manager, as_importer, organization, file, line, message):
    factories.site(organization, "Here")

    found = errors(as_importer("/sites/import", file))

    assert list(found) == [line] or len(found) == 2
    assert found[line][0].startswith(message), found
    assert len(as_manager.get("/sites").json) == 1


def test_ambiguous_name_of_a_parent_is_rejected(as_importer, organization):
    for parent in (factories.site(organization), factories.site(organization)):
        factories.site(organization, "Floor 1", parent)

    assert "2 sites are named Floor 1." in errors(as_importer("/sites/import", "name,parent\nA,Floor 1\n"))["2"][0]


def test_long_table_is_rejected(as_importer):
    assert counts(as_importer("/sites/import", "name\n" + "".join(f"Site {n}\n" for n in range(10_000)))) == (
        10_000, 0, 0,
    )  # fmt: skip
    found = errors(as_importer("/sites/import", "name\n" + "".join(f"Site {n}\n" for n in range(10_001))))
    assert list(found) == ["10002"]


def test_meters_are_imported_once(as_manager, as_importer):
    as_importer("/sites/import", SITES)

    assert counts(as_importer("/meters/import", METERS)) == (2, 0, 0)
    assert counts(as_importer("/meters/import", METERS)) == (0, 0, 2)
    assert counts(as_importer("/meters/import", METERS.replace("Main", "First"))) == (0, 1, 1)
    first, water = as_manager.get("/meters").json
    assert (first["name"], first["external_id"], first["usage_type_id"]) == ("First", "19", 100)
    assert (first["valid_from"], water["usage_type_id"]) == ("2020-01-01T00:00:00Z", 101)


def test_replaced_meters_are_imported_and_exported(as_manager, as_importer, organization):
    factories.site(organization, "Here")
    file = (
        "name,external_id,site,usage_type,replaced_by\nOld,1,Here,water,New\nNew,,Here,water,\n"  # New has no id yet.
    )

    assert counts(as_importer("/meters/import", file)) == (2, 0, 0)
    old, new = as_manager.get("/meters?sort=id").json
    assert (old["replaced_by_id"], new["replaced_by_id"]) == (new["id"], None)
    exported = as_manager.get("/meters/export").data
    assert counts(as_importer("/meters/import", exported)) == (0, 0, 2)
    assert counts(as_importer("/meters/import", file.replace(",New\n", ",\n"))) == (0, 1, 1)
    assert as_manager.get(f"/meters/{old['id']}").json["replaced_by_id"] is None
    assert counts(as_importer("/meters/import", exported)) == (0, 1, 1)
    assert counts(as_importer("/meters/import", "name,site,usage_type\nOld,Here,water\n")) == (0, 0, 1)  # It stays.
    assert as_manager.get(f"/meters/{old['id']}").json["replaced_by_id"] == new["id"]


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("name,site\nA,Here\n", "1", "Missing column usage_type_id or usage_type."),
        ("name,site,usage_type\nA,There,water\n", "2", "site: There is no site There."),
        ("name,site,usage_type\nA,Here,fire\n", "2", "usage_type: There is no usage type fire"),
        ("name,site,usage_type\nA,Here,heating\n", "2", "usage_type: Usage types 102, 103, 104 are named heating."),
        ("name,site,usage_type_id\nA,Here,9999\n", "2", "usage_type_id: There is no usage type 9999"),
        ("name,site,usage_type_id\nA,,100\n", "2", "site: "),
        ("name,site,usage_type_id\nA,Here,100\nA,Here,100\n", "3", "Duplicate of line 2."),
        (
            "name,site,usage_type_id,valid_from,valid_until\nA,Here,100,2020-01-01T00:00:00Z,2019-01-01T00:00:00Z\n",
            "2",
            "valid_until: valid_until must be later",
        ),
        ("name,site,usage_type,replaced_by\nA,Here,water,B\n", "2", "replaced_by: There is no meter B."),
        ("name,site,usage_type,replaced_by\nA,Here,water,A\n", "2", "replaced_by: A meter cannot replace itself."),
        (
            "name,site,usage_type,replaced_by\nA,Here,water,B\nB,Here,electricity,\n",
            "2",
            "replaced_by: Meter B has another usage type.",
        ),
        (
            "name,site,usage_type,replaced_by\nA,Here,water,\nA,Over there,water,\nB,Here,water,A\n",
            "4",
            "replaced_by: 2 meters are named A. Use the external_id of one.",
        ),
    ],
)
def test_invalid_table_of_meters_imports_nothing(as_manager, as_importer, organization, file, line, message):
    factories.site(organization, "Here")
    factories.site(organization, "Over there")

    found = errors(as_importer("/meters/import", file))

    assert list(found) == [line]
    assert found[line][0].startswith(message), found
    assert as_manager.get("/meters").json == []


def test_only_managers_import(as_member, as_auditor):
    for client in (as_member, as_auditor):
        for path in ("/sites/import", "/meters/import"):
            assert client.post(path, data="name\nA\n", content_type="text/csv").status_code == 403

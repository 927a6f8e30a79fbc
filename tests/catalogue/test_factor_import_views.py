"""Import and revert of published tables, and global warming potentials, through HTTP."""

import io
import json
from pathlib import Path

import openpyxl
import pytest

from carbonapi.rest.fields import UPLOAD_TYPES

TABLES = Path(__file__).parents[1] / "data/factors"
UK = (TABLES / "uk-2018-ghg.csv").read_bytes()
ELECTRICITY = "UK electricity, Electricity generated, Electricity: UK"
HEADER = "usage_type,unit,scope,valid_from,valid_until,kg_co2e_per_unit,source\n"


def send(client, content, query="", content_type="text/csv"):
    return client.post(f"/factor-sets/imports{query}", data=content, content_type=content_type)


def steam(figure):
    return f"{HEADER}steam,kg,2,2020-01-01,2021-01-01,{figure},supplier\n"


def test_import_is_a_dry_run_by_default(as_admin):
    answer = send(as_admin, UK)

    assert answer.status_code == 200, answer.text
    assert (answer.json["id"], answer.json["status"], answer.json["added_count"]) == (None, "checked", 1)
    assert answer.json["examples"]["added"][0] == {
        "line": 2,
        "usage_type": ELECTRICITY,
        "unit": "kWh",
        "region": "GB",
        "valid_from": "2018-01-01T00:00:00Z",
        "factor": 0.28307,
    }
    assert as_admin.get("/factor-sets").json == []


def test_applied_import_creates_the_factor_set(as_admin):
    answer = send(as_admin, UK, "?mode=apply")

    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/api/v1/factor-sets/{answer.json['id']}"
    factor_set = as_admin.get(answer.headers["Location"]).json
    assert (factor_set["publisher"], factor_set["edition"], factor_set["gwp"]) == ("UK Government", "2018", "AR4")
    assert (factor_set["sha256"], factor_set["organization_id"]) == (answer.json["sha256"], None)
    again = send(as_admin, UK, "?mode=apply")
    assert (again.json["id"], again.json["added_count"], again.json["unchanged_count"]) == (factor_set["id"], 0, 1)


def test_workbook_is_imported_as_form(as_admin):
    workbook = openpyxl.Workbook()
    for line in UK.decode().splitlines():
        workbook.active.append(line.split(","))
    file = io.BytesIO()
    workbook.save(file)
    content = file.getvalue()

    form = {"file": (io.BytesIO(content), "factors.xlsx"), "mode": "apply", "edition": "2018 v01-01"}
    answer = send(as_admin, form, content_type="multipart/form-data")
    assert (answer.status_code, answer.json["edition"]) == (201, "2018 v01-01"), answer.text
    assert send(as_admin, content, content_type=UPLOAD_TYPES["xlsx"]).json["unchanged_count"] == 1


def test_manager_imports_own_factors(as_manager, as_other_manager):
    answer = send(as_manager, steam("0.2"), "?mode=apply&publisher=Steam%20Ltd&edition=1")

    assert (answer.status_code, answer.json["organization_id"]) == (201, as_manager.user.organization_id)
    assert as_other_manager.get(f"/factor-sets/{answer.json['id']}").status_code == 404
    assert as_other_manager.post(f"/factor-sets/{answer.json['id']}/revert").status_code == 404
    assert as_other_manager.get("/usage-types?name=steam").json == []


@pytest.mark.parametrize("client", ["as_member", "as_auditor"])
def test_others_cannot_import_factors(request, client):
    assert send(request.getfixturevalue(client), UK).status_code == 403


def test_corrected_table_supersedes_and_is_reverted(as_manager):
    send(as_manager, steam("2.01"), "?mode=apply&publisher=Steam&edition=1")
    steam_id = as_manager.get("/usage-types?name=steam").json[0]["id"]
    usage = {"usage_type_id": steam_id, "usage_at": "2020-06-01T00:00:00Z", "amount": 100}
    assert as_manager.post("/usages", json=usage).json["co2e_kg"] == 201

    corrected = send(as_manager, steam("0.201"), "?mode=apply&publisher=Steam&edition=2").json
    assert (corrected["superseded_count"], corrected["examples"]["superseded"][0]["previous_factor"]) == (1, 2.01)
    assert as_manager.post("/usages", json=usage | {"amount": 1000}).json["co2e_kg"] == 201
    in_use = as_manager.post(f"/factor-sets/{corrected['id']}/revert")
    assert in_use.status_code == 409
    assert "Usages have factors of Steam 2" in in_use.json["detail"]

    third = send(as_manager, steam("0.2"), "?mode=apply&publisher=Steam&edition=3").json
    reverted = as_manager.post(f"/factor-sets/{third['id']}/revert")
    assert reverted.json == {"deleted_count": 1, "restored_count": 1, "usage_type_count": 0}, reverted.text
    assert as_manager.post("/usages", json=usage | {"amount": 2000}).json["co2e_kg"] == 402


def test_usages_get_the_factors_of_the_last_table_in_force(as_manager):
    def apply(figure, edition):
        table = steam(figure)
        return send(as_manager, table, f"?mode=apply&publisher=Steam%20Ltd&edition={edition}").json["id"]

    def record():
        (usage_type,) = as_manager.get("/usage-types?name=steam").json
        usage = {"usage_type_id": usage_type["id"], "usage_at": "2020-06-01T00:00:00Z", "amount": 10}
        return as_manager.post("/usages", json=usage).json["factor"]

    def outdated_count():
        return len(as_manager.get("/usages?outdated=true").json)

    apply("0.2", 1)
    assert (record(), outdated_count()) == (0.2, 0)
    second = apply("0.3", 2)
    assert outdated_count() == 1
    assert as_manager.post(f"/factor-sets/{second}/revert").status_code == 200
    assert (record(), outdated_count()) == (0.2, 0)
    apply("0.4", 3)
    assert (record(), outdated_count()) == (0.4, 2)


def test_manager_cannot_revert_a_shared_set(as_admin, as_manager):
    shared = send(as_admin, UK, "?mode=apply").json

    assert as_manager.post(f"/factor-sets/{shared['id']}/revert").status_code == 403
    assert as_admin.post(f"/factor-sets/{shared['id']}/revert").json["deleted_count"] == 1


def test_column_mapping_reads_any_table(as_manager):
    mapping = {
        "columns": {"usage_type": "Fuel", "kg_co2e_per_unit": "g CO2e"},
        "constants": {"unit": "kWh", "valid_from": "2025", "source": "Supplier, 2025"},
        "scale": 0.001,
    }
    form = {"file": (io.BytesIO(b"Fuel,g CO2e\ngas,183\n"), "x.csv"), "mapping": json.dumps(mapping)}
    answer = send(as_manager, form, content_type="multipart/form-data")

    assert answer.status_code == 200, answer.text
    assert [factor["factor"] for factor in answer.json["examples"]["added"]] == [0.183]


@pytest.mark.parametrize(
    ("query", "content", "status", "message"),
    [
        ("?mapping=nothing", UK, 422, "Must be a JSON object"),
        ("?mapping=%7B%7D", UK, 422, "must not be empty"),
        ("?format=xls", UK, 422, "Must be one of"),
        ("?year=0", UK, 422, "Must be greater than or equal to 1990"),
        ("?organization_id=99999", UK, 422, "organization"),
        ("", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 422, "Save it as .xlsx or CSV"),
        ("", b"a,b\n", 422, "has the header of no known format"),
        ("", b"", 422, "has the header of no known format"),
    ],
)
def test_invalid_import_is_rejected(as_admin, query, content, status, message):
    answer = send(as_admin, content, query)

    assert (answer.status_code, message in answer.text) == (status, True), answer.text


def test_gwp_sets_are_listed(as_member):
    sets = as_member.get("/gwp-sets").json

    assert [(row["name"], row["gases"]["CH4 (fossil)"], row["gases"]["R410A"]) for row in sets] == [
        ("AR4", 25, 2087.5),
        ("AR5", 28, 1923.5),
        ("AR6", 29.8, 2255.5),
    ]

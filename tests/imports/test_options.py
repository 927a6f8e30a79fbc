"""Options of POST /imports."""

import json
from decimal import Decimal

import pytest

from carbonapi.catalogue.units import find_unit
from carbonapi.imports.formats.rows import CellsSchema, FileFormat, RowParser
from carbonapi.rest.fields import UtcDateTime
from carbonapi.usages.schemas import NewUsageSchema
from tests.support import factories

HEADER = "usage_at,amount,external_id\n"
THREE = HEADER + "2024-01-01T00:00:00Z,1,a\n2024-01-02T00:00:00Z,2,b\n2024-01-03T00:00:00Z,3,\n"
COUNTS = ("new_count", "changed_count", "unchanged_count", "skipped_count", "rejected_count")


def load(client, file, status=201, media_type="text/csv", **query):
    answer = client.post("/imports", query_string={"usage_type_id": 100} | query, data=file, content_type=media_type)
    assert answer.status_code == status, answer.text
    return answer.json


def counts(imported):
    return tuple(imported[name] for name in COUNTS)


def amounts(client, query="sort=usage_at"):
    return [usage["amount"] for usage in client.get(f"/usages?{query}").json]


@pytest.mark.parametrize("on_conflict", ["skip", "replace"])
def test_same_file_again_records_nothing(as_member, on_conflict):
    first = load(as_member, THREE)
    before = as_member.get("/usages?sort=id").json

    again = load(as_member, THREE, on_conflict=on_conflict, again="true")

    assert (counts(first), counts(again)) == ((3, 0, 0, 0, 0), (0, 0, 3, 0, 0))
    assert (again["usage_count"], again["co2e_kg"]) == (0, 0)
    assert as_member.get("/usages?sort=id").json == before


def test_differing_rows_are_skipped_or_corrected(as_member):
    load(as_member, THREE)
    other = THREE.replace(",2,b", ",2.5,b").replace("Z,3,", "Z,4,") + "2024-01-04T00:00:00Z,5,\n"

    skipping = load(as_member, other, on_conflict="skip")
    assert (counts(skipping), amounts(as_member)) == ((1, 0, 1, 2, 0), [1, 2, 3, 5])
    replacing = load(as_member, other, on_conflict="replace", again="true")
    assert (counts(replacing), amounts(as_member)) == ((0, 2, 2, 0, 0), [1, 2.5, 4, 5])

    corrected = as_member.get("/usages?external_id=b").json[0]
    versions = as_member.get(f"/usages/{corrected['id']}/versions").json
    reason = f"Corrected by import {replacing['id']}."
    assert [(v["version"], v["amount"], v["co2e_kg"], v["superseded_reason"]) for v in versions] == [
        (1, 2, 3, reason),
        (2, 2.5, 3.75, None),
    ]
    assert (corrected["reason"], corrected["factor"]) == (reason, 1.5)


def test_replaced_usage_keeps_factor_unless_time_changes(as_member):
    kind = factories.usage_type("kept", factor=None)
    factories.emission_factor(kind, "1", valid_from="1900-01-01", valid_until="2024-06-01")
    factories.emission_factor(kind, "3", valid_from="2024-06-01")
    load(as_member, HEADER + "2024-01-01T00:00:00Z,1,a\n2024-01-01T00:00:00Z,1,b\n", usage_type_id=kind.id)
    factories.emission_factor(kind, "7", valid_until="2024-06-01", organization_id=as_member.user.organization_id)

    load(
        as_member,
        HEADER + "2024-01-01T00:00:00Z,2,a\n2024-07-01T00:00:00Z,2,b\n",
        usage_type_id=kind.id,
        on_conflict="replace",
    )

    usages = as_member.get("/usages?sort=id").json
    assert [(usage["external_id"], usage["factor"], usage["co2e_kg"]) for usage in usages] == [("a", 1, 2), ("b", 3, 6)]


def test_two_rows_about_one_usage_are_invalid(as_member):
    for _ in range(2):
        factories.usage(as_member.user, usage_at="2024-01-01")
    twice = HEADER + "2024-01-02T00:00:00Z,1,\n2024-01-02T00:00:00Z,2,\n2024-01-01T00:00:00Z,5,\n"

    rejected = load(as_member, twice, 422, on_conflict="replace")["errors"]["file"]

    assert rejected["3"][0].startswith("usage_at: Line 2 has the same user, usage type and time.")
    assert rejected["4"][0].startswith("usage_at: The ledger has 2 usages with this user, usage type and time")


def test_usage_in_closed_period_is_not_replaced(as_manager):
    load(as_manager, THREE)
    assert as_manager.post("/closed-periods", json={"until": "2024-02-01T00:00:00Z"}).status_code == 201

    assert counts(load(as_manager, THREE, on_conflict="replace", again="true")) == (0, 0, 3, 0, 0)
    moved = THREE.replace("2024-01-02T", "2024-05-02T")
    rejected = load(as_manager, moved, 422, on_conflict="replace")["errors"]["file"]
    assert rejected == {"3": ["usage_at: The usage to correct is in a closed period."]}
    assert amounts(as_manager) == [1, 2, 3]


def test_invisible_usage_is_not_replaced(as_member, as_manager):
    factories.usage(as_manager.user, external_id="a")

    rejected = load(as_member, THREE, 422, on_conflict="replace")["errors"]["file"]

    assert rejected == {"2": ["external_id: 'a' is already in the ledger."]}


def test_partial_import_stores_rejected_rows(as_member, as_other_manager):
    known = factories.usage(as_member.user, external_id="b")
    file = THREE + "2024-01-04T00:00:00Z,two,c\n2024-01-05T00:00:00Z\n"

    imported = load(as_member, file, mode="partial")

    assert (counts(imported), imported["amount"], imported["co2e_kg"]) == ((2, 0, 0, 0, 3), 4, 6)
    errors = as_member.get(f"/imports/{imported['id']}/errors").json
    assert errors == imported["errors"]
    assert errors == [
        {
            "line": 3,
            "column": "external_id",
            "found": "b",
            "message": f"'b' is already in the ledger: usage {known.id}.",
        },
        {"line": 5, "column": "amount", "found": "two", "message": "Not a number."},
        {"line": 6, "column": None, "found": None, "message": "The row has 1 cells, but the header has 3."},
    ]
    assert as_other_manager.get(f"/imports/{imported['id']}/errors").status_code == 404
    rejected = as_member.get(f"/imports/{imported['id']}/errors/export").text
    fixed = rejected.replace(",two,", ",2,").replace(",b,", ",d,").splitlines(keepends=True)
    assert counts(load(as_member, "".join(fixed[:3]))) == (2, 0, 0, 0, 0)


def test_partial_import_rejects_rows_without_references(as_member):
    archived = factories.usage_type("gone", archived=True)
    lines = "".join(f"{id_},2024-01-01T00:00:00Z,1\n" for id_ in (100, 999999, archived.id))

    imported = load(as_member, "usage_type_id,usage_at,amount\n" + lines, mode="partial")

    assert counts(imported) == (1, 0, 0, 0, 2)
    assert [(error["line"], error["found"], error["message"]) for error in imported["errors"]] == [
        (3, "999999", "There is no usage type 999999; GET /usage-types lists them."),
        (4, str(archived.id), "gone (kwh) is archived and accepts no new usages."),
    ]


def test_dry_run_records_nothing(as_manager):
    shown = load(as_manager, THREE + "2024-01-04T00:00:00Z,two,c\n", 200, mode="dry-run")

    assert (shown["id"], counts(shown), shown["amount"]) == (None, (3, 0, 0, 0, 1), 6)
    assert (as_manager.get("/usages").json, as_manager.get("/imports").json) == ([], [])
    assert as_manager.get("/audit-entries?subject=import").json == []


def test_import_can_be_reverted_once(as_manager, as_auditor):
    imported = load(as_manager, THREE)
    path = f"/imports/{imported['id']}/revert"

    reverted = as_manager.post(path, json={"reason": "Wrong meter"})

    assert reverted.status_code == 200
    assert (reverted.json["reverted_by"], as_manager.get("/usages").json) == (as_manager.user.id, [])
    entry = as_auditor.get("/audit-entries?subject=import&action=reverted").json[0]
    assert (entry["old"], entry["reason"]) == ({"usage_count": 3, "co2e_kg": 9}, "Wrong meter")
    again = as_manager.post(path, json={})
    assert (again.status_code, again.json["detail"]) == (
        409,
        f"Import {imported['id']} has already been reverted.",
    )
    assert as_auditor.get(f"/usages?as_of={imported['recorded_at']}").json != []


def test_import_in_closed_period_cannot_be_reverted(as_manager):
    imported = load(as_manager, THREE)
    as_manager.post("/closed-periods", json={"until": "2024-01-02T00:00:00Z"})

    answer = as_manager.post(f"/imports/{imported['id']}/revert", json={})

    assert answer.status_code == 409
    assert amounts(as_manager) == [1, 2, 3]


def test_ndjson_keeps_exact_digits(as_member):
    lines = '{"usage_at":"2024-01-01T00:00:00Z","amount":0.1}\n{"amount":"0.2","usage_at":"2024-01-01T01:00:00Z"}\n'

    assert load(as_member, lines, media_type="application/x-ndjson")["amount"] == 0.3
    wrong = lines.replace("2024", "2025") + '{"amount":1}\n[1]\n{"usage_at":"2024-01-01T01:00:00Z","amount":true}\n'
    assert load(as_member, wrong, 422, "application/x-ndjson")["errors"]["file"] == {
        "3": ["usage_at: Missing data for required field."],
        "4": ["The line must be a JSON object."],
        "5": ["amount: Must be a string or a number."],
    }


LONDON = {"timezone": "Europe/London"}


@pytest.mark.parametrize(
    ("cell", "options", "meant"),
    [
        ("2024-07-01 12:00:00", LONDON, "2024-07-01T11:00:00Z"),
        ("2024-07-01T12:00:00+00:00", LONDON, "2024-07-01T12:00:00Z"),
        ("2024-10-27 01:30:00", LONDON | {"fold": "first"}, "2024-10-27T00:30:00Z"),
        ("2024-10-27 01:30:00", LONDON | {"fold": "second"}, "2024-10-27T01:30:00Z"),
        ("2024-10-27 01:30:00", LONDON, "This local time occurs twice in Europe/London. Set fold=order if "),
        ("2024-03-31 01:30:00", LONDON, "This local time does not exist in Europe/London"),
        ("31/12/2020 13:00", LONDON | {"date_order": "dmy"}, "2020-12-31T13:00:00Z"),
        ("12/31/2020", LONDON | {"date_order": "mdy"}, "2020-12-31T00:00:00Z"),
        ("31/12/2020 13:00", LONDON | {"date_order": "mdy"}, "Must be a date in the order mdy."),
        ("31/12/20", LONDON | {"date_order": "dmy"}, "Must be a date in the order dmy, with a year of four digits."),
        ("1880-01-01 00:00:00", LONDON, UtcDateTime.default_error_messages["years"]),
        ("2024-01-01 25:00:00", LONDON, "Must be a time of day."),
        ("2024-01-01 12:00:00", {}, "Give the offset from UTC"),
    ],
)
def test_times_without_offset_use_timezone(as_member, cell, options, meant):
    file = f"usage_at,amount\n{cell},1\n"

    if meant.startswith("20"):
        load(as_member, file, **options)
        assert as_member.get("/usages").json[0]["usage_at"] == meant
    else:
        assert load(as_member, file, 422, **options)["errors"]["file"]["2"][0].startswith(f"usage_at: {meant}")


def test_decimal_comma_and_other_delimiters(as_member):
    for day, (delimiter, name) in enumerate(((";", ";"), ("\t", "tab"), ("|", "pipe")), 1):
        file = f"usage_at{delimiter}amount\n2024-01-0{day}T00:00:00Z{delimiter}1,25\n"
        assert load(as_member, file, delimiter=name, decimal=",")["amount"] == 1.25
    rejected = load(as_member, "usage_at;amount\n2024-01-01T00:00:00Z;1.25\n", 422, delimiter=";", decimal=",")
    assert rejected["errors"]["file"] == {"2": ["amount: Must have a decimal comma, because `decimal` is a comma."]}


@pytest.mark.parametrize(
    "query", [{"columns": "usage_at"}, {"columns": "mood:x"}, {"mode": "all"}, {"round": "7"}, {"decimal": ";"}]
)
def test_invalid_option_is_422(as_member, query):
    assert list(load(as_member, THREE, 422, **query)["errors"]["query"]) == list(query)


CORPUS = {
    "amount": [
        "0", "-0", "1", "01", "007.50", "999999999999.999999", "1000000000000", "0.1234567", "0.1234560", "1e3", "1E3",
        "NaN", "Infinity", "-1", "-0.0", "+1", ".5", "5.", "1_0", "١", " 1", "1 ", "0x1", "1,5", "0" * 101,
    ],
    "usage_at": [
        "2024-01-31T12:00:00Z", "2024-01-31t12:00:00z", "2024-01-31 12:00:00+01:00", "2024-02-29T00:00:00Z",
        "2023-02-29T00:00:00Z", "2024-01-31T12:00:00", "2024-01-31", "2024-01-31T24:00:00Z", "2024-01-31T12:60:00Z",
        "2024-01-31T12:00:60Z", "2024-01-31T12:00:00.123456Z", "2024-01-31T12:00:00.1234567Z", "1900-01-01T00:00:00Z",
        "1900-01-01T00:00:00+00:01", "1899-12-31T23:59:59Z", "2200-12-31T23:59:59Z", "2200-12-31T23:59:59-00:01",
        "2201-01-01T00:00:00Z", "2024-01-31T12:00:00+14:00", "2024-01-31T12:00:00+24:00", "2024-01-31T12:00:00+23:59",
        "2024-04-31T00:00:00Z", "２024-01-31T12:00:00Z", "2024-01-31T12:00:00 01:00", "now", "2024-1-1T0:0:0Z",
    ],
    "region": ["GB", "US-CA", "US-CAMX", "gb", "GBR", "G", "US-", "US-123456789", "GB\n", " GB"],
    "quality": ["measured", "estimated", "guessed", "Measured", "measured "],
    "method": ["location", "market", "other"],
    "unit": ["kWh", "MWh", " kWh ", "x" * 51, "kg"],
    "note": ["x", "x" * 2000, "x" * 2001, "tab\tline\r\nend", "\x01", "\x7f", "\x85", "\\N", "\\", "🌍", "a\\tb", " "],
    "external_id": ["a", " a ", "a" * 200, "a" * 201, "a\tb", "\\N", "\\.", "ünï", "\x00b", " ", "a\nb", "\u2028"],
    "adjusts_closed_period_id": ["1", "0", "-1", "9" * 19, "1.5"],
    "usage_type_id": ["100", "0", "9223372036854775808", "1e2", "abc"],
}  # fmt: skip


def test_cells_are_validated_like_request_fields(as_member):
    good = {"usage_type_id": "100", "usage_at": "2024-01-31T12:00:00Z", "amount": "1"}
    typed = {"usage_type_id", "adjusts_closed_period_id"}
    shown = []
    for name, cells in CORPUS.items():
        for cell in cells:
            body = good | {name: cell}
            as_json = {
                key: json.loads(value) if key in typed and value.isdigit() else value for key, value in body.items()
            }
            errors = NewUsageSchema().validate(as_json)
            line = RowParser(FileFormat(), {}).copy_line(2, body)
            is_rejected = line.split("\t")[-2] != "\\N"
            if bool(errors) != is_rejected:
                shown.append((name, cell, errors, line))
    assert shown == []


def test_cells_are_stored_like_request_fields(as_member):
    schema = CellsSchema()
    for name in ("amount", "usage_at", "note"):
        for cell in CORPUS[name]:
            if cell.startswith("-") or schema.validate({name: cell}, partial=True):
                continue
            body = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": "1"} | {name: cell}
            assert as_member.post("/usages", json=body).status_code == 201, (name, cell)
            row = body | {"external_id": f"{name} {CORPUS[name].index(cell)}"}
            load(as_member, json.dumps(row) + "\n", media_type="application/x-ndjson")
            first, second = as_member.get("/usages?sort=-id&page_size=2").json
            assert first[name] == second[name], (name, cell)


def test_amounts_are_converted_like_in_requests(as_member):
    rows = [
        ("ft3", "0.000001"),
        ("imperial gallon", "12.345678"),
        ("ml", "0.000001"),
        ("gallon", "999999999999.999999"),
    ]
    m3 = factories.usage_type("gas", unit="m3")
    lines = "".join(f"2024-01-0{day}T00:00:00Z,{amount},{unit}\n" for day, (unit, amount) in enumerate(rows, 1))

    load(as_member, "usage_at,amount,unit\n" + lines, usage_type_id=m3.id)

    exact = json.loads(as_member.get("/usages?sort=usage_at").text, parse_float=Decimal, parse_int=Decimal)
    assert [usage["amount_in_type_unit"] for usage in exact] == [
        find_unit(unit, "m3").convert(Decimal(amount)) for unit, amount in rows
    ]

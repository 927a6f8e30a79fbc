"""Import of files through HTTP, with errors by line."""

import hashlib
import io
import json

import pytest

from carbonapi.rest.fields import UtcDateTime
from tests.support import factories
from tests.support.imports import post

GOOD = "usage_at,amount\n2024-01-01T00:00:00Z,0.1\n2024-01-01 01:00:00+00:00,0.2\n"

NONE_OF = (
    "changed_count", "unchanged_count", "skipped_count", "rejected_count", "created_meter_count", "blank_count",
    "rounded_count", "error_count",
)  # fmt: skip


def test_file_is_recorded_as_one_import(as_member):
    answer = post(as_member, GOOD)

    assert answer.status_code == 201
    imported = answer.json
    assert answer.headers["Location"] == f"/api/v1/imports/{imported['id']}"
    assert imported.pop("recorded_at").endswith("Z")
    assert imported == {
        "id": imported["id"],
        "organization_id": as_member.user.organization_id,
        "mode": "atomic",
        "on_conflict": "reject",
        "status": "completed",
        "progress": 1,
        "failure": None,
        "usage_count": 2,
        "new_count": 2,
        **dict.fromkeys(NONE_OF, 0),
        "co2e_kg": 0.45,
        "amount": 0.3,
        "errors": [],
        "sha256": hashlib.sha256(GOOD.encode()).hexdigest(),
        "warning_count": 0,
        "warnings": [],
        "recorded_by": as_member.user.id,
        "reverted_at": None,
        "reverted_by": None,
    }
    usages = as_member.get(f"/usages?import_id={imported['id']}&sort=usage_at").json
    assert [(usage["amount"], usage["co2e_kg"], usage["usage_at"]) for usage in usages] == [
        (0.1, 0.15, "2024-01-01T00:00:00Z"),
        (0.2, 0.3, "2024-01-01T01:00:00Z"),
    ]
    assert as_member.get(answer.headers["Location"]).json["usage_count"] == 2
    assert len(as_member.get("/imports").json) == 1


def test_file_can_have_every_column(as_manager, as_member):
    file = (
        "\ufeffuser_id,usage_type_id,usage_at,amount,region,quality,note,external_id\r\n"
        f'{as_member.user.id},101,2024-01-01T00:00:00+01:00,2,GB,estimated,"two\nlines, a comma",a-1\r\n'
        f"{as_manager.user.id},100,2024-01-01T00:00:00Z,3,,,,\r\n"
    )

    assert post(as_manager, file.encode(), "").status_code == 201

    usages = as_manager.get("/usages?sort=usage_at").json
    names = ("user_id", "usage_type_id", "amount", "region", "quality", "note", "external_id")
    assert [tuple(usage[name] for name in names) for usage in usages] == [
        (as_member.user.id, 101, 2, "GB", "estimated", "two\nlines, a comma", "a-1"),
        (as_manager.user.id, 100, 3, None, "measured", None, None),
    ]


def test_file_can_be_sent_as_form(as_member):
    form = {"file": (io.BytesIO(GOOD.encode()), "../../etc/passwd")}

    assert post(as_member, form, content_type="multipart/form-data").status_code == 201
    assert len(as_member.get("/usages").json) == 2
    for form in ({}, {"file": "text, without a file name"}):
        missing = post(as_member, {"mode": "partial"} | form, content_type="multipart/form-data")
        assert (missing.status_code, missing.json["errors"]) == (422, {"file": {"file": ["Missing."]}})


def test_form_fields_are_read_like_query_arguments(as_member):
    file = {"file": (io.BytesIO(b"usage_at,amount\n2024-01-01T00:00:00Z,1\n"), "a.csv")}
    form = {"mode": "dry-run", "usage_type_id": "101", "ignore": ["note", "region"]}

    answer = post(as_member, form | file, "", content_type="multipart/form-data")

    assert (answer.status_code, answer.json["status"], answer.json["new_count"]) == (200, "checked", 1)
    assert as_member.get("/usages").json == []


@pytest.mark.parametrize(
    ("form", "query", "location", "field"),
    [
        ({"mod": "dry-run"}, "?usage_type_id=100", "query", "mod"),
        ({"mode": "dry"}, "?usage_type_id=100", "query", "mode"),
        ({"mode": "dry-run"}, "?usage_type_id=100&mode=atomic", "query", "mode"),
        ({"mode": ["dry-run", "dry-run"]}, "?usage_type_id=100", "query", "mode"),
        ({"file": 2}, "?usage_type_id=100", "file", "file"),
        ({"other": 1}, "?usage_type_id=100", "file", "file"),
    ],
)
def test_invalid_form_is_422(as_member, form, query, location, field):
    parts = {"file": [(io.BytesIO(GOOD.encode()), "a.csv")]}
    for name, value in form.items():
        files = [(io.BytesIO(GOOD.encode()), "b.csv") for _ in range(value)] if isinstance(value, int) else value
        parts[name] = files

    answer = post(as_member, parts, query, content_type="multipart/form-data")

    assert (answer.status_code, list(answer.json["errors"][location])) == (422, [field]), answer.json
    assert as_member.get("/usages").json == []


def test_verification_has_no_form_fields(as_auditor):
    form = {"file": (io.BytesIO(b"id,version,co2e_kg\n"), "a.csv"), "mode": "dry-run"}

    answer = as_auditor.post("/verify", data=form, content_type="multipart/form-data")

    assert (answer.status_code, list(answer.json["errors"]["query"])) == (422, ["mode"])


def test_query_fills_missing_columns(as_manager, as_member):
    query = f"?usage_type_id=101&user_id={as_member.user.id}&quality=estimated"

    file = "usage_type_id,usage_at,amount\n,2024-01-01T00:00:00Z,1\n100,2024-01-01T01:00:00Z,1\n"

    assert post(as_manager, file, query).status_code == 201

    usages = as_manager.get("/usages?sort=usage_at").json
    assert [(usage["usage_type_id"], usage["user_id"], usage["quality"]) for usage in usages] == [
        (101, as_member.user.id, "estimated"),
        (100, as_member.user.id, "estimated"),
    ]


@pytest.mark.parametrize(
    ("file", "errors"),
    [
        (GOOD + "2024-01-01T02:00:00,1\n", {"4": "usage_at: Give the offset"}),
        (GOOD + "2024-01-01T02:00:00Z,\n", {"4": "amount: Missing data"}),
        (GOOD + "2024-01-01T02:00:00Z,-1\n", {"4": "amount: Must not be negative."}),
        (GOOD + "2024-01-01T02:00:00Z,1e3\n", {"4": "amount: Not a number."}),
        (GOOD + "2024-01-01T02:00:00Z,NaN\n", {"4": "amount: Not a number."}),
        (GOOD + "2024-01-01T02:00:00Z,0.0000001\n", {"4": "amount: At most 6 digits"}),
        (GOOD + "2024-01-01T02:00:00Z,1,2\n", {"4": "The row has 3 cells, but the header has 2."}),
        (GOOD + "2024-01-01T02:00:00Z\n", {"4": "The row has 1 cells, but the header has 2."}),
        (GOOD + '"2024-01-01T02:00:00Z,1\n', {"4": "Invalid CSV"}),
        (GOOD + "2024-01-01T02:00:00Z," + "1" * 131_072 + "\n", {"4": "Invalid CSV: a line has more than 131072"}),
        (GOOD + "2024-01-01T02:00:00Z,1" + ',"\n"' * 66_000 + "\n", {"4": "Invalid CSV: a line has more than"}),
        (GOOD + "1899-12-31T23:59:59Z,1\n", {"4": f"usage_at: {UtcDateTime.default_error_messages['years']}"}),
        (GOOD[:-1], {"1": "The file must end with a line break"}),
        ("", {"1": "The file must end with a line break"}),
        ("usage_at,amount\n", {"2": "The file has no usages."}),
        ("usage_at,amount,amount\n", {"1": "Duplicate column amount."}),
        ("usage_at,amount,mood\n", {"1": "Unknown column 'mood'"}),
        ("usage_at,amount,method\n", {"1": "Unknown column 'method'. Remove it: a usage has both numbers"}),
        ("usage_at\n", {"1": "Missing column amount."}),
        (GOOD.encode("utf-16"), {"1": "The file must be UTF-8. Byte 0 is not."}),
        (GOOD.encode() + b"2024-01-01T02:00:00Z,\xff\n", {"1": "The file must be UTF-8. Byte "}),
        (GOOD + "2024-01-01T02:00:00Z,\0\n", {"1": "The file must not contain NUL bytes."}),
    ],
)
def test_invalid_file_records_nothing_and_names_line(as_member, file, errors):
    answer = post(as_member, file)

    assert answer.status_code == 422
    shown = answer.json["errors"]["file"]
    assert list(shown) == list(errors)
    for line, beginning in errors.items():
        assert shown[line][0].startswith(beginning)
    assert as_member.get("/usages").json == []
    assert as_member.get("/imports").json == []


def test_errors_of_ledger_are_reported_by_line(as_member, as_manager, as_other_manager):
    late = factories.usage_type("late", factor="1", valid_from="2020-01-01")
    archived = factories.usage_type("gone", archived=True)
    known = factories.usage(as_member.user, external_id="known").id
    header = "user_id,usage_type_id,usage_at,amount,external_id\n"
    mine = as_manager.user.id
    lines = [
        f"{mine},100,2024-01-01T00:00:00Z,1,new",
        f"{mine},999999,2024-01-01T00:00:00Z,1,",
        f"{mine},{archived.id},2024-01-01T00:00:00Z,1,",
        f"{mine},{late.id},2019-01-01T00:00:00Z,1,",
        f"{as_other_manager.user.id},100,2024-01-01T00:00:00Z,1,",
        f"{as_member.user.id},100,2024-01-01T00:00:00Z,1,",
    ]

    answer = post(as_manager, header + "\n".join(lines) + "\n", "")
    assert answer.json["errors"]["file"] == {
        "3": ["usage_type_id: There is no usage type 999999; GET /usage-types lists them."],
        "4": ["usage_type_id: gone (kwh) is archived and accepts no new usages."],
        "5": [
            "usage_at: late (kwh) has no emission factor at 2019-01-01T00:00:00Z; "
            "the first is valid from 2020-01-01T00:00:00Z."
        ],
        "6": [f"user_id: There is no user {as_other_manager.user.id}."],
    }
    twice = header + "".join(f"{mine},100,2024-01-01T00:00:00Z,1,{id_}\n" for id_ in ("known", "new", "new"))
    assert post(as_manager, twice, "").json["errors"]["file"] == {
        "2": [f"external_id: 'known' is already in the ledger: usage {known}."],
        "4": ["external_id: 'new' is a duplicate of line 3."],
    }
    assert len(as_manager.get("/usages").json) == 1


def test_member_imports_only_own_usages(as_member, as_manager):
    rejected = post(as_member, GOOD, f"?usage_type_id=100&user_id={as_manager.user.id}")

    assert (rejected.status_code, list(rejected.json["errors"]["query"])) == (422, ["user_id"])


def test_first_hundred_errors_are_shown(as_member):
    answer = post(as_member, "usage_at,amount\n" + "x,1\n" * 150)

    assert answer.json["detail"].startswith("150 invalid rows")
    assert list(answer.json["errors"]["file"]) == [str(line) for line in range(2, 102)]


def test_file_over_limit_is_rejected_before_reading(app, as_member, monkeypatch):
    monkeypatch.setitem(app.config, "IMPORT_MAX_BYTES", len(GOOD) - 1)

    assert post(as_member, GOOD).status_code == 413
    assert (
        post(as_member, {"file": (io.BytesIO(GOOD.encode()), "f")}, content_type="multipart/form-data").status_code
        == 413
    )


def test_file_can_exceed_json_body_limit(as_member):
    file = "usage_at,amount,note\n" + "".join(f"2024-01-01T00:00:00.{n:06}Z,1,{'x' * 1000}\n" for n in range(1100))
    assert len(file) > 1024 * 1024

    assert post(as_member, file).status_code == 201
    pagination = json.loads(as_member.get("/usages?page_size=1").headers["X-Pagination"])
    assert pagination["total"] == 1100


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", None])
def test_other_media_types_are_rejected(as_member, content_type):
    assert post(as_member, GOOD, content_type=content_type).status_code == 415


def test_import_is_visible_to_sender_and_organization(as_member, as_manager, as_auditor, as_other_manager):
    path = post(as_manager, GOOD).headers["Location"]

    assert as_member.get(path).status_code == 404
    assert as_member.get("/imports").json == []
    assert as_auditor.get(path).status_code == 200
    assert as_other_manager.get(path).status_code == 404
    assert as_other_manager.get("/imports").json == []
    assert post(as_auditor, GOOD).status_code == 403

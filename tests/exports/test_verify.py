"""Verification reproduces unchanged exports, and finds each changed digit."""

import csv
import hashlib
import io
import random
import re

import pytest
import sqlalchemy as sa

from carbonapi.db import db
from tests.support import factories
from tests.support.random_ledger import record_at_random
from tests.support.scale import examples

USAGES = examples(400, 10_000)


def verified(client, file, content_type="text/csv"):
    answer = client.post("/verify", data=file, content_type=content_type)
    assert answer.status_code == 200, answer.text
    return answer.json


def changed(cell, dice):
    """Return the cell with one digit, or else letter, changed."""
    kind = "0123456789" if re.search("[0-9]", cell) else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    place = dice.choice([place for place, letter in enumerate(cell) if letter.upper() in kind])
    other = dice.choice([letter for letter in kind if letter != cell[place].upper()])
    return cell[:place] + other + cell[place + 1 :]


def test_random_export_is_reproduced_and_changes_are_found(as_manager, as_auditor):
    dice = random.Random(7)
    before = record_at_random(as_manager, dice, USAGES)
    lines = 0
    for query in ("?sort=id", f"?as_of={before}", "?format=ndjson", f"?format=ndjson&as_of={before}&sort=amount"):
        file = as_auditor.get(f"/usages/export{query}").data
        found = verified(as_auditor, file, "application/x-ndjson" if "ndjson" in query else "text/csv")
        assert (found["differing"], found["errors"]) == (0, {})
        assert found["lines"] == found["reproduced"]
        assert found["sha256"] == hashlib.sha256(file).hexdigest()
        lines += found["lines"]
    deleted = min(USAGES // 20, 50)
    assert lines == 2 * (USAGES - deleted) + 2 * USAGES

    header, *rows = csv.reader(io.StringIO(as_auditor.get("/usages/export").text), strict=True)
    places = list(range(len(rows)))
    filled = [sum(bool(row[column]) for row in rows) for column in range(len(header))]
    columns = sorted(range(len(header)), key=filled.__getitem__)  # Few usages are split.
    for _ in range(3):  # In each round three cells of every column: 279 in all.
        altered = [list(row) for row in rows]
        expected = {}
        for column in [column for column in columns for _ in range(3)]:
            full = (
                place for place in dice.sample(places, len(places)) if re.search("[0-9A-Za-z]", rows[place][column])
            )
            place = next(place for place in full if str(place + 2) not in expected)
            altered[place][column] = changed(rows[place][column], dice)
            expected[str(place + 2)] = header[column]
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([header, *altered])
        found = verified(as_auditor, file.getvalue())
        assert (found["differing"], found["reproduced"]) == (93, len(rows) - 93)
        assert found["errors"].keys() == expected.keys()
        for line, name in expected.items():
            shown = " ".join(found["errors"][line])
            assert f"{name}: the file has" in shown or name in ("id", "version"), (line, name, shown)


@pytest.fixture
def usage(as_manager):
    return factories.usage(as_manager.user, "12.5", note="n", external_id="a")


def test_errors_show_values_of_file_and_ledger(as_manager, usage):
    head = "id,version,amount,co2e_kg,note,usage_at,region\n"
    lines = [
        f"{usage.id},1,12.5,18.75,n,2024-01-01T00:00:00Z,",
        f"{usage.id},1,12.6,18.76,,2024-01-02T00:00:00Z,GB",
        f"{usage.id},2,12.5,18.75,n,2024-01-01T00:00:00Z,",
        "x,1,,1,,,",
        f"{usage.id},99999999999,12.5,18.75,n,,",
        f"{10**18 * 9},1,12.5,18.75,n,,",
        f"{usage.id},,12.5,18.75,n,,",
        f"{usage.id},1,12.5,18.75,n,2024-01-01T00:00:00Z,",
    ]

    found = verified(as_manager, head + "\n".join(lines) + "\n")

    assert (found["lines"], found["reproduced"], found["differing"]) == (8, 1, 7)
    assert found["errors"] == {
        "3": [
            "amount: the file has 12.6; the ledger has 12.5 in version 1.",
            "co2e_kg: the file has 18.76; the ledger has 18.75 in version 1.",
            "note: the file has nothing; the ledger has n in version 1.",
            "usage_at: the file has 2024-01-02T00:00:00Z; the ledger has 2024-01-01T00:00:00Z in version 1.",
            "region: the file has GB; the ledger has nothing in version 1.",
        ],
        "4": [f"There is no version 2 of usage {usage.id}."],
        "5": ["There is no version 1 of usage x."],
        "6": [f"There is no version 99999999999 of usage {usage.id}."],
        "7": ["There is no version 1 of usage 9000000000000000000."],
        "8": [f"There is no version nothing of usage {usage.id}."],
        "9": [f"Version 1 of usage {usage.id} is a duplicate of line 2."],
    }


def test_numbers_and_times_may_have_other_spelling(as_manager, usage):
    file = f"id,version,amount,co2e_kg,usage_at\n{usage.id},1,012.50,18.750,2024-01-01T01:00:00+01:00\n"

    assert verified(as_manager, file)["differing"] == 0


def test_removed_columns_of_older_exports_are_ignored(as_manager, usage):
    file = f"id,version,method,co2e_kg\n{usage.id},1,location,18.75\n"

    assert verified(as_manager, file)["differing"] == 0


def test_superseded_and_deleted_versions_are_verified(as_manager, usage):
    as_manager.patch(f"/usages/{usage.id}", json={"amount": 2})
    as_manager.delete(f"/usages/{usage.id}")

    found = verified(as_manager, f"id,version,co2e_kg\n{usage.id},1,18.75\n{usage.id},2,3\n{usage.id},2,4\n")

    assert list(found["errors"]) == ["4"]


@pytest.mark.parametrize(
    ("tampering", "messages"),
    [
        (
            "amount_in_type_unit = 10",
            [
                "amount_in_type_unit: the ledger has 10 in version 1; 12.5 kwh are 12.5 kwh.",
                "co2e_kg: the ledger has 15 in version 1; 12.5 kwh × 1.5 are 18.75.",
                "market_co2e_kg: the ledger has 15 in version 1; 12.5 kwh × 1.5 are 18.75.",
            ],
        ),
        (
            "factor = 1.6",
            [
                "factor: the ledger has 1.6 in version 1; emission factor {factor} of the catalogue is 1.5.",
                "factor: the factors of the ledger in version 1 are not those of valuation",
                "co2e_kg: the ledger has 20 in version 1; 12.5 kwh × 1.5 are 18.75.",
            ],
        ),
        (
            "amount = 12.6",
            [
                "amount_in_type_unit: the ledger has 12.5 in version 1; 12.6 kwh are 12.6 kwh.",
                "co2e_kg: the ledger has 18.75 in version 1; 12.6 kwh × 1.5 are 18.9.",
                "market_co2e_kg: the ledger has 18.75 in version 1; 12.6 kwh × 1.5 are 18.9.",
            ],
        ),
        ("provisional = true", ["provisional: the ledger has true in version 1; valuation {valuation} has false."]),
        ("unit = 'kg'", ["unit: kg cannot be converted into kwh."]),
    ],
)
def test_changed_value_in_database_is_found(as_manager, usage, tampering, messages):
    db.session.execute(sa.text(f"UPDATE usages SET {tampering} WHERE id = :id"), {"id": usage.id})

    (errors,) = verified(as_manager, as_manager.get("/usages/export").text)["errors"].values()

    expected = [message.format(factor=usage.emission_factor_id, valuation=usage.valuation_id) for message in messages]
    assert [error[: len(message)] for error, message in zip(errors, expected, strict=True)] == expected


def test_changed_line_of_valuation_is_found(as_manager, usage):
    change = "UPDATE valuation_lines SET factor = 7 WHERE valuation_id = :id AND line = 'market'"
    db.session.execute(sa.text(change), {"id": usage.valuation_id})

    (errors,) = verified(as_manager, as_manager.get("/usages/export").text)["errors"].values()

    assert errors == [f"factor: lines of valuation {usage.valuation_id} were changed: market."]


def test_consistent_change_in_database_is_found_by_old_export(as_manager, usage):
    file = as_manager.get("/usages/export").text
    change = "UPDATE usages SET amount = 20, amount_in_type_unit = 20 WHERE id = :id"
    db.session.execute(sa.text(change), {"id": usage.id})

    (errors,) = verified(as_manager, file)["errors"].values()

    assert errors == [
        "amount: the file has 12.5; the ledger has 20 in version 1.",
        "amount_in_type_unit: the file has 12.5; the ledger has 20 in version 1.",
        "co2e_kg: the file has 18.75; the ledger has 30 in version 1.",
        "market_co2e_kg: the file has 18.75; the ledger has 30 in version 1.",
    ]


def test_invisible_usages_are_not_verified(as_manager, as_member, as_other_manager, as_auditor, as_admin, usage):
    file = f"id,version,co2e_kg\n{usage.id},1,18.75\n"
    unseen = {"2": [f"There is no version 1 of usage {usage.id}."]}

    for client, errors in (
        (as_manager, {}),
        (as_auditor, {}),
        (as_admin, {}),
        (as_member, unseen),
        (as_other_manager, unseen),
    ):
        assert verified(client, file)["errors"] == errors


def test_file_can_be_sent_as_form(as_manager, usage):
    for name, query in (("a.csv", ""), ("a.ndjson", "?format=ndjson")):
        form = {"file": (io.BytesIO(as_manager.get(f"/usages/export{query}").data), name)}
        assert verified(as_manager, form, "multipart/form-data")["reproduced"] == 1


GOOD = '{"id":1,"version":1,"co2e_kg":1}\n'


@pytest.mark.parametrize(
    ("file", "errors"),
    [
        ("usage_at,amount\n", {"1": "Missing column id."}),
        ("id,version,co2e_kg,mood\n", {"1": "Unknown column 'mood'"}),
        ("id,version,co2e_kg,id\n", {"1": "Duplicate column id."}),
        ("id,version,co2e_kg\n1,1\n", {"2": "The row has 2 cells, but the header has 3."}),
        ("id,version,co2e_kg\n1,1,1", {"1": "The file must end with a line break"}),
        (GOOD + '{"id":1,"version":1}\n', {"2": "Missing column co2e_kg."}),
        (GOOD + '{"id":1,"version":1,"co2e_kg":1,"mood":1}\n', {"2": "Unknown column 'mood'"}),
        (GOOD + '{"id":1,"version":1,"co2e_kg":1,"co2e_kg":2}\n', {"2": "Duplicate column co2e_kg."}),
        (GOOD + '{"id":1,"version":1,"co2e_kg":true}\n', {"2": "co2e_kg: Must be a string or a number."}),
        (GOOD + '{"id":1,"version":1,"co2e_kg":{"a":1}}\n', {"2": "co2e_kg: Must be a string or a number."}),
        (GOOD + "[1]\n", {"2": "The line must be a JSON object."}),
        (GOOD + "{\n", {"2": "The line must be a JSON object."}),
        (GOOD + "[" * 100_000 + "\n", {"2": "The line must be a JSON object."}),
        (GOOD + '{"id":1,"version":1,"co2e_kg":1', {"1": "The file must end with a line break"}),
    ],
)
def test_unreadable_export_has_errors_by_line(as_member, file, errors):
    answer = as_member.post("/verify", data=file, content_type="text/csv")

    assert answer.status_code == 422
    assert answer.json["detail"].startswith("1 invalid row; nothing was verified.") or "1" in errors
    shown = answer.json["errors"]["file"]
    assert list(shown) == list(errors)
    for line, beginning in errors.items():
        assert shown[line][0].startswith(beginning)


def test_odd_values_are_shown_or_shortened(as_manager, usage):
    values = ['"\\ud800"', f'"{"9" * 1000}"', "1e400000000", "NaN", '""', '"\\u0000"', "-18.75", '"18,75"']
    file = "".join(f'{{"id":{usage.id},"version":1,"co2e_kg":{value}}}\n' for value in values)

    errors = verified(as_manager, file, "application/x-ndjson")["errors"]

    shown = ["?", "9" * 100 + "…", "1e400000000", "NaN", "an empty text", "\0", "-18.75", "18,75"]
    assert [error[0].removeprefix("co2e_kg: the file has ").partition(";")[0] for error in errors.values()] == shown


def test_oversized_file_and_other_media_type_are_rejected(app, as_member, monkeypatch):
    monkeypatch.setitem(app.config, "IMPORT_MAX_BYTES", 10)

    assert as_member.post("/verify", data="id,version,co2e_kg\n", content_type="text/csv").status_code == 413
    assert as_member.post("/verify", data="x", content_type="application/json").status_code == 415

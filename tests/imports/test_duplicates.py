"""Nothing is recorded twice: rows that the file or the ledger already has, and files that were imported before."""

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from carbonapi.auth import Actor, acting_as
from carbonapi.commands.usages import import_usage_file, load_options
from carbonapi.db import db
from carbonapi.errors import FileAlreadyImported
from carbonapi.imports.checks.conflicts import existing_readings, hash_joins
from carbonapi.imports.checks.earlier_imports import reject_repeated_file
from carbonapi.imports.models import Import
from carbonapi.imports.service import import_file
from carbonapi.imports.staging import STAGED
from carbonapi.usages.models import Usage
from tests.support import factories
from tests.support.imports import post
from tests.support.plans import plan_of

HEADER = "usage_at,amount\n"
GOOD = HEADER + "2024-01-01T00:00:00Z,1\n2024-01-01T01:00:00Z,2\n"
INTERVALS = "usage_at,usage_until,amount\n"
SAME_TIME = "has the same user, usage type and time"


def rejected(answer):
    """Return the messages of a rejected file by line."""
    assert (answer.status_code, answer.json["type"]) == (422, "urn:carbonapi:problem:validation-failed"), answer.text
    return answer.json["errors"]["file"]


def count(client):
    return len(client.get("/usages?page_size=1000").json)


def test_identical_lines_are_one_row_error(as_member):
    answer = post(as_member, GOOD + "2024-01-01T01:00:00Z,2\n")

    assert rejected(answer) == {
        "4": [f"usage_at: Line 3 {SAME_TIME}. Remove one of the lines, or give each an external_id."]
    }
    assert count(as_member) == 0


@pytest.mark.parametrize("on_conflict", ["reject", "skip", "replace"])
def test_later_line_of_a_reading_is_rejected(as_member, on_conflict):
    file = HEADER + "2024-01-01T00:00:00Z,1\n2024-01-01T01:00:00+01:00,2\n"

    imported = post(as_member, file, f"?usage_type_id=100&mode=partial&on_conflict={on_conflict}").json

    assert [(error["line"], error["found"]) for error in imported["errors"]] == [(3, "2024-01-01T00:00:00Z")]
    assert count(as_member) == 1


def test_interval_and_reading_at_its_start_differ(as_member):
    file = (
        INTERVALS + "2024-01-01T00:00:00Z,,1\n2024-01-01T00:00:00Z,2024-02-01T00:00:00Z,1\n"
        "2024-01-01T00:00:00Z,2024-03-01T00:00:00Z,1\n"
    )

    assert post(as_member, file).json["new_count"] == 3


def test_adjustment_and_reading_at_same_time_differ(as_manager):
    post(as_manager, GOOD)
    closed = as_manager.post("/closed-periods", json={"until": "2024-01-01T00:30:00Z"}).json["id"]
    adjustment = f"usage_at,amount,adjusts_closed_period_id\n2024-01-01T01:00:00Z,-1,{closed}\n"

    assert post(as_manager, adjustment).json["new_count"] == 1
    assert list(rejected(post(as_manager, adjustment + f"2024-01-02T00:00:00Z,-1,{closed}\n"))) == ["2"]


def test_reading_in_ledger_is_rejected_and_named(as_member):
    post(as_member, GOOD)
    second = as_member.get("/usages?sort=-usage_at").json[0]["id"]
    file = HEADER + "2024-01-01T01:00:00Z,9\n2024-01-02T00:00:00Z,1\n"

    answer = post(as_member, file)
    partial = post(as_member, file, "?usage_type_id=100&mode=partial").json

    message = f"The ledger already has this reading: usage {second} {SAME_TIME}."
    assert rejected(answer) == {"2": [f"usage_at: {message}"]}
    assert (partial["new_count"], partial["errors"]) == (
        1,
        [{"line": 2, "column": "usage_at", "found": "2024-01-01T01:00:00Z", "message": message}],
    )
    assert count(as_member) == 3


def test_known_external_id_names_usage(as_member):
    usage = factories.usage(as_member.user, external_id="a")

    answer = post(as_member, "usage_at,amount,external_id\n2024-01-01T00:00:00Z,1,a\n")

    assert rejected(answer) == {"2": [f"external_id: 'a' is already in the ledger: usage {usage.id}."]}


def test_same_reading_of_other_user_or_type_is_new(as_manager, as_member):
    post(as_manager, GOOD)

    assert post(as_manager, GOOD, f"?usage_type_id=100&user_id={as_member.user.id}&again=true").status_code == 201
    assert post(as_manager, GOOD, "?usage_type_id=101&again=true").status_code == 201


def test_single_usages_may_be_equal(as_member):
    usage = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}

    assert [as_member.post("/usages", json=usage).status_code for _ in range(2)] == [201, 201]


def test_same_file_again_is_409_and_names_import(as_member, as_manager):
    first = post(as_member, GOOD).json

    for client, query in (
        (as_member, ""),
        (as_member, "&mode=dry-run"),
        (as_member, "&mode=partial&on_conflict=skip"),
        (as_manager, "&on_conflict=replace"),
    ):
        answer = post(client, GOOD, f"?usage_type_id=100{query}")
        message = (
            f"This file was imported before: import {first['id']} of {first['recorded_at']}. Revert it first, or set "
            "again=true to import the file again."
        )
        assert (answer.status_code, answer.json["type"]) == (409, "urn:carbonapi:problem:file-already-imported")
        assert (answer.json["detail"], answer.json["errors"]) == (message, {"query": {"again": [message]}})
    assert (count(as_manager), len(as_manager.get("/imports").json)) == (2, 1)


def test_repeated_file_is_rejected_before_it_is_staged(as_member, statements):
    post(as_member, GOOD)
    statements.clear()

    assert post(as_member, GOOD).status_code == 409
    assert not [statement for statement in statements if "CREATE TEMPORARY TABLE staged" in statement]


def test_same_file_again_is_imported_when_asked(as_member):
    first = post(as_member, GOOD).json["id"]

    again = post(as_member, GOOD, "?usage_type_id=100&again=true")
    skipped = post(as_member, GOOD, "?usage_type_id=100&again=true&on_conflict=skip").json

    ids = [usage["id"] for usage in as_member.get(f"/usages?import_id={first}&sort=usage_at").json]
    start = "usage_at: The ledger already has this reading: usage "
    assert rejected(again) == {str(line): [f"{start}{id_} {SAME_TIME}."] for line, id_ in zip((2, 3), ids, strict=True)}
    assert (skipped["unchanged_count"], count(as_member)) == (2, 2)


def test_reverted_or_foreign_file_can_be_imported(as_manager, as_other_manager):
    first = post(as_manager, GOOD).json["id"]

    assert post(as_other_manager, GOOD).status_code == 201
    assert as_manager.post(f"/imports/{first}/revert", json={}).status_code == 200
    assert post(as_manager, GOOD).status_code == 201
    assert post(as_manager, GOOD).status_code == 409


def test_rejected_file_can_be_sent_again(as_member):
    unknown = GOOD + "2024-01-01T02:00:00Z,two\n"

    assert [post(as_member, unknown).status_code for _ in range(2)] == [422, 422]


def test_export_is_rejected_by_its_own_ledger(as_manager, as_other_manager):
    post(as_manager, GOOD)
    export = as_manager.get("/usages/export").text

    assert list(rejected(post(as_manager, export, ""))) == ["2", "3"]
    assert post(as_other_manager, export, "?ignore=user_id").json["new_count"] == 2


def test_command_imports_a_file_again_when_asked(as_member, tmp_path):
    user = as_member.user
    runner, path = CliRunner(), tmp_path / "june.csv"
    path.write_text(GOOD)
    post(as_member, GOOD)

    options = load_options(user.id, "100", None, again="true", on_conflict="skip")
    with acting_as(Actor(user.id, user.organization_id, "manager", "UTC")):
        with path.open("rb") as file, pytest.raises(FileAlreadyImported):
            import_file(file, factories.now(), **load_options(user.id, "100", None))
        with path.open("rb") as file:
            assert import_file(file, factories.now(), **options).unchanged_count == 2
    assert "--again" in runner.invoke(import_usage_file, ["--help"]).output


def stage(rows):
    """Fill the staging table with this number of hourly readings from 2024-01-01 on, of the user of the ledger."""
    db.session.execute(sa.schema.CreateTable(STAGED))
    db.session.execute(
        sa.text(
            "INSERT INTO staged (line, user_id, usage_type_id, usage_at, amount, outcome) SELECT n, :user_id, 100, "
            "'2024-01-01'::timestamptz + n * interval '1 hour', 1, 'new' FROM generate_series(1, :rows) n"
        ),
        rows,
    )
    db.session.execute(sa.text("ANALYZE staged"))


def test_readings_are_found_by_index_and_hash_join(many_usages):
    stage({"user_id": many_usages.id, "rows": 24})
    statement = existing_readings(Usage.organization_id == many_usages.organization_id)

    compiled = statement.compile(db.engine)
    with hash_joins():
        plan = plan_of(str(compiled), compiled.params)

    assert ("Hash Join", None) in plan
    assert {index for kind, index in plan if "Index" in kind} <= {"ix_usages_by_user", "ix_usages_by_time"}
    assert ("Seq Scan", "usages") not in plan
    assert len(db.session.execute(statement).all()) == 24


def test_earlier_import_is_found_by_index(as_manager, statements):
    organization_id, user_id = as_manager.user.organization_id, as_manager.user.id
    db.session.execute(
        sa.text(
            "INSERT INTO imports (organization_id, sha256, recorded_by) "
            "SELECT :organization_id, md5(n::text), :user_id FROM generate_series(1, 5000) n"
        ),
        {"organization_id": organization_id, "user_id": user_id},
    )
    db.session.execute(sa.text("ANALYZE imports"))
    sent = []

    def note(connection, cursor, statement, parameters, context, executemany):
        sent.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    with acting_as(Actor(user_id, organization_id, "manager", "UTC")):
        reject_repeated_file(Import(organization_id=organization_id, sha256="none"))
    sa.event.remove(sa.Engine, "before_cursor_execute", note)

    (search,) = [each for each in sent if "sha256" in each[0]]
    plan = plan_of(*search)
    assert [index for kind, index in plan if index] == ["ix_imports_by_file"], plan

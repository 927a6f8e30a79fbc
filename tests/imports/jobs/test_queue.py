"""Queued imports complete once, or fail with all errors."""

import json

import pytest
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.accounts import sessions
from carbonapi.db import db
from carbonapi.imports.jobs.queue import MAX_ATTEMPTS, run_next
from tests.support import factories
from tests.support.apps import operator_context, settings_for
from tests.support.client import Client
from tests.support.databases import ALL_ORGANIZATIONS, as_observer, as_owner, execute

GOOD = "usage_at,amount\n2024-01-01T00:00:00Z,0.1\n2024-01-01T01:00:00Z,0.2\n"
BAD = "usage_at,amount,external_id\n" + "".join(f"2024-01-01T00:00:00Z,x,{number}\n" for number in range(150))
ASYNC = {"Prefer": "respond-async"}


class House:
    """A service on a database with real commits, its users, and a way to run queued imports."""

    def __init__(self, database_url):
        self.database_url = database_url
        self.app = create_app(settings_for(database_url))
        with operator_context(self.app):
            own, other = factories.organization(), factories.organization()
            users = {role: factories.user(own, role) for role in ("manager", "member", "auditor")}
            users |= {"second": factories.user(own, "manager"), "other": factories.user(other, "manager")}
            self.people = {
                name: Client(self.app, sessions.create(user, factories.now()), user) for name, user in users.items()
            }
            db.session.commit()

    def __getattr__(self, name):
        return self.people[name]

    def run_next(self):
        with operator_context(self.app):
            return run_next()

    def figures(self, statement):
        """Return the rows of a query by another connection."""
        engine = sa.create_engine(self.database_url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]


@pytest.fixture
def house(fresh_database_url):
    made = House(fresh_database_url)
    yield made
    with operator_context(made.app):
        db.engine.dispose()


def send(client, file, query="?usage_type_id=100", **headers):
    return client.post(f"/imports{query}", data=file, content_type="text/csv", headers=ASYNC | headers)


def finished(house, answer):
    """Run the queued import of this response, and return it."""
    assert (answer.status_code, answer.json["status"]) == (202, "queued"), answer.text
    assert house.run_next() is True
    return house.manager.get(answer.headers["Location"]).json


def test_queued_file_is_imported_after_response(house):
    answer = send(house.member, GOOD)

    assert answer.status_code == 202
    queued = answer.json
    assert answer.headers["Location"] == f"/api/v1/imports/{queued['id']}"
    assert (answer.headers["Preference-Applied"], answer.headers["Retry-After"]) == ("respond-async", "1")
    assert (queued["status"], queued["progress"], queued["usage_count"]) == ("queued", 0, 0)
    assert house.member.get(answer.headers["Location"]).json == queued
    assert house.member.get("/usages").json == []

    assert house.run_next() is True
    assert house.run_next() is False

    completed = house.member.get(answer.headers["Location"]).json
    later = GOOD.replace("2024", "2025")
    at_once = house.member.post("/imports?usage_type_id=100", data=later, content_type="text/csv").json
    assert queued["recorded_at"] < completed["recorded_at"] < at_once["recorded_at"]
    for row in (completed, at_once):
        del row["id"], row["recorded_at"], row["sha256"]
    assert completed == at_once
    usages = house.member.get(f"/usages?import_id={queued['id']}&sort=usage_at").json
    assert [(usage["amount"], usage["recorded_by"]) for usage in usages] == [
        (0.1, house.member.user.id),
        (0.2, house.member.user.id),
    ]
    assert house.figures("SELECT (SELECT count(*) FROM import_uploads), (SELECT count(*) FROM import_chunks)") == [
        (0, 0)
    ]


def test_audit_entry_names_sender_and_request(house):
    imported = finished(house, send(house.member, GOOD, **{"X-Request-ID": "the-one"}))

    entries = house.auditor.get("/audit-entries?subject=import").json

    names = ("action", "subject_id", "actor_id", "actor_role", "address", "request_id")
    assert [tuple(entry[name] for name in names) for entry in entries] == [
        ("imported", imported["id"], house.member.user.id, "member", "127.0.0.1", "the-one")
    ]


@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ("Respond-Async", 202),
        ("handling=lenient, respond-async; x=y, wait=5", 202),
        ("respond-asynchronously", 201),
        ("wait=5", 201),
        ('x="respond-async"', 201),
        (", ;", 201),
    ],
)
def test_only_prefer_respond_async_queues_import(house, prefer, status):
    answer = send(house.member, GOOD, Prefer=prefer)

    assert (answer.status_code, "Preference-Applied" in answer.headers) == (status, status == 202)


def test_dry_run_is_never_queued(house):
    answer = send(house.member, GOOD, "?usage_type_id=100&mode=dry-run")

    assert (answer.status_code, answer.json["id"], answer.json["status"]) == (200, None, "checked")
    assert answer.json["new_count"] == 2
    assert house.member.get("/imports").json == []


def test_queued_import_applies_all_options(house):
    theirs = house.member.user.id
    query = (
        f"?usage_type_id=101&user_id={theirs}&on_conflict=replace&mode=partial&columns=usage_at:start,amount:value"
        "&delimiter=;&decimal=,&timezone=Europe/London&date_order=dmy&round=1&blank=skip&ignore=note&quality=estimated"
    )
    send(house.manager, "start;value\n01/07/2024 12:00;9\n", query)
    house.run_next()
    file = "start;value;note\n01/07/2024 12:00;1,25;x\n01/07/2024 13:00;;x\n01/07/2024 14:00;3,5;x\nlater;1;x\n"

    imported = finished(house, send(house.manager, file, query))

    names = ("mode", "on_conflict", "new_count", "changed_count", "blank_count", "rounded_count", "rejected_count")
    assert [imported[name] for name in names] == ["partial", "replace", 1, 1, 1, 1, 1]
    assert imported["errors"][0]["line"] == 5
    usages = house.manager.get("/usages?sort=usage_at").json
    names = ("user_id", "usage_type_id", "usage_at", "amount", "quality", "note")
    assert [tuple(usage[name] for name in names) for usage in usages] == [
        (theirs, 101, "2024-07-01T11:00:00Z", 1.2, "estimated", None),
        (theirs, 101, "2024-07-01T13:00:00Z", 3.5, "estimated", None),
    ]


def test_queued_import_resolves_names_and_finds_gaps(house):
    theirs = house.member.user
    query = f"?usage_type=heating&user_email={theirs.email.upper()}"
    file = "usage_at,amount,unit\n" + "".join(f"2024-01-0{day}T00:00:00Z,1,m3\n" for day in (1, 2, 3, 6))

    imported = finished(house, send(house.manager, file, query))

    assert (imported["status"], imported["warning_count"]) == ("completed", 1)
    assert imported["warnings"] == [
        {
            "line": 5,
            "kind": "gap",
            "message": "No reading since 2024-01-03T00:00:00Z; usually there is one every day.",
            "overlaps_line": None,
            "overlaps_usage_id": None,
            "gap_start": "2024-01-03T00:00:00Z",
            "gap_end": "2024-01-06T00:00:00Z",
        }
    ]
    usages = house.manager.get(f"/usages?import_id={imported['id']}").json
    assert [(usage["user_id"], usage["usage_type_id"]) for usage in usages] == [(theirs.id, 104)] * 4


@pytest.mark.parametrize(
    ("file", "error_count"),
    [
        (BAD, 150),
        (GOOD.replace("amount\n", "amount,usage_type_id\n").replace(".2", ".2,999").replace(".1", ".1,100"), 1),
        (GOOD.replace(",0.2", ",0.2,1"), 1),
        (GOOD.replace("amount\n", "amount,user_email\n").replace(".1", ".1,").replace(".2", ".2,a@example.org"), 1),
        ("usage_at,amount,mood\n", 1),
    ],
    ids=["lines", "what the ledger lacks", "cells", "names", "header"],
)
def test_failed_import_has_errors_of_request(house, file, error_count):
    rejected = house.member.post("/imports?usage_type_id=100", data=file, content_type="text/csv").json

    failed = finished(house, send(house.member, file))

    assert (failed["status"], failed["failure"]) == ("failed", rejected["detail"])
    assert (failed["usage_count"], failed["co2e_kg"]) == (0, None)
    assert (failed["error_count"], failed["rejected_count"]) == (error_count, error_count)
    shown = {}
    for error in failed["errors"]:
        column = f"{error['column']}: " if error["column"] else ""
        shown.setdefault(str(error["line"]), []).append(column + error["message"])
    assert shown == rejected["errors"]["file"]
    errors = house.member.get(f"/imports/{failed['id']}/errors?page_size=1")
    assert json.loads(errors.headers["X-Pagination"])["total"] == error_count
    export = house.member.get(f"/imports/{failed['id']}/errors/export?format=ndjson").text
    assert export.count("\n") == error_count
    assert house.figures("SELECT count(*) FROM usages") == [(0,)]
    assert house.figures("SELECT count(*) FROM import_chunks") == [(0,)]
    assert house.run_next() is False


def test_unreadable_file_is_rejected_before_queueing(house):
    answer = send(house.member, GOOD[:-1])

    assert (answer.status_code, list(answer.json["errors"]["file"])) == (422, ["1"])
    stranger = send(house.member, GOOD, f"?usage_type_id=100&user_id={house.other.user.id}")
    assert (stranger.status_code, list(stranger.json["errors"]["query"])) == (422, ["user_id"])
    for name, value in (("user_email", house.other.user.email), ("usage_type", "steam")):
        unknown = send(house.member, GOOD, f"?{name}={value}")
        assert (unknown.status_code, list(unknown.json["errors"]["query"])) == (422, [name])
    assert house.figures("SELECT count(*) FROM imports") == [(0,)]


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        (
            {"role": "auditor"},
            "The user who sent the file now has the role auditor and may not record usages; nothing was recorded.",
        ),
        ({"active": False}, "The user who sent the file is no longer active; nothing was recorded."),
    ],
)
def test_queued_import_fails_if_sender_lost_permission(house, change, failure):
    answer = send(house.second, GOOD)
    assert house.manager.patch(f"/users/{house.second.user.id}", json=change).status_code == 200

    failed = finished(house, answer)

    assert (failed["status"], failed["failure"], failed["error_count"]) == ("failed", failure, 0)
    assert house.manager.get("/usages").json == []


def test_queued_import_uses_present_role_of_sender(house):
    answer = send(house.second, GOOD, f"?usage_type_id=100&user_id={house.member.user.id}")
    house.manager.patch(f"/users/{house.second.user.id}", json={"role": "member"})

    failed = finished(house, answer)

    assert failed["status"] == "failed"
    assert failed["errors"][0]["message"] == f"There is no user {house.member.user.id}."


def test_only_completed_import_can_be_reverted(house):
    answer = send(house.member, GOOD)
    path = f"{answer.headers['Location']}/revert"

    rejected = house.member.post(path, json={})
    assert rejected.status_code == 409
    assert rejected.json["detail"] == (
        f"Import {answer.json['id']} is queued. It can be reverted when it has completed."
    )
    house.run_next()
    assert house.member.post(path, json={}).status_code == 200
    failed = finished(house, send(house.member, BAD))
    rejected = house.member.post(f"/imports/{failed['id']}/revert", json={})
    assert (rejected.status_code, rejected.json["detail"]) == (
        409,
        f"Import {failed['id']} failed and recorded nothing, so it cannot be reverted.",
    )


def test_queued_import_has_visibility_of_completed_one(house):
    path = send(house.manager, GOOD).headers["Location"]

    assert house.other.get(path).status_code == 404
    assert house.other.get("/imports").json == []
    assert house.member.get(path).status_code == 404
    assert house.auditor.get(path).json["status"] == "queued"
    assert send(house.auditor, GOOD).status_code == 403


def test_locked_upload_is_skipped(house):
    first, second = (send(house.member, GOOD.replace("2024", year)).json["id"] for year in ("2024", "2025"))
    engine = sa.create_engine(house.database_url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS)
    with engine.begin() as other:
        other.execute(sa.text("SELECT id FROM import_uploads ORDER BY id LIMIT 1 FOR UPDATE"))
        assert house.run_next() is True
        assert house.run_next() is False
        assert house.figures("SELECT id, status FROM imports ORDER BY id") == [(first, "queued"), (second, "completed")]

    assert house.run_next() is True
    assert house.figures("SELECT DISTINCT status FROM imports") == [("completed",)]


def test_import_is_retried_after_database_error(house):
    send(house.member, GOOD)
    execute(as_owner(house.database_url), "ALTER TABLE usages RENAME TO away")
    with pytest.raises(sa.exc.ProgrammingError):
        house.run_next()
    assert house.figures("SELECT status, attempt_count FROM imports") == [("running", 1)]
    execute(as_owner(house.database_url), "ALTER TABLE away RENAME TO usages")

    assert house.run_next() is True

    assert house.figures("SELECT status, attempt_count FROM imports") == [("completed", 2)]
    assert house.figures("SELECT count(*) FROM usages") == [(2,)]


def test_import_is_abandoned_after_five_attempts(house):
    answer = send(house.member, GOOD)
    execute(as_observer(house.database_url), f"UPDATE imports SET attempt_count = {MAX_ATTEMPTS}")

    failed = finished(house, answer)

    assert (failed["status"], failed["failure"]) == (
        "failed",
        "The import was abandoned after 5 attempts; nothing was recorded.",
    )
    assert house.figures("SELECT count(*) FROM import_uploads") == [(0,)]


def test_upload_of_several_chunks_keeps_order(house):
    lines = [f"2024-01-01T00:00:00.{number:06}Z,{number},{'x' * 200}\n" for number in range(10_000)]

    imported = finished(house, send(house.member, "usage_at,amount,note\n" + "".join(lines)))

    assert (imported["status"], imported["usage_count"], imported["amount"]) == ("completed", 10_000, 49_995_000)


def test_queued_imports_are_recorded_by_their_senders(house):
    send(house.member, GOOD), send(house.manager, GOOD.replace("0.2", "0.3"))

    assert (house.run_next(), house.run_next()) == (True, True)

    assert house.figures("SELECT recorded_by, count(*) FROM usages GROUP BY 1 ORDER BY min(id)") == [
        (house.member.user.id, 2),
        (house.manager.user.id, 2),
    ]

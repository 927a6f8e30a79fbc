"""Changes by other transactions while an import runs: a row error, or a clean conflict, and never half an import."""

import threading

import pytest
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.accounts.models import Organization
from carbonapi.db import db
from carbonapi.imports.checks import earlier_imports
from carbonapi.imports.jobs.queue import run_next
from carbonapi.periods.service import LOCK_CLASS
from carbonapi.sites.models import Site
from tests.support import factories
from tests.support.apps import operator_context, settings_for
from tests.support.client import Client
from tests.support.databases import ALL_ORGANIZATIONS
from tests.support.processes import wait_until
from tests.support.threads import at_once

HEADER = "usage_type_id,usage_at,amount,external_id\n"
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def engine(fresh_database_url):
    engine = sa.create_engine(fresh_database_url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS)
    yield engine
    engine.dispose()


@pytest.fixture
def usage_type(committing):
    with operator_context(committing.http.application):
        return factories.usage_type("heat").id


def file_of(usage_type_id, amount=1):
    rows = ((100, "a"), (usage_type_id, "b"))
    return HEADER + "".join(f"{id_},2024-01-01T00:00:00Z,{amount},{external_id}\n" for id_, external_id in rows)


def load(client, file, query=""):
    return client.post(f"/imports{query}", data=file, content_type="text/csv")


def load_during(engine, client, statements, file, query=""):
    """Return the response to an import that waits for a transaction with these statements."""
    answers = []
    importing = threading.Thread(target=lambda: answers.append(load(client, file, query)))
    with engine.connect() as watcher, engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
        importing.start()

        def is_waiting():
            with watcher.begin():
                return watcher.scalar(sa.text(WAITS)) == 1

        wait_until(is_waiting, 20)
    importing.join(60)
    return answers[0]


def count(engine, table):
    with engine.connect() as connection:
        return connection.scalar(sa.text(f"SELECT count(*) FROM {table}"))


CHANGES = {
    "archived": ["UPDATE usage_types SET archived = true WHERE id = {id}"],
    "deleted factor": ["DELETE FROM emission_factors WHERE usage_type_id = {id}"],
    "ended factor": ["UPDATE emission_factors SET valid_until = '2000-01-01Z' WHERE usage_type_id = {id}"],
}
MESSAGES = {
    "archived": "usage_type_id: heat (kwh) is archived",
    "deleted factor": "usage_at: heat (kwh) has no emission factor at 2024-01-01T00:00:00Z",
    "ended factor": "usage_at: heat (kwh) has no emission factor at 2024-01-01T00:00:00Z",
}


@pytest.mark.parametrize("change", CHANGES)
def test_concurrent_change_of_references_is_row_error(committing, engine, usage_type, change):
    statements = [statement.format(id=usage_type) for statement in CHANGES[change]]

    answer = load_during(engine, committing, statements, file_of(usage_type))

    assert answer.status_code == 422, answer.text
    ((line, (message,)),) = answer.json["errors"]["file"].items()
    assert (line, message.startswith(MESSAGES[change])) == ("3", True), message
    assert (count(engine, "usages"), count(engine, "imports")) == (0, 0)


def test_concurrent_change_rejects_row_of_partial_import(committing, engine, usage_type):
    statements = [f"UPDATE usage_types SET archived = true WHERE id = {usage_type}"]

    answer = load_during(engine, committing, statements, file_of(usage_type), "?mode=partial")

    assert answer.status_code == 201, answer.text
    assert (answer.json["new_count"], answer.json["rejected_count"]) == (1, 1)
    assert (count(engine, "usages"), count(engine, "import_row_errors")) == (1, 1)


def test_concurrently_closed_period_is_row_error(committing, engine, usage_type):
    organization_id, user_id = committing.user.organization_id, committing.user.id
    statements = [
        f"SELECT pg_advisory_xact_lock({LOCK_CLASS}, {organization_id})",
        "INSERT INTO closed_periods (organization_id, until, closed_at, closed_by) "
        f"VALUES ({organization_id}, '2025-01-01Z', now(), {user_id})",
    ]

    answer = load_during(engine, committing, statements, file_of(usage_type))

    assert answer.status_code == 422, answer.text
    assert list(answer.json["errors"]["file"]) == ["2", "3"]
    assert "usage_at: " in answer.json["errors"]["file"]["2"][0]
    assert (count(engine, "usages"), count(engine, "imports")) == (0, 0)


def test_concurrently_deleted_usage_is_conflict(committing, engine, usage_type):
    assert load(committing, file_of(usage_type)).status_code == 201
    statements = ["DELETE FROM usages WHERE external_id = 'b'"]

    answer = load_during(engine, committing, statements, file_of(usage_type, 2), "?on_conflict=replace")

    assert (answer.status_code, answer.json["detail"]) == (
        409,
        "The ledger changed during the import, so nothing was recorded. Send the file again.",
    )
    assert (count(engine, "usages"), count(engine, "usage_versions"), count(engine, "imports")) == (1, 0, 1)
    again = load(committing, file_of(usage_type, 2), "?on_conflict=replace").json
    assert (again["new_count"], again["changed_count"]) == (1, 1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE usage_types SET archived = true WHERE id = {id}",
        "DELETE FROM emission_factors WHERE usage_type_id = {id}",
        "UPDATE emission_factors SET valid_until = '2000-01-01Z' WHERE organization_id IS NULL",
        f"SELECT pg_advisory_xact_lock({LOCK_CLASS}, {{organization_id}})",
    ],
)
def test_checked_references_stay_locked_until_commit(committing, engine, usage_type, statement):
    answers = []
    importing = threading.Thread(target=lambda: answers.append(load(committing, file_of(usage_type))))
    with engine.connect() as watcher, engine.begin() as connection:
        # The import has written all but its audit entry, for which it waits.
        connection.execute(sa.text("LOCK TABLE audit_entries IN SHARE MODE"))
        importing.start()

        def is_waiting():
            with watcher.begin():
                return watcher.scalar(sa.text(WAITS)) == 1

        wait_until(is_waiting, 20)
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"), watcher.begin():
            watcher.execute(sa.text("SET LOCAL lock_timeout = '200ms'"))
            watcher.execute(sa.text(statement.format(id=usage_type, organization_id=committing.user.organization_id)))
    importing.join(60)

    assert (answers[0].status_code, count(engine, "usages")) == (201, 2)


@pytest.fixture
def clients(committing, fresh_database_url):
    """Two clients of the same user, each of an application with its own connections, as in two processes."""
    other = create_app(settings_for(fresh_database_url))
    yield committing, Client(other, committing.tokens, committing.user)
    with other.app_context():
        db.engine.dispose()


def readings(month, note):
    """Return a file of 100 readings. Files of a month have the same readings; `note` makes them differ."""
    lines = (f"2024-{month:02}-{1 + n // 24:02}T{n % 24:02}:00:00Z,{n},{note}\n" for n in range(100))
    return "usage_at,amount,note\n" + "".join(lines)


def import_queued(clients, number, files, query):
    """Queue the files, and run them in this number of threads. Return the finished imports."""
    headers = {"Prefer": "respond-async"}
    paths = []
    for file in files:
        answer = clients[0].post(f"/imports{query}", data=file, content_type="text/csv", headers=headers)
        assert answer.status_code == 202, answer.text
        paths.append(answer.headers["Location"])

    def run(place):
        with operator_context(clients[place % 2].http.application):
            return run_next()

    assert at_once(number, run) == [True] * number
    return [clients[0].get(path).json for path in paths]


@pytest.mark.parametrize("on_conflict", ["reject", "skip", "replace"])
@pytest.mark.parametrize("way", ["direct", "queued"])
@pytest.mark.parametrize("is_same_file", [True, False])
def test_simultaneous_imports_record_a_reading_once(clients, engine, way, on_conflict, is_same_file):
    query = f"?usage_type_id=100&on_conflict={on_conflict}"
    for number in (2, 3, 4):
        files = [readings(number, "same" if is_same_file else place) for place in range(number)]
        if way == "direct":
            answers = at_once(number, lambda place, files=files: load(clients[place % 2], files[place], query))
            statuses = sorted(answer.status_code for answer in answers)
            loser = 409 if is_same_file else 422 if on_conflict == "reject" else 201
            assert statuses == sorted([201] + [loser] * (number - 1)), [answer.text for answer in answers]
            finished = [answer.json for answer in answers if answer.status_code == 201]
        else:
            finished = import_queued(clients, number, files, query)
            loser = "failed" if is_same_file or on_conflict == "reject" else "completed"
            assert sorted(each["status"] for each in finished) == sorted(["completed"] + [loser] * (number - 1))
        assert sorted(each["new_count"] for each in finished)[-1] == 100
        assert sum(each["new_count"] for each in finished) == 100
        count_and_sum = f"SELECT count(*), sum(amount) FROM usages WHERE extract(month FROM usage_at) = {number}"
        with engine.connect() as connection:
            assert tuple(connection.execute(sa.text(count_and_sum)).one()) == (100, 4950)


def test_client_that_gives_up_and_retries_never_doubles(committing, engine):
    file, answers = readings(1, "slow"), []
    first = threading.Thread(target=lambda: load(committing, file, "?usage_type_id=100"))
    second = threading.Thread(target=lambda: answers.append(load(committing, file, "?usage_type_id=100")))
    with engine.connect() as watcher, engine.begin() as connection:
        # The first import has written all but its audit entry. The second waits for the first.
        connection.execute(sa.text("LOCK TABLE audit_entries IN SHARE MODE"))
        for thread, waiting in ((first, 1), (second, 2)):
            thread.start()

            def is_waiting(waiting=waiting):
                with watcher.begin():
                    return watcher.scalar(sa.text(WAITS)) == waiting

            wait_until(is_waiting, 20)
    first.join(60)
    second.join(60)

    assert (answers[0].status_code, answers[0].json["type"]) == (409, "urn:carbonapi:problem:file-already-imported")
    assert (count(engine, "usages"), count(engine, "imports")) == (100, 1)


KEY = "SELECT pg_advisory_xact_lock(hashtextextended('imports', {organization_id}))"


def test_import_that_waits_too_long_is_503(committing, engine, monkeypatch):
    monkeypatch.setattr(earlier_imports, "LOCK_SECONDS", 1)
    with engine.begin() as connection:
        connection.execute(sa.text(KEY.format(organization_id=committing.user.organization_id)))
        usage = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}

        waiting = load(committing, readings(1, ""), "?usage_type_id=100")
        dry_run = load(committing, readings(1, ""), "?usage_type_id=100&mode=dry-run")
        single = committing.post("/usages", json=usage)

    assert (waiting.status_code, waiting.json["detail"]) == (
        503,
        "Another import of your organization is still running, so nothing was recorded. Try again shortly.",
    )
    assert int(waiting.headers["Retry-After"]) >= 1
    assert (dry_run.status_code, single.status_code) == (200, 201)
    assert count(engine, "imports") == 0


def test_imports_of_other_organizations_do_not_wait(committing, engine):
    with engine.begin() as connection:
        connection.execute(sa.text(KEY.format(organization_id=committing.user.organization_id + 1)))

        assert load(committing, readings(1, ""), "?usage_type_id=100").status_code == 201


@pytest.fixture
def site_id(committing):
    with operator_context(committing.http.application):
        return factories.site(db.session.get_one(Organization, committing.user.organization_id)).id


def readings_of_meters(note):
    """Return a file of 50 readings of each of two meters, at the same times."""
    lines = (f"2024-01-{1 + n // 24:02}T{n % 24:02}:00:00Z,{n},{note},{meter}\n" for n in range(50) for meter in "AB")
    return "usage_at,amount,note,meter\n" + "".join(lines)


@pytest.mark.parametrize("on_conflict", ["reject", "skip", "replace"])
@pytest.mark.parametrize("way", ["direct", "queued"])
def test_simultaneous_imports_of_a_meter_record_a_reading_once(clients, engine, site_id, way, on_conflict):
    query = f"?usage_type_id=100&on_conflict={on_conflict}&create_meters=true&site_id={site_id}"
    files = [readings_of_meters(note) for note in range(3)]
    if way == "direct":
        answers = at_once(3, lambda place: load(clients[place % 2], files[place], query))
        loser = 422 if on_conflict == "reject" else 201
        assert sorted(answer.status_code for answer in answers) == [201, loser, loser], answers[0].text
        finished = [answer.json for answer in answers if answer.status_code == 201]
    else:
        finished = import_queued(clients, 3, files, query)
        loser = "failed" if on_conflict == "reject" else "completed"
        assert sorted(each["status"] for each in finished) == sorted(["completed", loser, loser])
    assert sum(each["new_count"] for each in finished) == 100
    assert sum(each["created_meter_count"] for each in finished) == 2
    with engine.connect() as connection:
        count_and_sum = "SELECT count(*), sum(amount), count(DISTINCT meter_id) FROM usages"
        assert tuple(connection.execute(sa.text(count_and_sum)).one()) == (100, 2450, 2)


def test_concurrently_archived_meter_is_row_error(committing, engine, site_id):
    with operator_context(committing.http.application):
        site = db.session.scalars(sa.select(Site)).one()
        meter_id = factories.meter(site, "A").id
    file = "usage_at,amount\n2024-01-01T00:00:00Z,1\n"
    statements = [f"UPDATE meters SET archived = true WHERE id = {meter_id}"]

    answer = load_during(engine, committing, statements, file, f"?meter_id={meter_id}")

    assert answer.status_code == 422, answer.text
    assert answer.json["errors"]["file"]["2"][0].startswith(f"meter_id: The meter {meter_id} or its site is archived")
    assert (count(engine, "usages"), count(engine, "imports")) == (0, 0)

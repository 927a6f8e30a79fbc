"""Changes by other transactions while an import runs: a row error, or a clean conflict, and never half an import."""

import threading

import pytest
import sqlalchemy as sa

from tests.support import factories
from tests.support.apps import operator_context
from tests.support.databases import ALL_ORGANIZATIONS
from tests.support.processes import wait_until

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
        "LOCK TABLE usages, usage_versions IN SHARE ROW EXCLUSIVE MODE",
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
        "LOCK TABLE usages, usage_versions IN SHARE ROW EXCLUSIVE MODE",
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
            watcher.execute(sa.text(statement.format(id=usage_type)))
    importing.join(60)

    assert (answers[0].status_code, count(engine, "usages")) == (201, 2)

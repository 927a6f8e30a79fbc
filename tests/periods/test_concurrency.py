"""Closing a period while usages are written: no change slips in, and other organizations do not wait."""

import contextlib
import threading

import pytest
import sqlalchemy as sa

from carbonapi.accounts import sessions
from carbonapi.db import db
from carbonapi.periods.service import LOCK_CLASS
from tests.support import factories
from tests.support.apps import operator_context
from tests.support.client import Client
from tests.support.databases import ALL_ORGANIZATIONS
from tests.support.processes import wait_until

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 1}
LATER = {"usage_at": "2024-06-01T00:00:00Z"}
END = {"until": "2024-04-01T00:00:00Z"}
FILE = {"data": "usage_at,amount\n2024-01-01T00:00:00Z,1\n", "content_type": "text/csv"}
CLOSE = """
    INSERT INTO closed_periods (organization_id, until, closed_at, closed_by)
    VALUES (:organization_id, '2024-04-01Z', now(), :user_id)
"""
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def engine(fresh_database_url):
    engine = sa.create_engine(fresh_database_url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS)
    yield engine
    engine.dispose()


@pytest.fixture
def other(committing):
    """A manager of another organization."""
    app = committing.http.application
    with operator_context(app):
        user = factories.user(factories.organization(), "manager")
        tokens = sessions.create(user, factories.now())
        db.session.commit()
        db.session.remove()
    return Client(app, tokens, user)


@contextlib.contextmanager
def closing(engine, manager):
    """Close the first quarter of a manager's organization in a transaction that commits at the end of the block."""
    row = {"organization_id": manager.user.organization_id, "user_id": manager.user.id, "lock_class": LOCK_CLASS}
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock_class, :organization_id)"), row)
        connection.execute(sa.text(CLOSE), row)
        yield


def wait_for_waiting(engine, number):
    def are_waiting():
        with engine.connect() as watcher:
            return watcher.scalar(sa.text(WAITS)) == number

    wait_until(are_waiting, 20)


def start(answers, act):
    thread = threading.Thread(target=lambda: answers.append(act()))
    thread.start()
    return thread


def requests(client, usage):
    """Return a request for each way to change a usage of January."""
    path = f"/usages/{usage['id']}"
    return {
        "record": lambda: client.post("/usages", json=USAGE),
        "correct": lambda: client.patch(path, json={"amount": 2}),
        "move": lambda: client.patch(path, json=LATER),
        "replace": lambda: client.put(path, json=USAGE | {"amount": 2}),
        "delete": lambda: client.delete(path),
        "delete several": lambda: client.delete(f"/usages?id={usage['id']}"),
    }


@pytest.mark.parametrize("kind", ["record", "correct", "move", "replace", "delete", "delete several"])
def test_write_that_waits_for_a_closing_is_409(committing, engine, kind):
    usage, writes = committing.post("/usages", json=USAGE).json, []
    with closing(engine, committing):
        writing = start(writes, requests(committing, usage)[kind])
        wait_for_waiting(engine, 1)
    writing.join(60)

    assert writes[0].status_code == 409, writes[0].text
    assert "is closed until 2024-04-01T00:00:00Z." in writes[0].json["detail"]
    assert committing.get("/usages").json == [usage]


def test_import_that_waits_for_a_closing_is_rejected(committing, engine):
    imports = []
    with closing(engine, committing):
        importing = start(imports, lambda: committing.post("/imports?usage_type_id=100", **FILE))
        wait_for_waiting(engine, 1)
    importing.join(60)

    assert (imports[0].status_code, list(imports[0].json["errors"]["file"])) == (422, ["2"])
    assert committing.get("/usages").json == []


def test_closing_waits_for_a_write(committing, engine):
    usage, closings = committing.post("/usages", json=USAGE).json, []
    organization_id = committing.user.organization_id
    with engine.begin() as connection:
        connection.execute(sa.text(f"SELECT recording_time({organization_id})"))
        thread = start(closings, lambda: committing.post("/closed-periods", json=END))
        wait_for_waiting(engine, 1)
        connection.execute(sa.text(f"DELETE FROM usages WHERE id = {usage['id']}"))
    thread.join(60)

    assert closings[0].status_code == 201
    assert committing.get("/usages").json == []


def test_closing_does_not_wait_for_other_organizations(committing, other, engine):
    other.post("/usages", json=USAGE)
    organization_id = other.user.organization_id
    # A write of the other organization that has not been committed.
    with engine.begin() as connection:
        connection.execute(sa.text(f"SELECT recording_time({organization_id})"))
        connection.execute(sa.text(f"UPDATE usages SET note = 'x' WHERE organization_id = {organization_id}"))
        assert committing.post("/closed-periods", json=END).status_code == 201
        waited = other.post("/closed-periods", json=END)

    assert (waited.status_code, int(waited.headers["Retry-After"]) >= 1) == (503, True)
    assert other.post("/closed-periods", json=END).status_code == 201


def test_writes_do_not_wait_for_closing_elsewhere(committing, other, engine):
    with closing(engine, committing):
        recorded = other.post("/usages", json=USAGE)
        imported = other.post("/imports?usage_type_id=101", **FILE)
        closed = other.post("/closed-periods", json=END)
        assert committing.get("/usages").status_code == 200

    assert (recorded.status_code, imported.status_code, closed.status_code) == (201, 201, 201)

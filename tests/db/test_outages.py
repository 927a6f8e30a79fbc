"""Outages of the database: the service reports them within seconds and recovers by itself."""

import contextlib
import threading
import time

import flask
import flask_migrate
import pytest
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.db import allow, db, timeouts
from tests.support import factories
from tests.support.apps import operator_context, settings_for
from tests.support.client import Client
from tests.support.databases import ALL_ORGANIZATIONS, as_owner, connections_in_use, cut_connections, execute, url_of
from tests.support.processes import wait_until


def test_service_without_a_database_is_alive_but_not_ready():
    app = create_app(settings_for("postgresql+psycopg2://nobody@127.0.0.1:1/nothing"))
    stranger = Client(app)

    assert stranger.get("/health/live").status_code == 200
    started_at = time.monotonic()
    for answer in (
        stranger.get("/health/ready"),
        stranger.post("/auth/login", json={"email": "a@example.org", "password": factories.PASSWORD}),
    ):
        assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
        assert answer.headers["Retry-After"] == "2"
        assert "127.0.0.1" not in answer.text
    assert time.monotonic() - started_at < 7


def test_partly_migrated_database_is_not_ready(fresh_database_url):
    app = create_app(settings_for(fresh_database_url))
    owner = create_app(settings_for(as_owner(fresh_database_url)), as_owner=True)
    stranger = Client(app)
    assert stranger.get("/health/ready").status_code == 200
    with operator_context(owner):
        flask_migrate.downgrade(revision="first_tables")
    assert stranger.get("/health/ready").status_code == 503
    with operator_context(owner):
        flask_migrate.downgrade(revision="base")
    registration = {"email": "a@example.org", "password": factories.PASSWORD, "name": "A"}
    for answer in (stranger.get("/health/ready"), stranger.post("/auth/register", json=registration)):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    execute(as_owner(fresh_database_url), "INSERT INTO alembic_version VALUES ('of a newer version')")
    assert stranger.get("/health/ready").status_code == 200
    for each_app in (app, owner):
        with operator_context(each_app):
            db.engine.dispose()


def test_empty_database_is_not_ready(server_url):
    app = create_app(settings_for(url_of(server_url, "postgres")))
    answer = Client(app).get("/health/ready")

    assert (answer.status_code, "carbonapi migrate" in answer.json["detail"]) == (503, True)
    with operator_context(app):
        db.engine.dispose()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_broken_connections_are_replaced(committing, fresh_database_url, method):
    app = committing.http.application
    usage = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}
    with connections_in_use(app, 4):
        pass

    cut_connections(fresh_database_url)

    with contextlib.ExitStack() as others:
        for _ in range(4):  # Each on another connection, because the previous ones are in use.
            assert committing.open("/usages", method, json=usage).status_code == {"GET": 200, "POST": 201}[method]
            others.enter_context(connections_in_use(app, 1))
        assert committing.open("/usages", method, json=usage).status_code == {"GET": 200, "POST": 201}[method]


def test_connection_broken_during_a_request_is_503(committing, fresh_database_url):
    usage = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}
    sent = []

    def cut(connection, cursor, statement, parameters, context, executemany):
        sent.append(statement)
        if len(sent) == 1:
            cut_connections(fresh_database_url)

    sa.event.listen(sa.Engine, "before_cursor_execute", cut)
    try:
        for ask in (lambda: committing.get("/usages"), lambda: committing.post("/usages", json=usage)):
            sent.clear()
            answer = ask()
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
            assert ask().status_code in (200, 201)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", cut)


@contextlib.contextmanager
def cutting_copies(url):
    """Break the first connection that runs COPY within the block."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    terminate = sa.text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                      "WHERE datname = current_database() AND state = 'active' AND query LIKE 'COPY %'")  # fmt: skip
    with engine.connect() as connection:
        cutter = threading.Thread(target=lambda: wait_until(lambda: connection.scalar(terminate)))
        cutter.start()
        try:
            yield
        finally:
            cutter.join()
    engine.dispose()


def test_import_with_a_connection_broken_in_copy_is_503(committing, fresh_database_url):
    lines = (f"2024-01-01T00:00:00.{number:06}Z,1\n" for number in range(50_000))
    file = "".join(["usage_at,amount\n", *lines]).encode()
    with cutting_copies(fresh_database_url):
        answer = committing.post("/imports?usage_type_id=100", data=file, content_type="text/csv")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert committing.get("/usages").json == []


def test_connection_broken_after_last_statement_is_harmless(committing, fresh_database_url):
    def cut(sender, response):
        cut_connections(fresh_database_url)

    with flask.request_finished.connected_to(cut, committing.http.application):
        assert committing.get("/usages").status_code == 200
    assert committing.get("/usages").status_code == 200


def test_connection_is_transactional_again_after_autocommit(committing, monkeypatch):
    monkeypatch.setitem(committing.http.application.config, "SESSION_CACHE_SECONDS", 5)
    for _ in range(2):  # Only the second finds its session in the cache, and so sends a single statement.
        assert committing.get("/usages").status_code == 200

    with operator_context(committing.http.application), db.engine.connect() as connection:
        connection.execute(sa.text("UPDATE organizations SET name = 'Changed'"))
        connection.rollback()
        assert connection.scalar(sa.text("SELECT count(*) FROM organizations WHERE name = 'Changed'")) == 0


def test_timeouts_are_set(committing):
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    with committing.http.application.app_context():
        shown = {name: db.session.scalar(sa.text(f"SHOW {name}")) for name in names}
        pool = db.engine.pool
        db.session.remove()

    assert shown == dict(zip(names, ("30s", "2s", "10s"), strict=True))
    assert pool.timeout() == 2


def test_allow_sets_timeouts_of_the_transaction(app):
    allow(minutes=10, lock_seconds=30)

    shown = [db.session.scalar(sa.text(f"SHOW {name}")) for name in ("statement_timeout", "lock_timeout")]
    assert shown == ["10min", "30s"]
    assert timeouts(idle_seconds=60) == "SET LOCAL idle_in_transaction_session_timeout = '60s'"


def test_read_only_database_is_readable_but_not_ready(committing, fresh_database_url):
    usage = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}
    name = sa.engine.make_url(fresh_database_url).database
    execute(as_owner(fresh_database_url), f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    cut_connections(fresh_database_url)

    assert committing.get("/usages").status_code == 200
    for answer in (committing.post("/usages", json=usage), committing.get("/health/ready")):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    execute(as_owner(fresh_database_url), "SET default_transaction_read_only = off", f"ALTER DATABASE {name} RESET ALL")
    cut_connections(fresh_database_url)
    assert committing.post("/usages", json=usage).status_code == 201
    assert committing.get("/health/ready").status_code == 200


@pytest.mark.parametrize("state", ["08006", "53100", "53300", "57014", "57P01", "25006", "40001", "55P03"])
def test_transient_database_error_is_503(as_manager, state):
    def fail(connection, cursor, statement, parameters, context, executemany):
        if " usages" in statement:
            cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$")

    sa.event.listen(sa.Engine, "before_cursor_execute", fail)
    try:
        answer = as_manager.get("/usages")
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", fail)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


def test_exhausted_pool_is_503_after_two_seconds(committing):
    app = committing.http.application
    assert committing.get("/usages").status_code == 200
    with connections_in_use(app, app.config["DATABASE_POOL_SIZE"]):
        started_at = time.monotonic()
        answer = committing.get("/usages")
        assert 2 <= time.monotonic() - started_at < 3
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert committing.get("/usages").status_code == 200


def test_draining_service_is_alive_but_not_ready(fresh_database_url, tmp_path):
    app = create_app(settings_for(fresh_database_url, DRAIN_FILE=str(tmp_path / "draining")))
    stranger = Client(app)
    assert stranger.get("/health/ready").status_code == 200

    (tmp_path / "draining").touch()

    assert stranger.get("/health/ready").json["detail"] == "The service is stopping."
    assert stranger.get("/health/ready").status_code == 503
    assert stranger.get("/health/live").status_code == 200
    with app.app_context():
        db.engine.dispose()


def test_lock_timeout_is_503(committing, fresh_database_url, monkeypatch):
    usage = committing.post(
        "/usages", json={"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}
    ).json
    engine = sa.create_engine(fresh_database_url, connect_args=ALL_ORGANIZATIONS)
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT * FROM usages FOR UPDATE"))
        started_at = time.monotonic()
        answer = committing.patch(f"/usages/{usage['id']}", json={"amount": 2})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert time.monotonic() - started_at < 7
    engine.dispose()
    assert committing.patch(f"/usages/{usage['id']}", json={"amount": 2}).json["version"] == 2

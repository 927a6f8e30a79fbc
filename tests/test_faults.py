"""The database away: the service says so in seconds, and heals by itself."""

import time

import flask_migrate
import pytest
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.accounts import sessions
from carbonapi.db import db
from tests import factories
from tests.conftest import Client, execute, settings_for, url_of


def test_without_a_database_the_service_is_alive_and_not_ready():
    app = create_app(settings_for("postgresql+psycopg2://nobody@127.0.0.1:1/nothing"))
    stranger = Client(app)

    assert stranger.get("/health/live").status_code == 200
    began = time.monotonic()
    for answer in (
        stranger.get("/health/ready"),
        stranger.post("/auth/login", json={"email": "a@example.org", "password": factories.PASSWORD}),
    ):
        assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
        assert answer.headers["Retry-After"] == "2"
        assert "127.0.0.1" not in answer.text
    assert time.monotonic() - began < 7


def test_a_database_amid_its_migrations_is_not_ready_and_answers_503(fresh_database_url):
    app = create_app(settings_for(fresh_database_url))
    stranger = Client(app)
    assert stranger.get("/health/ready").status_code == 200
    with app.app_context():
        flask_migrate.downgrade(revision="first_tables")
    assert stranger.get("/health/ready").status_code == 503
    with app.app_context():
        flask_migrate.downgrade(revision="base")
    registration = {"email": "a@example.org", "password": factories.PASSWORD, "name": "A"}
    for answer in (stranger.get("/health/ready"), stranger.post("/auth/register", json=registration)):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    execute(fresh_database_url, "INSERT INTO alembic_version VALUES ('of a newer server')")
    assert stranger.get("/health/ready").status_code == 200
    with app.app_context():
        db.engine.dispose()


def test_a_database_that_was_not_migrated_is_not_ready(server_url):
    app = create_app(settings_for(url_of(server_url, "postgres")))
    answer = Client(app).get("/health/ready")

    assert (answer.status_code, "carbonapi migrate" in answer.json["detail"]) == (503, True)
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def client(fresh_database_url):
    app = create_app(settings_for(fresh_database_url))
    with app.app_context():
        user = factories.user(factories.organization())
        tokens = sessions.begin(user, factories.now())
        db.session.commit()
        db.session.remove()
    yield Client(app, tokens, user)
    with app.app_context():
        db.engine.dispose()


def test_connections_that_were_cut_are_replaced(client, fresh_database_url):
    assert client.get("/usages").status_code == 200

    execute(
        fresh_database_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()",
    )

    assert client.get("/usages").status_code == 200


def test_a_statement_that_waits_too_long_for_a_lock_is_503(client, fresh_database_url, monkeypatch):
    usage = client.post("/usages", json={"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}).json
    engine = sa.create_engine(fresh_database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT * FROM usages FOR UPDATE"))
        began = time.monotonic()
        answer = client.patch(f"/usages/{usage['id']}", json={"amount": 2})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert time.monotonic() - began < 7
    engine.dispose()
    assert client.patch(f"/usages/{usage['id']}", json={"amount": 2}).json["version"] == 2

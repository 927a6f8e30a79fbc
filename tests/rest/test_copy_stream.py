"""Streamed exports: constant memory, complete or visibly truncated, without leaks."""

import csv
import json
import time
import urllib.request

import pytest
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.accounts import sessions
from carbonapi.db import db
from carbonapi.rest import copy_stream
from tests.support import factories
from tests.support.apps import SECRET_KEY, operator_context, settings_for
from tests.support.client import Client, bearer
from tests.support.databases import ALL_ORGANIZATIONS
from tests.support.processes import wait_until
from tests.support.servers import serving

ROWS = 8_000  # Some 100 MB: far more than is written ahead, and than sockets keep.
PATH = "/api/v1/usages/export?sort=id"


@pytest.fixture(scope="module")
def tokens(module_database_url):
    """Tokens of a manager with many usages."""
    app = create_app(settings_for(module_database_url, ACCESS_TOKEN_MINUTES=1440))
    with operator_context(app):
        organization = factories.organization()
        user = factories.user(organization, "manager")
        tokens = sessions.create(user, factories.now())
        db.session.execute(
            sa.text(
                """
                INSERT INTO usages (organization_id, user_id, usage_type_id, usage_at, amount, unit,
                                    amount_in_type_unit, valuation_id, emission_factor_id, factor, market_factor,
                                    recorded_by, version, note)
                SELECT organization_id, :user_id, 100, '2024-01-01'::timestamptz + n * interval '1 minute', 1, 'kwh',
                       1, v.id, emission_factor_id, factor, market_factor, :user_id, 1, repeat('x', 12500)
                FROM generate_series(1, :rows) n, valuations v WHERE v.id = :valuation_id
                """
            ),
            {"valuation_id": factories.valuation(organization.id), "user_id": user.id, "rows": ROWS},
        )
        db.session.commit()
        db.session.remove()
        db.engine.dispose()
    return tokens


@pytest.fixture
def real_app(module_database_url, tokens):
    """The app with a pool of its own."""
    app = create_app(settings_for(module_database_url, DATABASE_POOL_SIZE=2))
    app.testing = True
    app.config["PROPAGATE_EXCEPTIONS"] = False
    yield app
    with operator_context(app):
        db.engine.dispose()


@pytest.fixture
def manager(real_app, tokens):
    return Client(real_app, tokens)


def taken_out(app):
    with operator_context(app):
        return db.engine.pool.checkedout()


def busy(url):
    """Return the number of the service's connections that are in a transaction."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS)
    with engine.connect() as connection:
        return connection.scalar(
            sa.text(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'carbonapi' AND state <> 'idle' "
                "AND datname = current_database()"
            )
        )


def test_large_export_is_complete_and_returns_its_connection(real_app, manager):
    answer = manager.get(PATH)
    assert taken_out(real_app) == 1

    assert answer.text.count("\n") == ROWS + 1
    assert taken_out(real_app) == 0


def test_disconnected_client_leaves_no_resources(real_app, manager, module_database_url):
    for _ in range(5):  # The pool has two connections.
        answer = manager.get(PATH)
        chunks = answer.iter_encoded()
        assert next(chunks).startswith(b"id,organization_id,")
        answer.close()

        assert taken_out(real_app) == 0
        assert busy(module_database_url) == 0
    assert manager.get("/usages?page_size=1").json[0]["unit"] == "kwh"


def test_concurrent_exports_leave_half_of_the_connections(real_app, manager):
    first = manager.get(PATH)

    second = manager.get(PATH)
    assert (second.status_code, second.json["title"], second.headers["Retry-After"]) == (503, "Unavailable", "2")
    assert manager.get("/usages?page_size=1").status_code == 200
    first.close()
    assert manager.get(PATH).text.count("\n") == ROWS + 1


def test_head_request_leaves_no_resources(real_app, manager):
    answer = manager.open(PATH, "HEAD")
    answer.close()

    assert (answer.status_code, answer.data, taken_out(real_app)) == (200, b"", 0)


def test_disconnect_during_a_sort_cancels_the_statement(real_app, manager, monkeypatch):
    """PostgreSQL writes nothing yet, so only a cancellation ends it."""
    taken = copy_stream._Copy._next_chunk

    def gone(copy):
        copy.close()
        return taken(copy)

    monkeypatch.setattr(copy_stream._Copy, "_next_chunk", gone)
    monkeypatch.setattr(copy_stream, "SETTINGS", "SET LOCAL statement_timeout = '60s'")
    columns = copy_stream._columns
    monkeypatch.setattr(copy_stream, "_columns", lambda *args: [sa.func.pg_sleep(30).label("x"), *columns(*args)])

    began = time.monotonic()
    assert manager.get(PATH).status_code == 503
    assert time.monotonic() - began < 10
    assert taken_out(real_app) == 0


def test_stalled_client_ends_the_export(real_app, manager, monkeypatch):
    monkeypatch.setattr(copy_stream, "STALL_SECONDS", 0.2)

    answer = manager.get(PATH)
    wait_until(lambda: taken_out(real_app) == 0)

    with pytest.raises(copy_stream._Abandoned):
        answer.get_data()


def test_error_before_the_first_chunk_is_a_problem(real_app, manager, monkeypatch):
    monkeypatch.setattr(copy_stream, "SETTINGS", "SET LOCAL statement_timeout = '1ms'")

    answer = manager.get(PATH)

    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert answer.json["detail"] == "The database is unavailable or busy. Try again shortly."
    assert taken_out(real_app) == 0


@pytest.fixture(scope="module")
def service(module_database_url):
    with serving(module_database_url, SECRET_KEY) as url:
        yield url


def opened(service, tokens, query=""):
    signature = bearer(tokens["access_token"])
    asked = urllib.request.Request(f"{service}{PATH}{query}", headers=signature)
    return urllib.request.urlopen(asked, timeout=60)  # What never ends is a failure, not a wait.


def test_http_disconnect_leaves_no_resources(service, tokens, module_database_url):
    for _ in range(3):
        with opened(service, tokens) as answer:
            assert answer.read(1000).startswith(b"id,")
    wait_until(lambda: busy(module_database_url) == 0)

    with opened(service, tokens) as answer:
        assert answer.read().count(b"\n") == ROWS + 1


@pytest.mark.parametrize("file_format", ["csv", "ndjson"])
def test_truncated_export_cannot_be_parsed(service, tokens, module_database_url, file_format):
    engine = sa.create_engine(module_database_url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS)
    with opened(service, tokens, f"&format={file_format}") as answer:
        file = answer.read(1000)
        with engine.connect() as connection:
            connection.execute(
                sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY (%'")
            )
        file += answer.read()

    *whole, last = file.split(b"\n")
    assert last == copy_stream.TRUNCATED[file_format]
    assert len(whole) < ROWS
    with pytest.raises((csv.Error, json.JSONDecodeError)):
        json.loads(last) if file_format == "ndjson" else list(csv.reader([last.decode()], strict=True))

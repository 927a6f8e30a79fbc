"""A real PostgreSQL for all tests: one server, a migrated template database, and a clone of it for each worker."""

import contextlib
import gc
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import flask_migrate
import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from carbonapi import create_app
from carbonapi.accounts import sessions
from carbonapi.auth import Actor, acting_as
from carbonapi.db import db, prepare, roles, row_security
from carbonapi.observability.logging import LOG, JsonHandler
from carbonapi.postgres.embedded import running

from .support import factories
from .support.apps import NO_RATE_LIMITS, operator_context, settings_for
from .support.client import Client
from .support.databases import OBSERVER, OWNER, ROLE, TEMPLATE, cloned_database, execute, url_of
from .support.household import import_household
from .support.plans import add_many_usages
from .support.processes import public_folder
from .support.servers import serving

# A crash of the machine may lose the test databases, so PostgreSQL need not write to disk before it answers.
# Without autovacuum, plans do not depend on when it sees the rows that tests roll back.
SERVER_SETTINGS = ("autovacuum = off", "fsync = off", "full_page_writes = off", "synchronous_commit = off")

# Compiling the code takes an eighth of the time that each process of the tests needs to start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PROCESS_HELPERS = (subprocess, serving, public_folder, cloned_database)


def pytest_configure(config):
    """Start PostgreSQL and migrate the template once. Workers of xdist receive the server's URL."""
    if hasattr(config, "workerinput"):
        config.server_url = config.workerinput["server_url"]
        return
    config.stack = contextlib.ExitStack()
    # CARBONAPI_TEST_DATABASE_URL runs the tests on another server. It must name a superuser, who creates databases.
    config.server_url = os.environ.get("CARBONAPI_TEST_DATABASE_URL")
    if config.server_url is None:
        folder = Path(tempfile.mkdtemp(prefix="carbonapi-tests-"))
        config.stack.callback(shutil.rmtree, folder)
        embedded_url = make_url(config.stack.enter_context(running(folder)))
        config.server_url = embedded_url.set(username="postgres", database="postgres").render_as_string()
        changes = [f"ALTER SYSTEM SET {setting}" for setting in SERVER_SETTINGS]
        execute(config.server_url, *changes, "SELECT pg_reload_conf()")
    for role in (OWNER, ROLE, OBSERVER):
        create_role = f"CREATE ROLE {role} LOGIN PASSWORD '{role}'"
        execute(config.server_url, f"DO $$ BEGIN {create_role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    with sa.create_engine(config.server_url, poolclass=sa.NullPool).begin() as connection:
        for role in (OWNER, ROLE):
            roles.add_missing_members(connection, role)
        # It also sees and ends what other connections do.
        inherited = f"{row_security.ALL_ORGANIZATIONS}, pg_read_all_stats, pg_signal_backend"
        connection.execute(sa.text(f"GRANT {inherited} TO {OBSERVER}"))
    execute(
        config.server_url, *(f"ALTER ROLE {ROLE} SET {name} = '{value}'" for name, value in roles.ROLE_TIMEOUTS.items())
    )
    execute(config.server_url, f"DROP DATABASE IF EXISTS {TEMPLATE}", f"CREATE DATABASE {TEMPLATE} OWNER {OWNER}")
    app = create_app(settings_for(url_of(config.server_url, TEMPLATE, OWNER)), as_owner=True)
    with app.app_context():
        flask_migrate.upgrade()
        with db.engine.begin() as connection:
            roles.grant_privileges(connection, ROLE)
            # Tests that look at plans ANALYZE tables, which takes this privilege.
            connection.execute(
                sa.text(f"GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO {ROLE}, {row_security.ALL_ORGANIZATIONS}")
            )
        db.engine.dispose()


def pytest_configure_node(node):
    node.workerinput["server_url"] = node.config.server_url


def pytest_unconfigure(config):
    if hasattr(config, "stack"):
        execute(config.server_url, f"DROP DATABASE {TEMPLATE}")
        config.stack.close()


def pytest_collection_finish():
    """Keep the collected tests out of the collections of garbage, which would look at them again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Mark the tests that start processes, and run them first: a long test at the end would keep one core idle."""
    for item in items:
        if starts_processes(item):
            item.add_marker("process")
    items.sort(key=lambda item: item.get_closest_marker("process") is None)


def starts_processes(item):
    """Return whether a test has a database of its own, or is in a module that uses processes."""
    imported = vars(item.module).values()
    return "fresh_database_url" in item.fixturenames or any(
        value is helper for value in imported for helper in PROCESS_HELPERS
    )


@pytest.fixture(scope="session")
def server_url(pytestconfig):
    return pytestconfig.server_url


@pytest.fixture(scope="session")
def database_url(server_url):
    with cloned_database(server_url) as url:
        yield url


@pytest.fixture
def fresh_database_url(server_url):
    """A database that really commits, for tests that use several processes or threads."""
    with cloned_database(server_url, "fresh") as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(server_url, request):
    """A database that really commits, for all tests of a module."""
    with cloned_database(server_url, request.module.__name__.rpartition(".")[2]) as url:
        yield url


@pytest.fixture(scope="session")
def shared_app(database_url):
    app = create_app(settings_for(database_url))
    app.testing = True
    app.config["PROPAGATE_EXCEPTIONS"] = False
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def app(shared_app, monkeypatch):
    """The app, in a transaction that is rolled back after the test."""
    with shared_app.app_context(), db.engine.connect() as connection:
        transaction = connection.begin()
        # A transaction uses the prepared statements of its connection if it begins with one.
        connection.execute(prepare(sa.select(1)))
        monkeypatch.setitem(db.engines, None, connection)
        db.session.remove()
        db.session.configure(join_transaction_mode="create_savepoint")
        with acting_as(Actor(id=0, organization_id=0, role="admin", timezone="UTC")):
            yield shared_app
        db.session.remove()
        transaction.rollback()


@pytest.fixture
def sign_in(app):
    """A function that returns a client with real tokens of a user."""

    def client_of(user):
        tokens = sessions.create(user, factories.now())
        db.session.commit()
        return Client(app, tokens, user)

    return client_of


@pytest.fixture
def committing(fresh_database_url):
    """A manager's client, on a database that really commits."""
    app = create_app(settings_for(fresh_database_url))
    with operator_context(app):
        user = factories.user(factories.organization(), "manager")
        tokens = sessions.create(user, factories.now())
        db.session.commit()
        db.session.remove()
    yield Client(app, tokens, user)
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def hold_lock(fresh_database_url):
    """A function that begins a transaction in which a writer has taken its time, and returns its connection."""
    opened = []

    def begin(organization_id):
        connection = psycopg2.connect(make_url(fresh_database_url).set(drivername="postgresql").render_as_string(False))
        opened.append(connection)
        with connection.cursor() as cursor:
            cursor.execute("SELECT recording_time(%s)", [organization_id])
        return connection

    yield begin
    for connection in opened:
        connection.close()


@pytest.fixture
def stranger(app):
    """A client without tokens."""
    return Client(app)


@pytest.fixture
def organization(app):
    return factories.organization()


@pytest.fixture
def as_manager(sign_in, organization):
    return sign_in(factories.user(organization, "manager"))


@pytest.fixture
def as_member(sign_in, organization):
    return sign_in(factories.user(organization, "member"))


@pytest.fixture
def as_auditor(sign_in, organization):
    return sign_in(factories.user(organization, "auditor"))


@pytest.fixture
def as_admin(sign_in, app):
    return sign_in(factories.user(factories.organization(), "admin"))


@pytest.fixture
def as_other_manager(sign_in, app):
    """A manager of another organization."""
    return sign_in(factories.user(factories.organization(), "manager"))


@pytest.fixture
def no_rate_limits(app, monkeypatch):
    """Turn rate limits off, for tests that count statements."""
    for name in NO_RATE_LIMITS:
        monkeypatch.setitem(app.config, name, None)


@pytest.fixture
def many_usages(organization):
    """A user in a ledger of 8000 usages."""
    return add_many_usages(organization)


@pytest.fixture
def household(as_manager):
    """A manager of a London organization, with two years of a household's readings in its ledger."""
    import_household(as_manager)
    return as_manager


@pytest.fixture
def log_lines(capfd, monkeypatch):
    """A function that returns the lines logged since its last call, as the service writes them."""
    monkeypatch.setattr(LOG, "handlers", [JsonHandler()])
    monkeypatch.setattr(LOG, "propagate", False)
    LOG.setLevel("DEBUG")
    yield lambda: [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    LOG.setLevel("NOTSET")


@pytest.fixture
def statements(app):
    """The SQL statements sent by the app, without those for transactions."""
    sent = []

    def record(connection, cursor, statement, parameters, context, executemany):
        if not statement.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            sent.append(re.sub(r"^SELECT carbonapi_use_organization\('[^']*'\); ", "", statement))

    sa.event.listen(sa.Engine, "before_cursor_execute", record)
    yield sent
    sa.event.remove(sa.Engine, "before_cursor_execute", record)

"""A real PostgreSQL for all tests: one server, a migrated template, a clone of it for each worker."""

import contextlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import flask
import flask_migrate
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from carbonapi import create_app
from carbonapi.accounts import sessions
from carbonapi.auth import Actor, acting_as
from carbonapi.db import db, row_security
from carbonapi.observability.logging import LOG, JsonHandler
from carbonapi.postgres.embedded import running
from carbonapi.settings import DEFAULTS

from .support import factories

TEMPLATE = "carbonapi_template"
ROLE = "carbonapi_tests"  # An ordinary one, which owns nothing, as the service's is.
OWNER = "carbonapi_tests_owner"
SECRET_KEY = "a key for tests alone, of 32 bytes and more"


def settings_for(database_url, **changes):
    """The default settings, on this database."""
    return DEFAULTS | {"DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY, "SESSION_CACHE_SECONDS": 0} | changes


def pytest_configure(config):
    """Start PostgreSQL and migrate the template, once: workers of xdist are told where it is."""
    if hasattr(config, "workerinput"):
        config.server_url = config.workerinput["server_url"]
        return
    config.stack = contextlib.ExitStack()
    # CARBONAPI_TEST_DATABASE_URL runs the tests on another server; it makes databases there, as a superuser.
    config.server_url = os.environ.get("CARBONAPI_TEST_DATABASE_URL")
    if config.server_url is None:
        folder = Path(tempfile.mkdtemp(prefix="carbonapi-tests-"))
        config.stack.callback(shutil.rmtree, folder)
        embedded_url = make_url(config.stack.enter_context(running(folder)))
        config.server_url = embedded_url.set(username="postgres", database="postgres").render_as_string()
        # What tests roll back it would take for empty tables, and what follows would be planned for these.
        execute(config.server_url, "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
    for role in (OWNER, ROLE):
        make_role = f"CREATE ROLE {role} LOGIN PASSWORD '{role}'"
        execute(config.server_url, f"DO $$ BEGIN {make_role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    execute(config.server_url, f"DROP DATABASE IF EXISTS {TEMPLATE}", f"CREATE DATABASE {TEMPLATE} OWNER {OWNER}")
    app = create_app(settings_for(url_of(config.server_url, TEMPLATE, OWNER)))
    with app.app_context():
        flask_migrate.upgrade()
        with db.engine.begin() as connection:
            row_security.grant_service_role(connection, ROLE)
            # For tests that look at plans; else a table's owner alone may ANALYZE it.
            connection.execute(sa.text(f"GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO {ROLE}"))
        db.engine.dispose()


def pytest_configure_node(node):
    node.workerinput["server_url"] = node.config.server_url


def pytest_unconfigure(config):
    if hasattr(config, "stack"):
        execute(config.server_url, f"DROP DATABASE {TEMPLATE}")
        config.stack.close()


def url_of(server_url, database, role=ROLE):
    """The URL of a database on this server, as the role that the service has unless it is said otherwise."""
    url = make_url(server_url).set(database=database, username=role, password=role)
    return url.render_as_string(hide_password=False)


# For a connection of a test's own: a policy hides from it what it does not ask for.
SEEING_ALL = {"options": f"-c {row_security.SETTING}={row_security.EVERYWHERE}"}


@contextlib.contextmanager
def operating(app):
    """The app's context, in which the rows of all organizations are seen."""
    with app.app_context(), row_security.for_all_organizations():
        yield


def as_owner(url):
    """The same database, as the role that owns the tables."""
    return make_url(url).set(username=OWNER, password=OWNER).render_as_string(hide_password=False)


def execute(url, *statements):
    options = {"poolclass": sa.NullPool, "connect_args": SEEING_ALL}
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", **options)
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


@contextlib.contextmanager
def cloned_database(server_url, *purpose):
    """The URL of a database of its own, for this purpose of this worker; migrated already."""
    name = "_".join(["carbonapi", *purpose, os.environ.get("PYTEST_XDIST_WORKER", "alone")])
    execute(server_url, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER {OWNER}")
    try:
        yield url_of(server_url, name)
    finally:
        execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def server_url(pytestconfig):
    return pytestconfig.server_url


@pytest.fixture(scope="session")
def database_url(server_url):
    with cloned_database(server_url) as url:
        yield url


@pytest.fixture
def fresh_database_url(server_url):
    """A database that really commits, for tests that cross processes or threads."""
    with cloned_database(server_url, "fresh") as url:
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
    """The app, on a database to which nothing happens: every test is rolled back."""
    with shared_app.app_context(), db.engine.connect() as connection:
        transaction = connection.begin()
        monkeypatch.setitem(db.engines, None, connection)
        db.session.remove()
        db.session.configure(join_transaction_mode="create_savepoint")
        with acting_as(Actor(id=0, organization_id=0, role="admin", timezone="UTC")):
            yield shared_app
        db.session.remove()
        transaction.rollback()


class Client:
    """Somebody at the API: requests below /api/v1, signed by an access token if there is one."""

    def __init__(self, app, tokens=None, user=None):
        self.http = app.test_client()
        self.tokens = tokens
        self.user = user

    def open(self, path, method="GET", headers=None, **kwargs):
        signature = {"Authorization": f"Bearer {self.tokens['access_token']}"} if self.tokens else {}
        # A request begins with a session of its own, as it does when it comes over HTTP.
        if flask.has_app_context():
            db.session.commit()
            db.session.remove()
        url = path if path.startswith(("/api/", "/health", "/openapi", "/docs")) else f"/api/v1{path}"
        return self.http.open(url, method=method, headers=signature | (headers or {}), **kwargs)

    def get(self, path, **kwargs):
        return self.open(path, "GET", **kwargs)

    def post(self, path, **kwargs):
        return self.open(path, "POST", **kwargs)

    def put(self, path, **kwargs):
        return self.open(path, "PUT", **kwargs)

    def patch(self, path, **kwargs):
        return self.open(path, "PATCH", **kwargs)

    def delete(self, path, **kwargs):
        return self.open(path, "DELETE", **kwargs)


@pytest.fixture
def sign_in(app):
    """A function that signs a user in, with real tokens."""

    def client_of(user):
        tokens = sessions.create(user, factories.now())
        db.session.commit()
        return Client(app, tokens, user)

    return client_of


@pytest.fixture
def committing(fresh_database_url):
    """A manager, on a database that really commits."""
    app = create_app(settings_for(fresh_database_url))
    with operating(app):
        user = factories.user(factories.organization(), "manager")
        tokens = sessions.create(user, factories.now())
        db.session.commit()
        db.session.remove()
    yield Client(app, tokens, user)
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def stranger(app):
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
def unthrottled(app, monkeypatch):
    """Nobody is counted, where statements are."""
    for name in [name for name in DEFAULTS if name.startswith("RATE_LIMIT_")]:
        monkeypatch.setitem(app.config, name, None)


@pytest.fixture
def told(capfd, monkeypatch):
    """A function that gives the lines that were logged since it was last called, as a process that serves has them."""
    monkeypatch.setattr(LOG, "handlers", [JsonHandler()])
    monkeypatch.setattr(LOG, "propagate", False)
    LOG.setLevel("DEBUG")
    yield lambda: [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    LOG.setLevel("NOTSET")


@pytest.fixture
def statements(app):
    """The SQL statements that are sent, but for those that begin and end transactions."""
    sent = []

    def note(connection, cursor, statement, parameters, context, executemany):
        if not statement.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            sent.append(re.sub(f"^SET {row_security.SETTING} = '[^']*'; ", "", statement))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(sa.Engine, "before_cursor_execute", note)

"""Databases for tests: clones of a migrated template, and statements sent to them directly."""

import contextlib
import os

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from carbonapi.db import db

from .apps import operator_context

TEMPLATE = "carbonapi_template"
ROLE = "carbonapi_tests"  # Owns no tables, like the role of the service.
OWNER = "carbonapi_tests_owner"
# Tables with a copy on every machine of a cluster. All other tables are distributed by organization.
REFERENCE_TABLES = {"organizations", "users", "upstream_lines", "usage_types", "factor_sets", "emission_factors"}
TABLES_WITHOUT_POLICIES = {"rate_limit_counters"}
# Organizations see the rows that belong to none.
SHARED_TABLES = {"upstream_lines", "usage_types", "factor_sets", "emission_factors"}
# Arguments of a connection that sees all rows. Without them, row-level security hides every row.
OBSERVER = "carbonapi_tests_observer"
ALL_ORGANIZATIONS = {"user": OBSERVER, "password": OBSERVER}


def url_of(server_url, database, role=ROLE):
    """Return the URL of a database of the server, for this role."""
    url = make_url(server_url).set(database=database, username=role, password=role)
    return url.render_as_string(hide_password=False)


def as_owner(url):
    """Return the URL of the same database, for the role that owns the tables."""
    return make_url(url).set(username=OWNER, password=OWNER).render_as_string(hide_password=False)


def as_observer(url):
    """Return the URL of the same database, for a role that sees all rows."""
    return make_url(url).set(username=OBSERVER, password=OBSERVER).render_as_string(hide_password=False)


def execute(url, *statements):
    """Execute statements on a new connection, each in its own transaction."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def fetch_all(statement, **parameters):
    """Return the rows of an SQL statement in the current session."""
    return db.session.execute(sa.text(statement), parameters).all()


@contextlib.contextmanager
def cloned_database(server_url, *purpose):
    """Yield the URL of a migrated database for this purpose and this worker; drop it afterwards."""
    name = "_".join(["carbonapi", *purpose, os.environ.get("PYTEST_XDIST_WORKER", "alone")])
    execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", create_from_template(name))
    try:
        yield url_of(server_url, name)
    finally:
        execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def create_from_template(name):
    return f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER {OWNER}"


def cut_connections(url):
    """Terminate all other connections to this database, as a restart of PostgreSQL does."""
    execute(
        url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()",
    )


@contextlib.contextmanager
def connections_in_use(app, number):
    """Hold this number of the pool's connections, each after a statement."""
    with operator_context(app), contextlib.ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(db.engine.connect()).execute(sa.text("SELECT 1"))
        yield

"""The roles of the database: their timeouts, their privileges, and the role for all organizations."""

import os
from concurrent.futures import ThreadPoolExecutor

import click
import pytest
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.commands.database import migrate_database
from carbonapi.db import db, row_security
from carbonapi.db.roles import ROLE_TIMEOUTS, missing_timeouts, set_missing_timeouts
from carbonapi.db.row_security import ALL_ORGANIZATIONS, for_all_organizations, for_organization
from carbonapi.serving.database_check import BYPASSES_POLICIES, examine
from tests.support.apps import settings_for
from tests.support.databases import execute, url_of


@pytest.fixture
def connect(server_url, fresh_database_url):
    """A function that connects as a role without timeouts."""
    role = sa.make_url(fresh_database_url).database.replace("carbonapi", "carbonapi_role")
    execute(server_url, f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    engine = sa.create_engine(url_of(server_url, sa.make_url(fresh_database_url).database, role), poolclass=sa.NullPool)
    yield engine.connect
    execute(server_url, f"DROP ROLE {role}")


def test_missing_timeouts_apply_to_later_connections(connect):
    with connect() as connection:
        assert set(missing_timeouts(connection)) == ROLE_TIMEOUTS.keys()
        set_missing_timeouts(connection)
        connection.commit()

    with connect() as connection:
        assert missing_timeouts(connection) == []
        assert connection.scalar(sa.text("SHOW statement_timeout")) == "30s"


def test_servers_that_start_at_once_wait_for_each_other(connect):
    def set_in_another_server():
        with connect() as another, another.begin():
            set_missing_timeouts(another)

    with connect() as connection, ThreadPoolExecutor() as pool:
        set_missing_timeouts(connection)
        waiting = pool.submit(set_in_another_server)
        with pytest.raises(TimeoutError):
            waiting.result(0.5)
        connection.commit()
        waiting.result()


@pytest.fixture
def new_role(server_url):
    """The name of a role that owns a database of the same name, and may not create roles."""
    name = f"carbonapi_new_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    execute(server_url, f"CREATE ROLE {name} LOGIN PASSWORD '{name}'", f"CREATE DATABASE {name} OWNER {name}")
    yield name
    execute(server_url, f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}")


def test_migration_prints_statements_for_a_superuser(server_url, new_role):
    url = url_of(server_url, new_role, new_role)
    app = create_app(settings_for(url), as_owner=True)
    statement = f"GRANT {ALL_ORGANIZATIONS} TO {new_role} WITH INHERIT FALSE, SET TRUE"
    with app.app_context():
        with pytest.raises(click.ClickException, match=f"As a superuser: {statement};"):
            migrate_database()
        execute(server_url, statement)
        migrate_database()
        assert not examine(url).error
        db.engine.dispose()


def test_role_that_inherits_all_organizations_is_rejected(server_url, fresh_database_url, new_role):
    url = url_of(server_url, sa.make_url(fresh_database_url).database, new_role)
    execute(server_url, f"GRANT {ALL_ORGANIZATIONS} TO {new_role} WITH INHERIT TRUE")
    assert examine(url).error == BYPASSES_POLICIES
    execute(server_url, f"GRANT {ALL_ORGANIZATIONS} TO {new_role} WITH INHERIT FALSE")
    assert examine(url).error is None


def test_policy_of_a_named_organization_is_evaluated_once(app):
    with row_security.for_organization(7):
        plan = db.session.scalars(sa.text("EXPLAIN SELECT * FROM usages WHERE organization_id = 7")).all()
    assert any("One-Time Filter" in line for line in plan), plan


def test_scope_of_one_organization_leaves_the_role_for_all(app):
    for scope, expected in ((for_all_organizations(), True), (for_organization(7), False)):
        with scope:
            assert db.session.scalar(sa.text("SELECT current_user = :role"), {"role": ALL_ORGANIZATIONS}) is expected

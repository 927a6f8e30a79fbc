"""A database that the service cannot use is reported in a sentence at start."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.db import db
from carbonapi.serving.supervisor import serve
from carbonapi.settings import parse_database_url
from tests.support import factories
from tests.support.apps import SECRET_KEY, operator_context, settings_for
from tests.support.databases import ROLE, execute, url_of
from tests.support.processes import public_folder, wait_until
from tests.support.servers import free_port, serving
from tests.support.tcp_server import tcp_server

MIGRATION_LOCK = 6_120_743_901
ACCESS = "host all carbonapi_app 127.0.0.1/32 scram-sha-256\n"


@pytest.fixture(scope="module")
def server():
    """A migrated database with passwords, at 127.0.0.1 and the port that this returns."""
    with public_folder() as folder, tcp_server(folder, ACCESS) as port:
        superuser = f"postgresql+psycopg2://postgres@/postgres?host={folder}/data/postgresql&port={port}"
        execute(superuser, "ALTER ROLE carbonapi_app PASSWORD 'right'", "ALTER ROLE carbonapi PASSWORD 'right'")
        yield f"127.0.0.1:{port}"


def start(capfd, url, **settings):
    """Start the service, which must exit at once. Return its exit code and what it prints."""
    environ = {"CARBONAPI_DATABASE_URL": url, "CARBONAPI_SECRET_KEY": SECRET_KEY} | settings
    code = serve("127.0.0.1", free_port(), 1, 1, 0, environ)
    return code, capfd.readouterr().err.strip()


@pytest.mark.parametrize(
    ("user", "rest", "sentence"),
    [
        ("carbonapi_app:wrong", "carbonapi", "PostgreSQL rejects the role or the password of CARBONAPI_DATABASE_URL."),
        (
            "nobody:right",
            "carbonapi",
            "The server does not accept CARBONAPI_DATABASE_URL without TLS: add ?sslmode=req",
        ),
        ("carbonapi_app:right", "other", "PostgreSQL does not have the database of CARBONAPI_DATABASE_URL. Create it"),
        ("carbonapi_app:right", "carbonapi?sslmode=require", "The server does not support TLS, but CARBONAPI_DATABASE"),
        ("carbonapi_app:right", "carbonapi?options=-csearch_path%3Dpg_temp", "The first schema of the search_path is"),
    ],
)
def test_rejected_connection_is_a_sentence_at_start(server, capfd, user, rest, sentence):
    code, printed = start(capfd, f"postgresql://{user}@{server}/{rest}")

    assert (code, len(printed.splitlines())) == (1, 1)
    assert printed.startswith(sentence)
    assert "right" not in printed and "wrong" not in printed


def test_wrong_password_for_migrations_is_a_sentence(server, capfd, server_url):
    with empty_database(server_url, "unmigrated") as url:
        migration_url = {"CARBONAPI_MIGRATION_DATABASE_URL": f"postgresql://carbonapi_app:wrong@{server}/carbonapi"}
        code, printed = start(capfd, url, **migration_url)

    assert code == 1
    assert "PostgreSQL rejects the role or the password of CARBONAPI_MIGRATION_DATABASE_URL. (" in printed


@contextlib.contextmanager
def empty_database(server_url, name, *statements, options="ENCODING 'UTF8'"):
    """Yield the URL, for the role of the service, of a database without tables that belongs to a superuser."""
    name = f"carbonapi_{name}"
    execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    execute(server_url, f"CREATE DATABASE {name} TEMPLATE template0 {options}")
    try:
        execute(url_of(server_url, name, "postgres"), *statements)
        yield url_of(server_url, name)
    finally:
        execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize(
    ("statements", "sentence"),
    [
        ((), f"The role {ROLE} may not create tables. As a superuser: GRANT CREATE ON SCHEMA public TO {ROLE};"),
        (
            (f"GRANT CREATE ON SCHEMA public TO {ROLE}",),
            f"The role {ROLE} may not create the extension btree_gist. As a superuser, in the database "
            "carbonapi_rights: CREATE EXTENSION btree_gist;",
        ),
    ],
)
def test_missing_right_to_migrate_is_a_sentence(server_url, capfd, statements, sentence):
    with empty_database(server_url, "rights", *statements) as url:
        assert start(capfd, url) == (1, f"Error: {sentence}")


def test_granted_rights_are_enough_to_migrate(server_url):
    statements = (f"GRANT CREATE ON SCHEMA public TO {ROLE}", "CREATE EXTENSION btree_gist")
    with empty_database(server_url, "granted", *statements) as url, serving(url, SECRET_KEY):
        pass


def test_database_that_is_not_utf8_is_a_sentence(server_url, capfd):
    options = "ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc"
    with empty_database(server_url, "ascii", options=options) as url:
        code, printed = start(capfd, url)

    assert (code, printed) == (1, "The database has the encoding SQL_ASCII. Create one with ENCODING 'UTF8'.")


def test_other_schema_of_the_role_is_a_sentence(server_url, capfd):
    statements = ("CREATE SCHEMA carbon", "ALTER DATABASE carbonapi_schema SET search_path = carbon, public")
    with empty_database(server_url, "schema", *statements, f"GRANT USAGE ON SCHEMA carbon TO {ROLE}") as url:
        code, printed = start(capfd, url)

    assert (code, len(printed.splitlines())) == (1, 1)
    assert printed.startswith("The first schema of the search_path is carbon, but the tables are in public.")


@pytest.mark.parametrize(
    "form", ["127.0.0.1:{dead},{alive}/carbonapi?", "/carbonapi?host=127.0.0.1:{dead}&host={alive}&"]
)
def test_second_host_is_used_while_the_first_is_down(server, form):
    hosts = form.format(dead=free_port(), alive=server)
    url = f"postgresql://carbonapi_app:right@{hosts}application_name=accounting&options=-c%20work_mem%3D77MB"
    app = create_app(settings_for(parse_database_url(url)))
    with operator_context(app):
        used = db.session.execute(
            sa.text("SELECT current_setting('application_name'), current_setting('work_mem'), session_user")
        ).one()
        db.session.remove()
        db.engine.dispose()

    assert used == ("accounting", "77MB", "carbonapi_app")


def test_unknown_time_zones_are_named_at_start(fresh_database_url, tmp_path):
    app = create_app(settings_for(fresh_database_url))
    with operator_context(app):
        organization_id = factories.organization(timezone="Asia/Atlantis").id
        db.session.remove()
        db.engine.dispose()
    with open(tmp_path / "log", "w") as log, serving(fresh_database_url, SECRET_KEY, log=log):
        pass

    named = f"PostgreSQL does not know the time zones of these organizations: {organization_id} (Asia/Atlantis)."
    assert named in (tmp_path / "log").read_text()


def status(url):
    """Return the status of a response, or None while nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_service_is_live_while_a_migration_waits(server_url, tmp_path):
    """The migration says what it waits for: the connection that holds the lock of migrations."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/health"
    command = [sys.executable, "-m", "carbonapi.commands", "serve", "--port", str(port), "--workers", "1"]
    rights = (f"GRANT CREATE ON SCHEMA public TO {ROLE}", "CREATE EXTENSION btree_gist")
    with empty_database(server_url, "waiting", *rights) as url, open(tmp_path / "log", "w") as log:
        environ = {**os.environ, "CARBONAPI_DATABASE_URL": url, "CARBONAPI_SECRET_KEY": SECRET_KEY}
        engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as holder:
            holder.execute(sa.text(f"SELECT pg_advisory_lock({MIGRATION_LOCK})"))
            pid = holder.scalar(sa.text("SELECT pg_backend_pid()"))
            service = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
            try:
                waiting = f"Waiting for the migration of process {pid} of PostgreSQL, from this machine."
                wait_until(lambda: waiting in (tmp_path / "log").read_text(), 60)
                assert (status(f"{address}/live"), status(f"{address}/ready")) == (200, 503)
                holder.execute(sa.text(f"SELECT pg_advisory_unlock({MIGRATION_LOCK})"))
                wait_until(lambda: status(f"{address}/ready") == 200, 120)
            finally:
                service.send_signal(signal.SIGTERM)
                assert service.wait(60) == 0

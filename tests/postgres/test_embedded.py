import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest

from carbonapi.postgres import embedded
from tests.support.processes import kill, naming, public_folder, wait_until

USER = """
import sys
from pathlib import Path
from carbonapi.embedded import running

with running(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
# PostgreSQL refuses to be root, so root's runs as another account; an ordinary user's runs as that user. What differs
# by that is tried as whoever runs the tests.
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    with public_folder() as path:
        yield path


@contextlib.contextmanager
def user(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that uses the folder's PostgreSQL until its standard input ends. Its first line is the URL."""
    command = [sys.executable, "-c", USER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def refused_to_root(fault: str) -> contextlib.AbstractContextManager[object]:
    """The block raises an error that says this to root, and nothing to others."""
    return pytest.raises(embedded.EmbeddedError, match=fault) if IS_ROOT else contextlib.nullcontext()


def url_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def leave(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 0


def query(url: str, statement: str) -> object:
    """The first value of the statement's result, if it has one."""
    connection = psycopg2.connect(host=url.partition("host=")[2], user="carbonapi", dbname="carbonapi")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def server_of(url: str) -> object:
    return query(url, "SELECT pg_postmaster_start_time()")


def pid_of(folder: Path, word: str) -> int:
    (pid,) = naming(str(folder)) & naming(word)
    return pid


def test_rows_outlive_the_server(folder: Path) -> None:
    with embedded.running(folder) as url:
        query(url, "CREATE TABLE kept AS SELECT 42 AS number")
    assert naming(str(folder)) == set()

    with embedded.running(folder) as url:
        assert query(url, "SELECT number FROM kept") == 42


def test_it_is_the_wheels_postgresql_private_and_the_same_on_every_machine(folder: Path) -> None:
    with embedded.running(folder) as url:
        assert url == f"postgresql+psycopg2://carbonapi_app@/carbonapi?host={folder}/run"
        assert str(query(url, "SHOW server_version")).startswith("18.")
        assert query(url, "SHOW listen_addresses") == ""
        assert query(url, "SHOW data_checksums") == "on"
        assert query(url, "SHOW server_encoding") == "UTF8"
        assert query(url, "SHOW timezone") == "UTC"
        assert query(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        assert query(url, "SELECT rolconfig FROM pg_roles WHERE rolname = 'carbonapi_app'") == [
            "statement_timeout=30s",
            "lock_timeout=2s",
            "idle_in_transaction_session_timeout=10s",
        ]
        locale = "SELECT datlocale FROM pg_database WHERE datname = 'carbonapi' AND datlocprovider = 'b'"
        assert query(url, locale) == "C.UTF-8"
        assert stat.S_IMODE((folder / "run").stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "postgresql").stat().st_mode) == 0o700


def test_a_folder_too_deep_for_a_socket_has_it_elsewhere(folder: Path) -> None:
    deep = folder / ("a" * 50) / ("b" * 50)

    with embedded.running(deep) as url:
        assert url.partition("host=")[2].startswith("/tmp/carbonapi-")
        assert query(url, "SELECT 1") == 1
    shutil.rmtree(url.partition("host=")[2])


def test_users_who_come_at_once_share_one_server_until_the_last_has_left(folder: Path) -> None:
    with user(folder) as alice, user(folder) as bob, user(folder) as carol:
        urls = [url_of(process) for process in (alice, bob, carol)]
        assert len({server_of(url) for url in urls}) == 1

        leave(alice)
        leave(carol)
        assert query(urls[1], "SELECT 1") == 1

        leave(bob)
        assert naming(str(folder)) == set()


def test_a_killed_user_takes_postgresql_along_and_loses_nothing(folder: Path) -> None:
    with user(folder) as killed:
        query(url_of(killed), "CREATE TABLE kept AS SELECT 42 AS number")
        killed.kill()
        wait_until(lambda: not naming(str(folder)))

    with embedded.running(folder) as url:
        assert query(url, "SELECT number FROM kept") == 42


def test_a_killed_user_leaves_postgresql_to_the_others(folder: Path) -> None:
    with user(folder) as killed, user(folder) as other:
        url_of(killed)
        url = url_of(other)
        server = server_of(url)
        killed.kill()
        killed.wait()

        wait_until(lambda: len(naming(str(folder)) & naming("USER")) == 0)
        assert server_of(url) == server
        leave(other)
        assert naming(str(folder)) == set()


@pytest.mark.parametrize("victims", ["the user", "everything"])
def test_a_kill_while_the_data_are_made_leaves_no_half_of_them(folder: Path, victims: str) -> None:
    with user(folder) as killed:
        wait_until(lambda: any(folder.glob("postgresql-new-*/base/1/PG_VERSION")))
        killed.kill()
        if victims == "everything":
            kill(naming(str(folder)))
        wait_until(lambda: not naming(str(folder)))
    assert (folder / "postgresql").exists() == (victims == "the user"), "the keeper finishes what it has begun"

    with embedded.running(folder) as url:
        assert query(url, "SELECT 1") == 1
    assert list(folder.glob("*-new-*")) == []


def test_a_killed_postgresql_is_started_again(folder: Path) -> None:
    with embedded.running(folder) as url:
        query(url, "CREATE TABLE kept AS SELECT 42 AS number")
        os.kill(pid_of(folder, "/bin/postgres -D"), signal.SIGKILL)

        def is_back() -> bool:
            with contextlib.suppress(psycopg2.OperationalError):
                return query(url, "SELECT number FROM kept") == 42
            return False

        wait_until(is_back)
    assert naming(str(folder)) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_keeper_heeds_no_signal(folder: Path, number: signal.Signals) -> None:
    with embedded.running(folder) as url:
        os.kill(pid_of(folder, "embedded_supervisor.py"), number)
        assert query(url, "SELECT 1") == 1


def test_whoever_leaves_when_the_keeper_was_killed_stops_postgresql(folder: Path) -> None:
    with embedded.running(folder) as url:
        assert query(url, "SELECT 1") == 1
        os.kill(pid_of(folder, "embedded_supervisor.py"), signal.SIGKILL)
    assert naming(str(folder)) == set()


def test_a_killed_keeper_is_replaced_for_all_users_and_starts_postgresql_again(folder: Path) -> None:
    with embedded.running(folder) as url, user(folder) as other:
        assert url_of(other) == url
        query(url, "CREATE TABLE kept AS SELECT 42 AS number")

        def is_another(server: object) -> bool:
            with contextlib.suppress(psycopg2.Error):  # Of a connection that is cut, one of several.
                return query(url, "SELECT number FROM kept") == 42 and server_of(url) != server
            return False

        first = server_of(url)
        os.kill(pid_of(folder, "embedded_supervisor.py"), signal.SIGKILL)
        wait_until(lambda: is_another(first))
        second = server_of(url)
        leave(other)
        assert server_of(url) == second, "its new keeper has two users"

        os.kill(pid_of(folder, "/bin/postgres -D"), signal.SIGKILL)
        wait_until(lambda: is_another(second))
    wait_until(lambda: not naming(str(folder)))  # The keeper is no child of ours.


def test_whoever_comes_after_keeper_and_user_were_killed_finds_everything(folder: Path) -> None:
    with user(folder) as killed:
        query(url_of(killed), "CREATE TABLE kept AS SELECT 42 AS number")
        os.kill(pid_of(folder, "embedded_supervisor.py"), signal.SIGKILL)
        killed.kill()

    with embedded.running(folder) as url:
        assert query(url, "SELECT number FROM kept") == 42
    assert naming(str(folder)) == set()


def test_a_postgresql_that_cannot_start_is_an_error_that_names_its_log(folder: Path) -> None:
    with embedded.running(folder):
        pass
    (folder / "postgresql" / "PG_VERSION").write_text("9.6\n")

    fault = f"does not start. See {folder}/postgresql.log."
    with pytest.raises(embedded.EmbeddedError, match=fault), embedded.running(folder):
        pass
    assert naming(str(folder)) == set()


def test_root_alone_runs_it_elsewhere_when_the_working_directory_is_private(folder: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    chosen = embedded.default_data_dir(home)
    assert chosen.parent == (Path("/var/lib/carbonapi") if IS_ROOT else home)
    assert chosen.name.startswith("home-" if IS_ROOT else ".carbonapi")

    try:
        with embedded.running(chosen) as url:
            assert query(url, "SELECT 1") == 1
            owner = (chosen / "postgresql").stat().st_uid
            assert owner != 0
            assert (owner == os.geteuid()) is not IS_ROOT
    finally:
        shutil.rmtree(chosen)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_root_is_told_which_directory_is_private_and_for_others_it_does(folder: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)

    with (
        refused_to_root(f"cannot enter {home}. Set CARBONAPI_EMBEDDED_DATA_DIR"),
        embedded.running(home / "data") as url,
    ):
        assert query(url, "SELECT 1") == 1
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_root_is_told_of_an_account_that_does_not_exist_and_others_need_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARBONAPI_EMBEDDED_POSTGRES_USER", "no-such-account")

    with refused_to_root("there is no account no-such-account"), embedded.running(folder) as url:
        assert query(url, "SELECT 1") == 1


def test_a_folder_that_cannot_be_made_is_said(folder: Path) -> None:
    (folder / "file").touch()

    fault = f"Cannot make {folder}/file/data: Not a directory. Set CARBONAPI_EMBEDDED_DATA_DIR."
    with pytest.raises(embedded.EmbeddedError, match=fault), embedded.running(folder / "file" / "data"):
        pass


def test_the_default_folder_is_in_the_working_directory(folder: Path) -> None:
    assert embedded.default_data_dir(folder) == folder / ".carbonapi"


def test_the_secret_key_is_long_private_and_stays(folder: Path) -> None:
    key = embedded.secret_key(folder)

    assert len(key) == 64
    assert stat.S_IMODE((folder / "secret_key").stat().st_mode) == 0o600
    assert embedded.secret_key(folder) == key
    assert sorted(path.name for path in folder.iterdir()) == ["secret_key"]


def test_starters_who_make_the_secret_key_at_once_get_the_same(folder: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        keys = set(threads.map(lambda _: embedded.secret_key(folder), range(64)))

    assert keys == {(folder / "secret_key").read_text()}


def test_a_secret_key_that_others_can_read_is_refused(folder: Path) -> None:
    embedded.secret_key(folder)
    (folder / "secret_key").chmod(0o644)

    with pytest.raises(embedded.EmbeddedError, match="is open to others"):
        embedded.secret_key(folder)

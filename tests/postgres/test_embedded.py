"""The embedded PostgreSQL: real servers, supervisors and clients, and what is left after a kill."""

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
from carbonapi.postgres.embedded_folder import EmbeddedError, default_data_dir, secret_key
from tests.support import embedded_data
from tests.support.processes import kill, naming, public_folder, wait_until

CLIENT = """
import sys
from pathlib import Path
from carbonapi.postgres.embedded import running

with running(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
# PostgreSQL cannot run as root, so root runs it as another account. Tests of that difference depend on who runs them.
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    with public_folder() as path:
        yield path


@pytest.fixture
def data(folder: Path) -> Path:
    """Return a folder in which PostgreSQL has run before."""
    embedded_data.copy_to(folder)
    return folder


@contextlib.contextmanager
def client(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run a client of the folder's PostgreSQL until its standard input ends. Its first line of output is the URL."""
    command = [sys.executable, "-c", CLIENT, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def raises_for_root(message: str) -> contextlib.AbstractContextManager[object]:
    """Expect an error with this message in the block for root, and none for other accounts."""
    return pytest.raises(EmbeddedError, match=message) if IS_ROOT else contextlib.nullcontext()


def url_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def leave(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 0


def query(url: str, statement: str) -> object:
    """Return the first value of the result, if the statement has a result."""
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


def test_rows_survive_a_restart(folder: Path) -> None:
    with embedded.running(folder) as url:
        query(url, "CREATE TABLE survivors AS SELECT 42 AS number")
    assert naming(str(folder)) == set()

    with embedded.running(folder) as url:
        assert query(url, "SELECT number FROM survivors") == 42


def test_server_is_private_and_the_same_everywhere(folder: Path) -> None:
    with embedded.running(folder) as url:
        assert url == f"postgresql+psycopg2://carbonapi_app@/carbonapi?host={folder}/run"
        assert str(query(url, "SHOW server_version")).startswith("18.")
        assert query(url, "SHOW listen_addresses") == ""
        assert query(url, "SHOW data_checksums") == "on"
        assert query(url, "SHOW server_encoding") == "UTF8"
        assert query(url, "SHOW timezone") == "UTC"
        assert query(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        locale = "SELECT datlocale FROM pg_database WHERE datname = 'carbonapi' AND datlocprovider = 'b'"
        assert query(url, locale) == "C.UTF-8"
        assert stat.S_IMODE((folder / "run").stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "postgresql").stat().st_mode) == 0o700


def test_deep_folder_has_its_socket_in_tmp(folder: Path) -> None:
    deep = folder / ("a" * 50) / ("b" * 50)

    with embedded.running(deep) as url:
        assert url.partition("host=")[2].startswith("/tmp/carbonapi-")
        assert query(url, "SELECT 1") == 1
    shutil.rmtree(url.partition("host=")[2])


def test_clients_share_one_server_until_the_last_ends(data: Path) -> None:
    with client(data) as alice, client(data) as bob, client(data) as carol:
        urls = [url_of(process) for process in (alice, bob, carol)]
        assert len({server_of(url) for url in urls}) == 1

        leave(alice)
        leave(carol)
        assert query(urls[1], "SELECT 1") == 1

        leave(bob)
        assert naming(str(data)) == set()


def test_killed_client_stops_postgresql_and_loses_nothing(data: Path) -> None:
    with client(data) as killed:
        query(url_of(killed), "CREATE TABLE survivors AS SELECT 42 AS number")
        killed.kill()
        wait_until(lambda: not naming(str(data)))

    with embedded.running(data) as url:
        assert query(url, "SELECT number FROM survivors") == 42


def test_killed_client_does_not_affect_other_clients(data: Path) -> None:
    with client(data) as killed, client(data) as other:
        url_of(killed)
        url = url_of(other)
        server = server_of(url)
        killed.kill()
        killed.wait()

        wait_until(lambda: len(naming(str(data)) & naming("import running")) == 1)
        assert server_of(url) == server
        leave(other)
        assert naming(str(data)) == set()


@pytest.mark.parametrize("victims", ["the client", "everything"])
def test_kill_during_initdb_leaves_no_partial_data(folder: Path, victims: str) -> None:
    with client(folder) as killed:
        wait_until(lambda: any(folder.glob("postgresql-new-*/base/1/PG_VERSION")))
        killed.kill()
        if victims == "everything":
            kill(naming(str(folder)))
        wait_until(lambda: not naming(str(folder)))
    assert (folder / "postgresql").exists() == (victims == "the client"), "the supervisor finishes initdb"

    with embedded.running(folder) as url:
        assert query(url, "SELECT 1") == 1
    assert list(folder.glob("*-new-*")) == []


def test_killed_postgresql_is_restarted(data: Path) -> None:
    with embedded.running(data) as url:
        query(url, "CREATE TABLE survivors AS SELECT 42 AS number")
        os.kill(pid_of(data, "/bin/postgres -D"), signal.SIGKILL)

        def is_running() -> bool:
            with contextlib.suppress(psycopg2.OperationalError):
                return query(url, "SELECT number FROM survivors") == 42
            return False

        wait_until(is_running)
    assert naming(str(data)) == set()


def test_supervisor_ignores_signals(data: Path) -> None:
    with embedded.running(data) as url:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid_of(data, "embedded_supervisor.py"), number)
            assert query(url, "SELECT 1") == 1


def test_client_of_killed_supervisor_stops_postgresql(data: Path) -> None:
    with embedded.running(data) as url:
        assert query(url, "SELECT 1") == 1
        os.kill(pid_of(data, "embedded_supervisor.py"), signal.SIGKILL)
    assert naming(str(data)) == set()


def test_killed_supervisor_is_replaced_for_all_clients(data: Path) -> None:
    with embedded.running(data) as url, client(data) as other:
        assert url_of(other) == url
        query(url, "CREATE TABLE survivors AS SELECT 42 AS number")

        def is_another(server: object) -> bool:
            with contextlib.suppress(psycopg2.Error):  # A connection that is cut raises one of several errors.
                return query(url, "SELECT number FROM survivors") == 42 and server_of(url) != server
            return False

        first = server_of(url)
        os.kill(pid_of(data, "embedded_supervisor.py"), signal.SIGKILL)
        wait_until(lambda: is_another(first))
        second = server_of(url)
        leave(other)
        assert server_of(url) == second, "the new supervisor has two clients"

        os.kill(pid_of(data, "/bin/postgres -D"), signal.SIGKILL)
        wait_until(lambda: is_another(second))
    wait_until(lambda: not naming(str(data)))  # The supervisor is not a child of this process.


def test_rows_survive_a_kill_of_supervisor_and_client(data: Path) -> None:
    with client(data) as killed:
        query(url_of(killed), "CREATE TABLE survivors AS SELECT 42 AS number")
        os.kill(pid_of(data, "embedded_supervisor.py"), signal.SIGKILL)
        killed.kill()

    with embedded.running(data) as url:
        assert query(url, "SELECT number FROM survivors") == 42
    wait_until(lambda: not naming(str(data)))  # The supervisor is not a child of this process.


def test_failed_start_is_an_error_with_the_log_file(data: Path) -> None:
    (data / "postgresql" / "PG_VERSION").write_text("9.6\n")

    message = f"does not start. See {data}/postgresql.log."
    with pytest.raises(EmbeddedError, match=message), embedded.running(data):
        pass
    assert naming(str(data)) == set()


def test_default_folder_of_root_avoids_private_directory(folder: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    default = default_data_dir(home)
    assert default.parent == (Path("/var/lib/carbonapi") if IS_ROOT else home)
    assert default.name.startswith("home-" if IS_ROOT else ".carbonapi")

    try:
        with embedded.running(default) as url:
            assert query(url, "SELECT 1") == 1
            owner = (default / "postgresql").stat().st_uid
            assert owner != 0
            assert (owner == os.geteuid()) is not IS_ROOT
    finally:
        shutil.rmtree(default)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_private_directory_is_an_error_for_root_only(folder: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)

    with (
        raises_for_root(f"cannot enter {home}. Set CARBONAPI_EMBEDDED_DATA_DIR"),
        embedded.running(home / "data") as url,
    ):
        assert query(url, "SELECT 1") == 1
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_missing_account_is_an_error_for_root_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARBONAPI_EMBEDDED_POSTGRES_USER", "no-such-account")

    with raises_for_root("there is no account no-such-account"), embedded.running(folder) as url:
        assert query(url, "SELECT 1") == 1


def test_failure_to_create_the_folder_is_reported(folder: Path) -> None:
    (folder / "file").touch()

    message = f"Cannot create {folder}/file/data: Not a directory. Set CARBONAPI_EMBEDDED_DATA_DIR to another folder."
    with pytest.raises(EmbeddedError, match=message), embedded.running(folder / "file" / "data"):
        pass


def test_default_folder_is_in_the_working_directory(folder: Path) -> None:
    assert default_data_dir(folder) == folder / ".carbonapi"


def test_secret_key_is_long_private_and_stable(folder: Path) -> None:
    key = secret_key(folder)

    assert len(key) == 64
    assert stat.S_IMODE((folder / "secret_key").stat().st_mode) == 0o600
    assert secret_key(folder) == key
    assert sorted(path.name for path in folder.iterdir()) == ["secret_key"]


def test_concurrent_starts_share_one_secret_key(folder: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        keys = set(threads.map(lambda _: secret_key(folder), range(64)))

    assert keys == {(folder / "secret_key").read_text()}


def test_readable_secret_key_is_rejected(folder: Path) -> None:
    secret_key(folder)
    (folder / "secret_key").chmod(0o644)

    with pytest.raises(EmbeddedError, match="Other accounts can read"):
        secret_key(folder)

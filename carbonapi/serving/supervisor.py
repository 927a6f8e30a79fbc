"""`carbonapi serve`: PostgreSQL, then the migration, then the web server; stopped in the reverse order.

None of them outlives this process, even if it is killed: PostgreSQL by its keeper (embedded.py), the web server by its
leash (leash.py).
"""

import contextlib
import errno
import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa

from ..db import row_security
from ..postgres import embedded
from ..settings import SettingsError, available_cores, from_environ, parse_database_url

PROJECT = Path(__file__).resolve().parents[2]  # Where wsgi.py and migrations/ lie.
CHILD_PROCESS = Path(__file__).with_name("child_process.py")
START_SECONDS = 60
STOP_SECONDS = 30  # What a request in flight has to finish; an import takes the longest.
RETRY_SECONDS = 5  # Between attempts to migrate a database that cannot be reached.
ABOVE = (
    "CARBONAPI_DATABASE_URL names a role that row-level security does not bind: a superuser, or one with BYPASSRLS. "
    "Take an ordinary role for the service; CARBONAPI_MIGRATION_DATABASE_URL may name another to migrate."
)
CONNECTIONS = 4096  # Open ones for each worker, most of them idle. Further ones wait until one closes.


def default_workers() -> int:
    """One for each core that we may use: two at least, so that one may die, and eight at most.

    The pools of eight fit into the 100 connections that PostgreSQL allows unless told otherwise.
    """
    return min(max(available_cores(), 2), 8)


class StopSignals:
    """Whether SIGTERM, Ctrl-C or the end of the session has asked this process to stop."""

    def __init__(self) -> None:
        self.stop = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # As nohup has it for SIGHUP.
                signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.stop = True


def serve(host: str, port: int, workers: int, threads: int, drain_seconds: int, environ: Mapping[str, str]) -> int:
    """Serve until asked to stop, and then for so many seconds; the exit code: 0 if asked, and all went well.

    Without CARBONAPI_DATABASE_URL, PostgreSQL is embedded, and the secret key made unless there is one.
    """
    fault = _fault_of_address(host, port)
    if fault is not None:
        print(fault, file=sys.stderr)
        return 1
    signals = StopSignals()
    # Each worker is told how many they are: they share the cores.
    environ = {**environ, "CARBONAPI_WORKERS": str(workers)}
    data = "in the database of CARBONAPI_DATABASE_URL"
    with contextlib.ExitStack() as stack:
        if not environ.get("CARBONAPI_DATABASE_URL"):
            try:
                folder = Path(
                    environ.get("CARBONAPI_EMBEDDED_DATA_DIR") or embedded.default_data_dir(Path.cwd())
                ).resolve()
                data = f"{folder}, kept between starts"
                environ["CARBONAPI_DATABASE_URL"] = stack.enter_context(embedded.running(folder))
                environ["CARBONAPI_MIGRATION_DATABASE_URL"] = embedded.owner_url(environ["CARBONAPI_DATABASE_URL"])
                environ["CARBONAPI_SECRET_KEY"] = environ.get("CARBONAPI_SECRET_KEY") or embedded.secret_key(folder)
            except embedded.EmbeddedError as error:
                print(error, file=sys.stderr)
                return 1
        try:
            from_environ(environ)
        except SettingsError as error:  # Before anything is asked of a database, or started.
            print(error, file=sys.stderr)
            return 1
        reachable = _can_reach_database(environ)
        if reachable and _is_above_policies(environ):
            print(ABOVE, file=sys.stderr)
            return 1
        code = _migrate(environ) if reachable else 0
        if signals.stop or code != 0:
            return 0 if signals.stop else code
        if environ.get("CARBONAPI_METRICS_TOKEN"):  # Where the workers count, so that each can tell of all.
            counts = tempfile.TemporaryDirectory(prefix="carbonapi-metrics-")
            environ["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(counts)
        drain_file = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="carbonapi-"))) / "draining"
        environ["CARBONAPI_DRAIN_FILE"] = str(drain_file)
        web_server = _start_web_server(host, port, workers, threads, environ)
        try:
            if _becomes_live(host, port, web_server, signals):
                _introduce(host, port, data)
                _keep_serving(web_server, signals, environ, is_migrated=reachable)
                _drain(web_server, drain_file, drain_seconds)
        finally:
            stopped_well = _stop_web_server(web_server)
    if not signals.stop:
        print("The web server has not started, or has stopped by itself; see above.", file=sys.stderr)
    return 0 if signals.stop and stopped_well else 1


def _fault_of_address(host: str, port: int) -> str | None:
    """What keeps us from listening there. The web server would not say: it shares a port with its like."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"Port {port} of {host} is in use. Stop what listens there, or choose another port with --port."
        return f"Cannot listen on port {port} of {host}: {error.strerror}."
    return None


def _can_reach_database(environ: Mapping[str, str]) -> bool:
    """Whether the database answers; if not, say why. A URL that makes no sense is left to the migration to tell."""
    try:
        url = parse_database_url(environ["CARBONAPI_DATABASE_URL"])
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"connect_timeout": 3})
        engine.connect().close()
    except sa.exc.OperationalError as error:
        print(f"The database cannot be reached: {error.orig}Further attempts follow.", file=sys.stderr)
        return False
    except (ValueError, sa.exc.SQLAlchemyError):
        return True
    return True


def _is_above_policies(environ: Mapping[str, str]) -> bool:
    """Whether row-level security does not bind the service's role. A URL that makes no sense is not told here."""
    with contextlib.suppress(ValueError, sa.exc.SQLAlchemyError):
        engine = sa.create_engine(parse_database_url(environ["CARBONAPI_DATABASE_URL"]), poolclass=sa.NullPool)
        with engine.connect() as connection:
            return row_security.bypasses_row_security(connection)
    return False


def _migrate(environ: Mapping[str, str]) -> int:
    """The exit code of the migration, which says what is wrong."""
    return subprocess.run([sys.executable, "-m", "carbonapi.commands", "migrate"], cwd=PROJECT, env=environ).returncode


def _start_web_server(
    host: str, port: int, workers: int, threads: int, environ: dict[str, str]
) -> "subprocess.Popen[bytes]":
    """The leash that holds the web server. Closing its standard input stops both."""
    files = _allowed_files()
    granian = ["granian", "--interface", "rsgi", "--host", host, "--port", str(port), "--workers", str(workers)]
    # HTTP/1 alone, for only then are connections closed on which nothing is ever said.
    protocol = ["--http", "1", "--no-ws", "--backpressure", str(min(CONNECTIONS, files // 2))]
    life = ["--respawn-failed-workers", "--workers-kill-timeout", str(STOP_SECONDS), "--log-level", "error"]
    command = [sys.executable, "-m", *granian, *protocol, *life, "--factory", "carbonapi.serving.rsgi:serving"]
    return subprocess.Popen(
        [sys.executable, "-P", str(CHILD_PROCESS), str(STOP_SECONDS + 10), *command],
        cwd=PROJECT,
        # Whoever breaks into it shall not find how to become the owner of the tables.
        env={name: value for name, value in environ.items() if name != "CARBONAPI_MIGRATION_DATABASE_URL"}
        | {"CARBONAPI_WORKER_THREADS": str(threads)},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _allowed_files() -> int:
    """How many files and connections a process may have open, after allowing as many as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS if hard == resource.RLIM_INFINITY else min(2 * CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft


def _becomes_live(host: str, port: int, web_server: "subprocess.Popen[bytes]", signals: StopSignals) -> bool:
    """Whether /health/live answers in time, and before the web server ends or a signal comes."""
    given_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < given_up_at and web_server.poll() is None and not signals.stop:
        connection = http.client.HTTPConnection(_reachable(host), port, timeout=5)
        try:
            connection.request("GET", "/health/live")
            if connection.getresponse().status == 200:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    return False


def _reachable(host: str) -> str:
    """An address by which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _introduce(host: str, port: int, data: str) -> None:
    name = _reachable(host)
    address = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
    print(
        f"\ncarbonapi is serving.\n"
        f"  The API:     {address}/api/v1\n"
        f"  Dashboard:   {address}/dashboard\n"
        f"  Swagger UI:  {address}/docs\n"
        f"  The data:    {data}\n"
        f"  To stop it:  Ctrl-C\n",
        flush=True,
    )


def _keep_serving(
    web_server: "subprocess.Popen[bytes]", signals: StopSignals, environ: Mapping[str, str], is_migrated: bool
) -> None:
    """Return when the web server has ended or a signal has come. Meanwhile migrate, if that was not possible before."""
    tried_at = time.monotonic()
    while web_server.poll() is None and not signals.stop:
        time.sleep(0.1)
        if not is_migrated and time.monotonic() - tried_at > RETRY_SECONDS:
            is_migrated = _can_reach_database(environ) and _migrate(environ) == 0
            tried_at = time.monotonic()


def _drain(web_server: "subprocess.Popen[bytes]", drain_file: Path, seconds: int) -> None:
    """Go on serving for a while, no longer ready, so that whoever shares requests out notices and sends no more."""
    drain_file.touch()
    with contextlib.suppress(subprocess.TimeoutExpired):
        web_server.wait(seconds)


def _stop_web_server(web_server: "subprocess.Popen[bytes]") -> bool:
    """Whether all requests in flight finished, and every process with them."""
    assert web_server.stdin is not None
    web_server.stdin.close()
    stopped_well = web_server.wait() == 0
    if not stopped_well:
        with contextlib.suppress(ProcessLookupError):  # The leash itself may have been killed.
            os.killpg(web_server.pid, signal.SIGKILL)
    return stopped_well

"""`carbonapi serve`: start PostgreSQL, migrate, start the web server; stop them in reverse order.

No process outlives this one, even if it is killed: PostgreSQL has a supervisor of its own (postgres/embedded.py), and
the web server runs under child_process.py.
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

from ..postgres import embedded
from ..postgres.embedded_folder import EmbeddedError, data_dir
from ..settings import SettingsError, available_cores, from_environ
from .database_check import examine

CHILD_PROCESS = Path(__file__).with_name("child_process.py")
RSGI = Path(__file__).with_name("rsgi.py")
START_SECONDS = 60
STOP_SECONDS = 30  # For requests in flight. An import takes the longest.
RETRY_SECONDS = 5  # Between attempts to migrate while the database is unreachable.
CONNECTIONS = 4096  # Maximum number of open connections of a worker, most of them idle. Further connections wait.


def default_workers() -> int:
    """Return one worker for each core, with a minimum of two and a maximum of eight.

    With two, the service survives the death of one. The pools of eight fit into PostgreSQL's default of 100
    connections.
    """
    return min(max(available_cores(), 2), 8)


class StopSignals:
    """Records whether SIGTERM, SIGINT (Ctrl-C) or SIGHUP (end of the session) has asked this process to stop.

    A signal that is ignored from the start stays ignored: nohup ignores SIGHUP, and a shell's background job SIGINT.
    """

    def __init__(self) -> None:
        self.stop = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._request_stop)

    def _request_stop(self, *_: object) -> None:
        self.stop = True


def serve(host: str, port: int, workers: int, threads: int, drain_seconds: int, environ: Mapping[str, str]) -> int:
    """Serve until a signal asks to stop, then drain. Return the exit code: 0 after a signal and a clean stop.

    Without CARBONAPI_DATABASE_URL, PostgreSQL is embedded, and the secret key is that of its folder.
    """
    if address_error := _check_address(host, port):
        print(address_error, file=sys.stderr)
        return 1
    signals = StopSignals()
    with contextlib.ExitStack() as stack:
        try:
            is_external = bool(environ.get("CARBONAPI_DATABASE_URL"))
            database = "CARBONAPI_DATABASE_URL" if is_external else str(data_dir(environ))
            variables = stack.enter_context(embedded.environment(environ))
            # Child processes find modules where this process does. Workers read their number, as they share the cores.
            variables["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
            variables["CARBONAPI_WORKERS"] = str(workers)
            # Report invalid settings before anything connects or starts.
            variables["CARBONAPI_DATABASE_URL"] = database_url = from_environ(variables)["DATABASE_URL"]
        except (EmbeddedError, SettingsError) as error:
            print(error, file=sys.stderr)
            return 1
        state = examine(database_url)
        if state.error:
            print(state.error, file=sys.stderr)
            return 1
        if note := state.reason or state.warning:
            print(note, file=sys.stderr)
        if variables.get("CARBONAPI_METRICS_TOKEN"):  # Each worker reports the sums of all, from files in this folder.
            counts = tempfile.TemporaryDirectory(prefix="carbonapi-metrics-")
            variables["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(counts)
        drain_file = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="carbonapi-"))) / "draining"
        variables["CARBONAPI_DRAIN_FILE"] = str(drain_file)
        web_server = _start_web_server(host, port, workers, threads, variables)
        try:
            if _becomes_live(host, port, web_server, signals):
                # The service is live while it migrates, but not ready.
                code = _migrate(variables, signals) if state.is_reachable and not state.is_migrated else 0
                if code != 0:
                    return code
                _print_addresses(host, port, variables.get("CARBONAPI_BASE_PATH", ""), database)
                _wait_for_stop(web_server, signals, variables, is_migrated=state.is_reachable)
                # Serve on, but not ready, so that a load balancer stops sending requests.
                drain_file.touch()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    web_server.wait(drain_seconds)
        finally:
            is_clean = _stop_web_server(web_server)
    if not signals.stop:
        print("The web server did not start, or stopped by itself. See above.", file=sys.stderr)
    return 0 if signals.stop and is_clean else 1


def _check_address(host: str, port: int) -> str | None:
    """Return why we cannot listen there, or None. The web server would share a port in use instead of failing."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"Port {port} of {host} is in use. Stop the program that listens there, or set another --port."
        return f"Cannot listen on port {port} of {host}: {error.strerror}."
    return None


def _migrate(environ: Mapping[str, str], signals: StopSignals) -> int:
    """Return the exit code of the migration, which prints its errors. A signal to stop ends it, with code 0."""
    command = [sys.executable, "-P", "-m", "carbonapi.commands", "migrate"]
    with subprocess.Popen(command, env=environ, start_new_session=True) as migration:
        while not signals.stop:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return migration.wait(0.1)
        migration.terminate()
    return 0


def _start_web_server(
    host: str, port: int, workers: int, threads: int, environ: dict[str, str]
) -> "subprocess.Popen[bytes]":
    """Start granian under child_process.py. Closing the standard input stops both."""
    file_limit = _raise_file_limit()
    web_server = ["carbonapi.serving.web_server", "--interface", "rsgi", "--workers", str(workers)]
    address = ["--host", host, "--port", str(port)]
    # granian closes connections that never send a request only for HTTP/1.
    protocol = ["--http", "1", "--no-ws", "--backpressure", str(min(CONNECTIONS, file_limit // 2))]
    life_cycle = ["--respawn-failed-workers", "--workers-kill-timeout", str(STOP_SECONDS), "--log-level", "error"]
    # By its file and folder, since granian would look in the working directory for a module.
    target = ["--working-dir", str(RSGI.parents[2]), "--factory", f"{RSGI}:create_application"]
    command = [sys.executable, "-P", "-m", *web_server, *address, *protocol, *life_cycle, *target]
    return subprocess.Popen(
        [sys.executable, "-P", str(CHILD_PROCESS), str(STOP_SECONDS + 10), *command],
        # An intruder in a worker must not find the password of the tables' owner.
        env={name: value for name, value in environ.items() if name != "CARBONAPI_MIGRATION_DATABASE_URL"}
        | {"CARBONAPI_WORKER_THREADS": str(threads)},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _raise_file_limit() -> int:
    """Raise the limit of open files and connections of a process as far as possible. Return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS if hard == resource.RLIM_INFINITY else min(2 * CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft


def _becomes_live(host: str, port: int, web_server: "subprocess.Popen[bytes]", signals: StopSignals) -> bool:
    """Wait for /health/live. Return False after START_SECONDS, at the end of the web server, or at a signal."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and web_server.poll() is None and not signals.stop:
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(http.client.HTTPConnection(_client_host(host), port, timeout=5)) as connection,
        ):
            connection.request("GET", "/health/live")
            if connection.getresponse().status == 200:
                return True
        time.sleep(0.1)
    return False


def _client_host(host: str) -> str:
    """Return the address at which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _print_addresses(host: str, port: int, base_path: str, database: str) -> None:
    name = _client_host(host)
    address = f"http://{f'[{name}]' if ':' in name else name}:{port}{base_path}"
    print(
        f"\ncarbonapi is serving.\n"
        f"  API:         {address}/api/v1\n"
        f"  Dashboard:   {address}/dashboard\n"
        f"  Swagger UI:  {address}/docs\n"
        f"  Database:    {database}\n"
        f"  To stop:     Ctrl-C\n",
        flush=True,
    )


def _wait_for_stop(
    web_server: "subprocess.Popen[bytes]", signals: StopSignals, environ: Mapping[str, str], is_migrated: bool
) -> None:
    """Wait for the end of the web server, or for a signal. Migrate the database once it can be reached."""
    tried_at = time.monotonic()
    while web_server.poll() is None and not signals.stop:
        time.sleep(0.1)
        if not is_migrated and time.monotonic() - tried_at > RETRY_SECONDS:
            database = examine(environ["CARBONAPI_DATABASE_URL"])
            if problem := database.error or database.reason:
                print(problem, file=sys.stderr)
            is_migrated = database.is_migrated or (not problem and _migrate(environ, signals) == 0)
            tried_at = time.monotonic()


def _stop_web_server(web_server: "subprocess.Popen[bytes]") -> bool:
    """Stop the web server. Return whether all requests in flight and all processes finished."""
    assert web_server.stdin is not None
    web_server.stdin.close()
    is_clean = web_server.wait() == 0
    if not is_clean:
        with contextlib.suppress(ProcessLookupError):  # child_process.py itself may have been killed.
            os.killpg(web_server.pid, signal.SIGKILL)
    return is_clean

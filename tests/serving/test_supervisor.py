"""`carbonapi serve` as real processes, on free ports of this machine."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from carbonapi.postgres import embedded
from carbonapi.serving import supervisor
from tests.support import embedded_data
from tests.support.processes import alive, children, family, kill, naming, public_folder, wait_until

PROJECT = Path(__file__).resolve().parents[2]
TWO_WORKERS = ("--workers", "2")
ACCOUNT = {"email": "alice@example.org", "password": "unrelated words make good ones", "name": "Alice"}


@dataclass
class Service:
    """A running `carbonapi serve`, and all processes that it has started so far."""

    process: "subprocess.Popen[str]"
    port: int
    output: Path
    processes: set[int]

    def request(self, method: str, path: str, body: object = None, token: str = "") -> tuple[int, dict[str, str]]:
        """Return the status and JSON of the response; 0 without a response."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"{}")
        except OSError:
            return 0, {}
        finally:
            connection.close()

    def status(self, path: str) -> int:
        return self.request("GET", path)[0]

    def has_started(self) -> bool:
        assert self.process.poll() is None, self.output.read_text()
        if "To stop:" not in self.output.read_text():
            return False
        self.processes |= family(self.process.pid)
        return True

    @property
    def child_process(self) -> int:
        (pid,) = self.processes & naming("child_process.py")
        return pid

    @property
    def web_server(self) -> int:
        (pid,) = children(self.child_process)
        return pid

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def folder() -> Iterator[Path]:
    with public_folder() as path:
        yield path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def restore_sigint() -> None:
    """A shell's background job ignores SIGINT, and so would the service that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def serving(
    folder: Path,
    settings: Mapping[str, str] | None = None,
    wait: bool = True,
    options: tuple[str, ...] = ("--workers", "1"),
) -> Iterator[Service]:
    """Run the service on a free port with its data in the folder. Kill all its processes at the end."""
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CARBONAPI_")}
    environ |= {"CARBONAPI_EMBEDDED_DATA_DIR": str(folder / "data")} | dict(settings or {})
    command = [sys.executable, "-m", "carbonapi.commands", "serve", "--port", str(port), *options]
    output = folder / f"output-{port}"
    if wait and "CARBONAPI_DATABASE_URL" not in environ and not (folder / "data").exists():
        embedded_data.copy_to(folder / "data")
    with (
        open(output, "w") as file,
        subprocess.Popen(
            command, cwd=PROJECT, env=environ, stdout=file, stderr=file, text=True, preexec_fn=restore_sigint
        ) as process,
    ):
        service = Service(process, port, output, set())
        try:
            if wait:
                wait_until(service.has_started, 60)
            yield service
        finally:
            kill(alive(service.processes | family(process.pid)))


@pytest.mark.parametrize(("cores", "workers"), [(1, 2), (2, 2), (6, 6), (64, 8)])
def test_default_workers_follow_the_number_of_cores(monkeypatch, cores: int, workers: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)

    assert supervisor.default_workers() == workers


def test_number_of_workers_is_a_setting(folder: Path) -> None:
    with serving(folder, {"CARBONAPI_WORKERS": "1"}, options=()) as service:
        assert len(children(service.web_server)) == 1, "the default is at least two"
        assert service.stop() == 0


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.thorough),
        pytest.param(signal.SIGHUP, marks=pytest.mark.thorough),
    ],
)
def test_service_prints_addresses_and_stops_on_signal(folder: Path, number: signal.Signals) -> None:
    with serving(folder, options=TWO_WORKERS) as service:
        assert service.status("/health/live") == 200
        assert service.status("/health/ready") == 200
        printed = service.output.read_text()
        assert f"http://127.0.0.1:{service.port}/api/v1\n" in printed
        assert f"http://127.0.0.1:{service.port}/docs\n" in printed
        assert f" {folder}/data\n" in printed
        assert len(naming(f"--port {service.port}")) == 5, "itself, child_process.py, the web server and two workers"

        assert service.stop(number) == 0
        assert alive(service.processes) == set()
        assert service.output.read_text() == printed


def test_every_stop_signal_stops_unless_it_is_ignored() -> None:
    program = """
import signal
from carbonapi.serving.supervisor import StopSignals

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    for action in (signal.SIG_DFL, signal.SIG_IGN):
        signal.signal(number, action)
        signals = StopSignals()
        signal.raise_signal(number)
        print(number.name, signals.stop)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [
        *("SIGINT", "True", "SIGINT", "False", "SIGTERM", "True", "SIGTERM", "False", "SIGHUP", "True"),
        *("SIGHUP", "False"),
    ]


def test_request_in_flight_finishes_before_stop(folder: Path) -> None:
    body = json.dumps(ACCOUNT).encode()
    head = f"POST /api/v1/auth/register HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with serving(folder) as service, socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body[:10])
        wait_until(lambda: service.status("/health/live") == 200)  # The service is reading the first request now.
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: service.status("/health/live") == 0)  # The service is stopping now.
        connection.sendall(body[10:])

        assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")
        assert service.process.wait(30) == 0
        assert alive(service.processes) == set()


def test_draining_service_answers_but_is_not_ready(folder: Path) -> None:
    answered, failed = [0], list[str]()
    signaled_at: list[float] = []

    def hammer() -> None:
        """Send requests over persistent connections, until connecting fails."""
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
            try:
                connection.connect()
            except OSError:
                return
            try:
                while connection.sock is not None:  # http.client closes it after `Connection: close`.
                    connection.request("GET", "/health/live")
                    response = connection.getresponse()
                    response.read()
                    answered[0] += 1
                    time.sleep(0.01)
                    if response.status != 200:
                        failed.append(f"{response.status}")
            except (OSError, http.client.HTTPException) as error:
                failed.append(
                    f"{error!r} {time.monotonic() - signaled_at[0] if signaled_at else 0:.1f} s after SIGTERM"
                )
            finally:
                connection.close()

    with serving(folder, {"CARBONAPI_DRAIN_SECONDS": "4"}, options=TWO_WORKERS) as service:
        threads = [threading.Thread(target=hammer) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: answered[0] > 100)
        service.process.send_signal(signal.SIGTERM)
        signaled_at.append(time.monotonic())
        wait_until(lambda: service.status("/health/ready") == 503, 3)
        assert service.status("/health/live") == 200
        before = answered[0]
        assert service.process.wait(30) == 0
        for thread in threads:
            thread.join()
        assert answered[0] > before
        assert failed == []


def test_open_connections_are_answered_during_stop(folder: Path) -> None:
    def status(connection: http.client.HTTPConnection) -> int:
        connection.request("GET", "/health/live")
        response = connection.getresponse()
        response.read()
        return response.status

    with serving(folder, options=TWO_WORKERS) as service, contextlib.ExitStack() as stack:
        persistent, *silent = (http.client.HTTPConnection("127.0.0.1", service.port, timeout=10) for _ in range(11))
        for connection in (persistent, *silent):
            connection.connect()
            stack.callback(connection.close)
        service.process.send_signal(signal.SIGTERM)
        while persistent.sock is not None:  # A worker that stops closes it after its first response.
            assert status(persistent) == 200
        assert [status(connection) for connection in silent] == [200] * 10
        assert service.process.wait(30) == 0


def test_stopped_socket_keeps_waiting_connections() -> None:
    """Run in a separate process, since it affects all sockets. Only Linux can reject new connections."""
    program = """
import socket
from carbonapi.serving.sockets import stop_accepting

listener = socket.create_server(("127.0.0.1", 0))
waiting = socket.create_connection(listener.getsockname(), timeout=5)
stop_accepting()
try:
    socket.create_connection(listener.getsockname(), timeout=0.3)
except TimeoutError:
    print("no response")
else:
    print("accepted")
waiting.sendall(b"a request")
print(listener.accept()[0].recv(100).decode())
listener.close()
try:
    socket.create_connection(waiting.getpeername(), timeout=5)
except ConnectionRefusedError:
    print("rejected")
"""
    printed = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=30)
    further = "no response" if sys.platform == "linux" else "accepted"
    assert (printed.stdout, printed.stderr) == (f"{further}\na request\nrejected\n", "")


def test_service_waits_for_a_frozen_postgresql(folder: Path) -> None:
    with serving(folder) as service:
        assert service.request("POST", "/api/v1/auth/register", ACCOUNT)[0] == 201
        credentials = {name: ACCOUNT[name] for name in ("email", "password")}
        _, tokens = service.request("POST", "/api/v1/auth/login", credentials)
        frozen = naming(f"-D {folder}/data/postgresql") | naming("postgres: carbonapi carbonapi")
        frozen &= family(min(naming(f"-D {folder}/data/postgresql")))
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        with ThreadPoolExecutor(30) as threads:
            requests = [
                threads.submit(service.request, "GET", "/api/v1/usages", token=tokens["access_token"])
                for _ in range(30)
            ]
            time.sleep(3)
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
            statuses = {request.result()[0] for request in requests}
        assert statuses <= {200, 503}
        assert time.monotonic() - began < 7
        wait_until(lambda: service.status("/health/ready") == 200)
        assert service.stop() == 0


def test_killed_service_loses_nothing(folder: Path) -> None:
    with serving(folder) as service:
        assert service.request("POST", "/api/v1/auth/register", ACCOUNT)[0] == 201
        service.process.kill()
        wait_until(lambda: not alive(service.processes))

    with serving(folder) as service:
        credentials = {name: ACCOUNT[name] for name in ("email", "password")}
        assert service.request("POST", "/api/v1/auth/login", credentials)[0] == 200
        assert service.stop() == 0


@pytest.mark.parametrize("victim", ["child_process", "web_server"])
def test_service_fails_without_its_web_server(folder: Path, victim: str) -> None:
    with serving(folder) as service:
        os.kill(getattr(service, victim), signal.SIGKILL)

        assert service.process.wait(30) == 1
        assert alive(service.processes) == set()
        assert service.output.read_text().endswith("or stopped by itself. See above.\n")


def test_killed_worker_is_replaced(folder: Path) -> None:
    with serving(folder, options=TWO_WORKERS) as service:
        workers = children(service.web_server)
        killed = min(workers)
        os.kill(killed, signal.SIGKILL)

        wait_until(lambda: len(children(service.web_server) - {killed}) == len(workers) == 2)
        wait_until(lambda: service.status("/health/ready") == 200)  # The other worker may still be starting.
        service.processes |= family(service.process.pid)
        assert service.stop() == 0
        assert alive(service.processes) == set()


def test_services_on_one_folder_share_everything(folder: Path) -> None:
    with serving(folder, wait=False) as first, serving(folder, wait=False) as second:
        wait_until(first.has_started, 60)
        wait_until(second.has_started, 60)
        assert first.request("POST", "/api/v1/auth/register", ACCOUNT)[0] == 201
        credentials = {name: ACCOUNT[name] for name in ("email", "password")}
        _, tokens = first.request("POST", "/api/v1/auth/login", credentials)
        status, me = second.request("GET", "/api/v1/auth/me", token=tokens["access_token"])
        assert (status, me["email"]) == (200, ACCOUNT["email"])

        assert first.stop() == 0
        assert second.status("/health/ready") == 200
        assert second.stop() == 0
        assert naming(str(folder)) == set()


def test_port_in_use_is_reported_before_start(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as listener:  # As the web server of another service.
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "carbonapi.commands", "serve", "--port", str(port)]
        environ = os.environ | {"CARBONAPI_EMBEDDED_DATA_DIR": str(folder / "other")}
        other = subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, text=True)

        assert other.returncode == 1
        assert other.stderr.startswith(f"Port {port} of 127.0.0.1 is in use.")
        assert not (folder / "other").exists()


def test_external_database_requires_a_secret_key(folder: Path) -> None:
    url = "postgresql://carbonapi@nowhere.invalid/carbonapi"
    with serving(folder, {"CARBONAPI_DATABASE_URL": url}, wait=False) as service:
        assert service.process.wait(30) != 0
        assert "CARBONAPI_SECRET_KEY is not set" in service.output.read_text()
        assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("CARBONAPI_SECRET_KEY", "change-me-change-me-change-me-change-me"),
        ("CARBONAPI_DATABASE_URL", "postgresql://carbonapi:carbonapi@nowhere.invalid/carbonapi"),
        ("CARBONAPI_METRICS_TOKEN", "hidden"),
        ("FLASK_DEBUG", "1"),
    ],
)
def test_weak_setting_is_rejected_before_connecting(capsys, variable: str, text: str) -> None:
    environ = {
        "CARBONAPI_DATABASE_URL": "postgresql://carbonapi@nowhere.invalid/carbonapi",
        "CARBONAPI_SECRET_KEY": "a key for tests only, of 32 bytes and more",
    }

    assert supervisor.serve("127.0.0.1", 0, 1, 1, 0, environ | {variable: text}) == 1
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(f"{variable} ")
    assert text not in message.removeprefix(variable) or text == "1"


def test_service_starts_without_its_database(folder: Path) -> None:
    with embedded.running(folder / "server") as url:
        pass
    settings = {
        "CARBONAPI_DATABASE_URL": url,
        "CARBONAPI_MIGRATION_DATABASE_URL": embedded.owner_url(url),
        "CARBONAPI_SECRET_KEY": "a key for tests only, of 32 bytes and more",
    }
    with serving(folder, settings) as service:
        assert service.status("/health/live") == 200
        assert service.status("/health/ready") == 503
        assert "Cannot reach the database" in service.output.read_text()

        with embedded.running(folder / "server"):
            wait_until(lambda: service.status("/health/ready") == 200)
            assert service.request("POST", "/api/v1/auth/register", ACCOUNT)[0] == 201
            assert service.stop() == 0
        assert not (folder / "data").exists()

"""The contestants: carbonapi with `carbonapi serve`, the peer with uvicorn, both with two workers."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from carbonapi.postgres import embedded

from .ledger import PASSWORD, Database

PROJECT = Path(__file__).resolve().parents[1]
SECRET_KEY = "a key for benchmarks only, of 32 bytes and more"
START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A web server: its URL and its first process."""

    url: str
    pid: int

    def send(self, path: str, token: str | None = None, body: dict | None = None) -> tuple[dict, dict[str, str]]:
        """Send a GET, or a POST with a body. Return the JSON and headers of the response. Raise HTTPError."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", content, headers)
        with urllib.request.urlopen(request, timeout=600) as response:
            return json.load(response), {name.title(): value for name, value in response.headers.items()}

    def size_of(self, path: str, token: str, headers: dict[str, str]) -> int:
        """Return the size of the response to a GET in bytes, as it is sent."""
        request = urllib.request.Request(f"{self.url}{path}", headers={"Authorization": f"Bearer {token}"} | headers)
        with urllib.request.urlopen(request, timeout=600) as response:
            return len(response.read())


@contextlib.contextmanager
def database(folder: Path) -> Iterator[Database]:
    """Yield the migrated database of an embedded PostgreSQL in a folder."""
    with embedded.running(folder) as url:
        environ = os.environ | {"CARBONAPI_DATABASE_URL": url, "CARBONAPI_SECRET_KEY": SECRET_KEY}
        environ["CARBONAPI_MIGRATION_DATABASE_URL"] = embedded.owner_url(url)
        subprocess.run([sys.executable, "-m", "carbonapi.commands", "migrate"], cwd=PROJECT, env=environ, check=True)
        pid = int((folder / "postgresql" / "postmaster.pid").read_text().split()[0])
        url = url.replace("postgresql+psycopg2://", "postgresql://")
        yield Database(url, url.replace(f"//{embedded.ROLE}@", "//postgres@"), pid)


def rebuild_totals(database_url: str) -> None:
    """Calculate the daily totals, since the ledger was not filled by the service."""
    environ = os.environ | {"CARBONAPI_DATABASE_URL": database_url, "CARBONAPI_SECRET_KEY": SECRET_KEY}
    command = [sys.executable, "-m", "carbonapi.commands", "usages", "rebuild-totals"]
    subprocess.run(command, cwd=PROJECT, env=environ, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def carbonapi(database_url: str, log: Path) -> Iterator[Server]:
    """Run carbonapi with its defaults, except longer tokens, larger files, and no limit for writes.

    log: the file of its log, which has a line for each request.
    """
    settings = {"DATABASE_URL": database_url, "ACCESS_TOKEN_MINUTES": "1440", "IMPORT_MAX_BYTES": str(2**30)}
    settings |= {"RATE_LIMIT_WRITES_PER_ACCOUNT": "0", "RATE_LIMIT_WRITES_PER_IP": "0"}
    environ = {f"CARBONAPI_{name}": value for name, value in settings.items()}
    port = free_port()
    command = ["carbonapi.commands", "serve", "--port", str(port), "--workers", "2"]
    environ["CARBONAPI_SECRET_KEY"] = SECRET_KEY
    with log.open("ab") as file, running_server(command, port, "/health/ready", environ, file) as server:
        yield server


@contextlib.contextmanager
def peer(database_url: str) -> Iterator[Server]:
    """Run the peer on the same database."""
    _, _, rest = database_url.partition("://")
    environ = {"BENCHMARK_DATABASE_URL": f"postgresql+asyncpg://{rest}", "BENCHMARK_SECRET_KEY": SECRET_KEY}
    port = free_port()
    options = ["--port", str(port), "--workers", "2", "--log-level", "warning", "--no-access-log"]
    with running_server(["uvicorn", "benchmarks.peer:app", *options], port, "/openapi.json", environ) as server:
        yield server


def token_of(service: Server, user: int) -> str:
    """Return an access token of the user with this id."""
    credentials = {"email": f"user{user}@example.org", "password": PASSWORD}
    tokens, _ = service.send("/api/v1/auth/login", body=credentials)
    return str(tokens["access_token"])


@contextlib.contextmanager
def running_server(
    command: list[str], port: int, path: str, environ: dict[str, str], log: IO[bytes] | None = None
) -> Iterator[Server]:
    """Run a Python module that is a web server. Yield the server when `path` responds."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=PROJECT, env=os.environ | environ, stdout=subprocess.DEVNULL, stderr=log
    )
    server = Server(f"http://127.0.0.1:{port}", process.pid)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                server.send(path)
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start. See its log.")
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

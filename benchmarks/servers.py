"""The contestants as they are run: carbonapi by `carbonapi serve`, its peer by uvicorn, both with two workers."""

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

from carbonapi.postgres import embedded

from .ledger import PASSWORD, Database

PROJECT = Path(__file__).resolve().parents[1]
SECRET_KEY = "a key for benchmarks alone, of 32 bytes and more"
START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A web server: its address, and the process that all of its processes descend from."""

    url: str
    pid: int

    def ask(self, path: str, token: str | None = None, body: dict | None = None) -> tuple[dict, dict[str, str]]:
        """The JSON and the headers of an answer, by their usual names. Raises HTTPError for any but a good one."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", sent, headers)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer), {name.title(): value for name, value in answer.headers.items()}


@contextlib.contextmanager
def database(folder: Path) -> Iterator[Database]:
    """The database of the embedded PostgreSQL on a folder, migrated."""
    with embedded.running(folder) as url:
        environ = os.environ | {"CARBONAPI_DATABASE_URL": url, "CARBONAPI_SECRET_KEY": SECRET_KEY}
        environ["CARBONAPI_MIGRATION_DATABASE_URL"] = embedded.owner_url(url)
        subprocess.run([sys.executable, "-m", "carbonapi.commands", "migrate"], cwd=PROJECT, env=environ, check=True)
        pid = int((folder / "postgresql" / "postmaster.pid").read_text().split()[0])
        url = url.replace("postgresql+psycopg2://", "postgresql://")
        yield Database(url, url.replace(f"//{embedded.ROLE}@", "//postgres@"), pid)


def count_days(database_url: str) -> None:
    """Have the days of the ledger counted, which the service keeps itself when it writes usages."""
    environ = os.environ | {"CARBONAPI_DATABASE_URL": database_url, "CARBONAPI_SECRET_KEY": SECRET_KEY}
    command = [sys.executable, "-m", "carbonapi.commands", "usages", "rebuild-totals"]
    subprocess.run(command, cwd=PROJECT, env=environ, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def carbonapi(database_url: str) -> Iterator[Server]:
    """carbonapi as it is shipped, but that a token lasts long, a file may be long, and writes are not limited."""
    settings = {"DATABASE_URL": database_url, "ACCESS_TOKEN_MINUTES": "1440", "IMPORT_MAX_BYTES": str(2**30)}
    settings |= {"RATE_LIMIT_WRITES_PER_ACCOUNT": "0", "RATE_LIMIT_WRITES_PER_IP": "0"}
    environ = {f"CARBONAPI_{name}": value for name, value in settings.items()}
    port = free_port()
    command = ["carbonapi.commands", "serve", "--port", str(port), "--workers", "2"]
    with served(command, port, "/health/ready", environ | {"CARBONAPI_SECRET_KEY": SECRET_KEY}) as server:
        yield server


@contextlib.contextmanager
def peer(database_url: str) -> Iterator[Server]:
    """The peer, on the same database."""
    _, _, rest = database_url.partition("://")
    environ = {"BENCHMARK_DATABASE_URL": f"postgresql+asyncpg://{rest}", "BENCHMARK_SECRET_KEY": SECRET_KEY}
    port = free_port()
    options = ["--port", str(port), "--workers", "2", "--log-level", "warning", "--no-access-log"]
    with served(["uvicorn", "benchmarks.peer:app", *options], port, "/openapi.json", environ) as server:
        yield server


def token_of(service: Server, user: int) -> str:
    """An access token of the user with this id."""
    credentials = {"email": f"user{user}@example.org", "password": PASSWORD}
    tokens, _ = service.ask("/api/v1/auth/login", body=credentials)
    return str(tokens["access_token"])


@contextlib.contextmanager
def served(command: list[str], port: int, path: str, environ: dict[str, str]) -> Iterator[Server]:
    """A server that has been started by a Python module, once `path` answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=PROJECT, env=os.environ | environ, stdout=subprocess.DEVNULL
    )
    server = Server(f"http://127.0.0.1:{port}", process.pid)
    try:
        given_up_at = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                server.ask(path)
                break
            if process.poll() is not None or time.monotonic() > given_up_at:
                raise RuntimeError(f"{command[0]} did not start; see above.")
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

"""`carbonapi serve` with an embedded PostgreSQL, its processes, and its restart whenever it ends, as in Docker."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import embedded_data, factories
from tests.support.apps import NO_RATE_LIMITS
from tests.support.processes import alive, children, family, kill, naming, public_folder, table
from tests.support.servers import free_port

from .calls import Caller

PROJECT = Path(__file__).resolve().parents[2]
START_SECONDS = 180
ACCOUNT = {"email": "ada@example.org", "password": factories.PASSWORD}
# Tokens are valid for the whole run.
SETTINGS = NO_RATE_LIMITS | {"ACCESS_TOKEN_MINUTES": 1440, "LOG_LEVEL": "error"}


class Service:
    """The service with its own folder and port, which stay the same after a restart."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self.folder = folder
        self.workers_option = ("--workers", str(workers))
        self.port = free_port()
        self.log = folder / "log"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("CARBONAPI_")}
        self.environ |= {f"CARBONAPI_{name}": str(value) for name, value in SETTINGS.items()}
        self.environ["CARBONAPI_EMBEDDED_DATA_DIR"] = str(folder / "data")
        self.starts, self.started_at = 0, 0.0
        embedded_data.copy_to(folder / "data")
        self._start()

    def _start(self) -> None:
        options = ("--port", str(self.port), *self.workers_option)
        command = [sys.executable, "-m", "carbonapi.commands", "serve", *options]
        with open(self.log, "a") as log:
            self.supervisor = subprocess.Popen(command, cwd=PROJECT, env=self.environ, stdout=log, stderr=log)
        self.starts, self.started_at = self.starts + 1, time.monotonic()

    def restart_if_ended(self) -> None:
        if self.supervisor.poll() is not None:
            self._start()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with Caller(self.port) as caller:
            while caller.ask("GET", "/health/ready").status != 200:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"The service is not ready within {START_SECONDS} seconds.\n{self.log_tail()}")
                self.restart_if_ended()
                time.sleep(0.1)

    def stop(self) -> int:
        """Send SIGTERM, and return the exit code."""
        self.supervisor.terminate()
        return self.supervisor.wait(60)

    def command(self, *arguments: str) -> str:
        """Run a command of carbonapi on the same data, and return its output."""
        command = [sys.executable, "-m", "carbonapi.commands", *arguments]
        return subprocess.run(command, cwd=PROJECT, env=self.environ, check=True, capture_output=True, text=True).stdout

    def token(self) -> str:
        """Return an access token of the manager, registered on the first call."""
        with Caller(self.port) as caller:
            caller.ask("POST", "/auth/register", json.dumps(ACCOUNT | {"name": "Ada"}).encode())
            return str(caller.ask("POST", "/auth/login", json.dumps(ACCOUNT).encode()).json["access_token"])

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text().splitlines()[-30:])

    # Processes are found by the folder and the port, which no other service has.

    @property
    def web_server(self) -> set[int]:
        guards = family(self.supervisor.pid) & naming("child_process.py")
        return {child for guard in guards for child in children(guard)}

    @property
    def supervisor_process(self) -> set[int]:
        return {self.supervisor.pid}

    @property
    def workers(self) -> set[int]:
        return {worker for web_server in self.web_server for worker in children(web_server)}

    @property
    def postgresql_supervisor(self) -> set[int]:
        return naming(f"embedded_supervisor.py {self.folder}/data")

    @property
    def postmaster(self) -> set[int]:
        return naming(f"postgres -D {self.folder}/data/postgresql")

    @property
    def postgresql(self) -> set[int]:
        return {member for postmaster in self.postmaster for member in family(postmaster)}

    @property
    def backends(self) -> set[int]:
        """The processes of PostgreSQL that serve the workers."""
        processes = table()
        return {pid for pid in self.postgresql & processes.keys() if "carbonapi_app carbonapi" in processes[pid][1]}

    @property
    def everything(self) -> set[int]:
        return family(self.supervisor.pid) | self.postgresql_supervisor | self.postgresql

    def kill(self) -> None:
        """Kill all processes, and those that they start in the meantime."""
        processes = self.everything
        while processes:
            kill(processes)
            self.supervisor.poll()
            time.sleep(0.05)
            processes = alive(processes | self.everything)


@contextlib.contextmanager
def running(workers: int = 2) -> Iterator[Service]:
    """Yield a service with an empty ledger; kill it afterwards."""
    with public_folder() as folder:
        service = Service(folder, workers)
        try:
            service.wait_until_ready()
            yield service
        finally:
            service.kill()
            service.supervisor.wait()

"""`carbonapi serve` with its own PostgreSQL, by its processes; started again whenever it ends, as Docker would."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import factories
from tests.support.processes import alive, children, family, kill, naming, public_folder, table
from tests.support.servers import free_port

from .calls import Caller

PROJECT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
ACCOUNT = {"email": "ada@example.org", "password": factories.PASSWORD}
# Nobody is throttled, and a token lasts for the whole run.
SETTINGS = {"ACCESS_TOKEN_MINUTES": "1440", "LOG_LEVEL": "error"} | {
    f"LIMIT_{what}_PER_{whom}": "0"
    for what in ("SIGN_IN", "REGISTRATION", "REFRESH", "WRITES", "IMPORTS")
    for whom in ("ACCOUNT", "ADDRESS")
}


class Service:
    """The service on a folder and a port of its own, both kept when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "log"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("CARBONAPI_")}
        self.environ |= {f"CARBONAPI_{name}": value for name, value in SETTINGS.items()}
        self.environ["CARBONAPI_EMBEDDED_DATA_DIR"] = str(folder / "data")
        self.starts, self.started_at = 0, 0.0
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "carbonapi.commands", "serve", "--port", str(self.port), "--workers", "2"]
        with open(self.log, "a") as log:
            self.supervisor = subprocess.Popen(command, cwd=PROJECT, env=self.environ, stdout=log, stderr=log)
        self.starts, self.started_at = self.starts + 1, time.monotonic()

    def keep_up(self) -> None:
        """Start it again if it has ended."""
        if self.supervisor.poll() is not None:
            self._start()

    def wait_until_ready(self) -> None:
        given_up_at = time.monotonic() + START_SECONDS
        with Caller(self.port) as caller:
            while caller.ask("GET", "/health/ready").status != 200:
                if time.monotonic() > given_up_at:
                    raise RuntimeError(f"The service is not ready within {START_SECONDS} seconds.\n{self.told()}")
                self.keep_up()
                time.sleep(0.1)

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self.supervisor.terminate()
        return self.supervisor.wait(60)

    def command(self, *arguments: str) -> str:
        """What a command of carbonapi prints, on the same data."""
        command = [sys.executable, "-m", "carbonapi.commands", *arguments]
        return subprocess.run(command, cwd=PROJECT, env=self.environ, check=True, capture_output=True, text=True).stdout

    def token(self) -> str:
        """An access token of a manager, who registers the first time."""
        with Caller(self.port) as caller:
            caller.ask("POST", "/auth/register", json.dumps(ACCOUNT | {"name": "Ada"}).encode())
            return str(caller.ask("POST", "/auth/login", json.dumps(ACCOUNT).encode()).json["access_token"])

    def told(self) -> str:
        """The end of what it has logged."""
        return "\n".join(self.log.read_text().splitlines()[-30:])

    # Its processes: none of another service, for folder and port are its own.

    @property
    def web_server(self) -> set[int]:
        return {
            child for leash in family(self.supervisor.pid) & naming("child_process.py") for child in children(leash)
        }

    @property
    def workers(self) -> set[int]:
        return {worker for web_server in self.web_server for worker in children(web_server)}

    @property
    def keeper(self) -> set[int]:
        return naming(f"embedded_supervisor.py {self.folder}/data")

    @property
    def postmaster(self) -> set[int]:
        return naming(f"postgres -D {self.folder}/data/postgresql")

    @property
    def postgresql(self) -> set[int]:
        return {member for postmaster in self.postmaster for member in family(postmaster)}

    @property
    def backends(self) -> set[int]:
        """Those of PostgreSQL's processes that serve the workers."""
        processes = table()
        return {pid for pid in self.postgresql & processes.keys() if "carbonapi_app carbonapi" in processes[pid][1]}

    @property
    def everything(self) -> set[int]:
        return family(self.supervisor.pid) | self.keeper | self.postgresql

    def kill(self) -> None:
        """Kill all that it consists of, and what this starts in its last moments."""
        processes = self.everything
        while processes:
            kill(processes)
            self.supervisor.poll()
            time.sleep(0.05)
            processes = alive(processes | self.everything)


@contextlib.contextmanager
def running() -> Iterator[Service]:
    """A service with an empty ledger, killed in the end."""
    with public_folder() as folder:
        service = Service(folder)
        try:
            service.wait_until_ready()
            yield service
        finally:
            service.kill()
            service.supervisor.wait()

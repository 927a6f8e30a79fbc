"""The jobs of whole files, in and out: through the service, and past it."""

import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import sampling
from .ledger import COLUMNS, LARGE, MANAGER, Database, usages
from .runner import FIELDS, Findings, Stage, Target
from .sampling import connection_to
from .servers import Server

LATER = "2026-02-01"  # After everything else: what is added here is taken away again.
FLAT_MIB = 32  # What a worker may need beside what it has, however long the file.


def import_a_file(stage: Stage) -> Findings:
    """A file is booked; and the very same rows, ready made, are copied straight into the table."""
    with tempfile.TemporaryDirectory() as directory:
        ready, given = Path(directory, "ready.csv"), Path(directory, "given.csv")
        copied_s = copied_straight(stage.database, ready, stage.file_rows)
        tried, notes, grown = stage.file_rows, [], 0.0
        while True:
            write_usages(stage.database, given, tried)
            size = given.stat().st_size / 2**20
            resting = stage.resting()
            try:
                booked_s = booked(stage.service, stage.manager, given)
                break
            except RuntimeError as error:
                notes.append(f"A file of {tried:,} rows is refused. {error}")
                if tried < 10_000:
                    return Findings("Import of a CSV file", {}, notes, [Target("import", "is booked", "is refused", 0)])
                tried //= 10
            finally:
                more = sampling.growth_mib(resting, sampling.peaks_mib(stage.service.pid))
                notes.append(f"The worker took {more:.0f} MiB more for a file of {size:.0f} MiB.")
                grown = max(grown, more)
    rates = {"COPY": stage.file_rows / copied_s, "carbonapi": tried / booked_s}
    ratio = rates["carbonapi"] / rates["COPY"]
    notes += [
        f"COPY of {stage.file_rows:,} rows: {copied_s:.1f} s, {rates['COPY']:,.0f} rows/s.",
        f"carbonapi, {tried:,} rows: {booked_s:.1f} s, {rates['carbonapi']:,.0f} rows/s.",
    ]
    wanted = [
        Target(f"import of {tried:,} rows", "≥ 0.75 of COPY's rate", f"{ratio:.3f} of it", ratio / 0.75),
        flat("import", grown),
    ]
    if tried < stage.file_rows:
        wanted.append(Target(f"import of {stage.file_rows:,} rows", "is booked", "is refused, see the notes", 0))
    return Findings("Import of a CSV file", {}, notes, wanted)


def export_a_file(stage: Stage) -> Findings:
    rows = min(stage.file_rows, stage.rows // 2)
    theirs = f"FROM usages WHERE organization_id = {LARGE}"
    earliest = stage.database.rows(f"SELECT usage_at {theirs} ORDER BY usage_at DESC OFFSET {rows - 1} LIMIT 1")
    since = earliest[0]["usage_at"].isoformat().replace("+00:00", "Z")
    statement = f"SELECT {FIELDS} {theirs} AND usage_at >= '{since}' ORDER BY usage_at DESC, id DESC"
    path = f"/api/v1/usages/export?format=csv&start={since}"
    resting = stage.resting()
    ours, psqls = [], []
    for _ in range(stage.rounds):
        ours.append(downloaded(stage.service, stage.manager, path))
        began = time.perf_counter()
        copied_out(stage.programs / "psql", stage.database.superuser_url, statement)
        psqls.append(time.perf_counter() - began)
    grown = sampling.growth_mib(resting, sampling.peaks_mib(stage.service.pid))
    lines = {found.lines for found in ours}
    seconds, first_ms = (
        sampling.percentile([getattr(found, name) for found in ours], 50) for name in ("seconds", "first_byte_ms")
    )
    psql_s = sampling.percentile(psqls, 50)
    ratio = psql_s / seconds
    return Findings(
        "Export as CSV",
        {},
        [
            f"psql's \\copy of {rows:,} rows, all fields: {psql_s:.2f} s, {rows / psql_s:,.0f} rows/s.",
            f"carbonapi, {', '.join(f'{number - 1:,}' for number in lines)} rows: {seconds:.2f} s, "
            f"{rows / seconds:,.0f} rows/s, the first byte after {first_ms:.0f} ms.",
            f"A worker had {max(resting.values()):.0f} MiB before, and took {grown:.0f} MiB more.",
            "What `\\copy` writes is PostgreSQL's own text; carbonapi's has RFC 3339 times and trimmed numbers.",
        ],
        [
            Target(f"export of {rows:,} rows", "≥ 0.85 of psql's rate", f"{ratio:.3f} of it", ratio / 0.85),
            Target("export", "first byte < 200 ms", f"{first_ms:.0f} ms", 200 / first_ms),
            flat("export", grown),
        ],
    )


def flat(job: str, grown_mib: float) -> Target:
    return Target(job, f"memory flat: ≤ {FLAT_MIB} MiB more", f"{grown_mib:.0f} MiB more", FLAT_MIB / max(grown_mib, 1))


def write_usages(database: Database, path: Path, count: int) -> None:
    """A CSV file of so many usages as a caller would send them, with a header."""
    usage_at = 'to_char(usage_at, \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\') AS usage_at'
    rows = f"SELECT usage_type_id, {usage_at}, amount FROM ({usages(count, LATER, str(MANAGER))}) given ({COLUMNS})"
    with database.cursor() as cursor, path.open("wb") as file:
        cursor.copy_expert(f"COPY ({rows}) TO STDOUT WITH (FORMAT csv, HEADER)", file)


def copied_straight(database: Database, path: Path, count: int) -> float:
    """The seconds that COPY takes to put so many ready-made rows into the ledger's table, with its keys and indexes."""
    with database.cursor() as cursor:
        with path.open("wb") as file:
            cursor.copy_expert(f"COPY ({usages(count, LATER, str(MANAGER))}) TO STDOUT WITH (FORMAT csv)", file)
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

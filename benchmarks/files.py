"""The jobs with files: imports and exports, with the service and directly with PostgreSQL."""

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

LATER = "2026-02-01"  # After all other usages, so rows of a job can be deleted.
FLAT_MIB = 32  # Memory that a worker may need in addition, for a file of any length.


def import_a_file(stage: Stage) -> Findings:
    """Import a file, and COPY the same rows directly into the table."""
    with tempfile.TemporaryDirectory() as directory:
        rows_file, import_file = Path(directory, "rows.csv"), Path(directory, "import.csv")
        copy_s = copy_into_table(stage.database, rows_file, stage.file_rows)
        rows, notes, growth = stage.file_rows, [], 0.0
        while True:
            write_usages(stage.database, import_file, rows)
            size = import_file.stat().st_size / 2**20
            before = stage.reset_memory_peaks()
            try:
                import_s = import_usages(stage.service, stage.manager, import_file)
                break
            except RuntimeError as error:
                notes.append(f"A file of {rows:,} rows was rejected. {error}")
                if rows < 10_000:
                    return Findings("Import of a CSV file", {}, notes, [Target("import", "imported", "rejected", 0)])
                rows //= 10
            finally:
                more = sampling.growth_mib(before, sampling.peaks_mib(stage.service.pid))
                notes.append(f"The worker took {more:.0f} MiB more for a file of {size:.0f} MiB.")
                growth = max(growth, more)
    rates = {"COPY": stage.file_rows / copy_s, "carbonapi": rows / import_s}
    ratio = rates["carbonapi"] / rates["COPY"]
    notes += [
        f"COPY of {stage.file_rows:,} rows: {copy_s:.1f} s, {rates['COPY']:,.0f} rows/s.",
        f"carbonapi, {rows:,} rows: {import_s:.1f} s, {rates['carbonapi']:,.0f} rows/s.",
    ]
    targets = [
        Target(f"import of {rows:,} rows", "≥ 0.6 of COPY's rate", f"{ratio:.3f} of it", ratio / 0.6),
        flat_memory("import", growth),
    ]
    if rows < stage.file_rows:
        targets.append(Target(f"import of {stage.file_rows:,} rows", "imported", "rejected, see the notes", 0))
    return Findings("Import of a CSV file", {}, notes, targets)


def export_a_file(stage: Stage) -> Findings:
    rows = min(stage.file_rows, stage.rows // 2)
    source = f"FROM usages WHERE organization_id = {LARGE}"
    earliest = stage.database.rows(f"SELECT usage_at {source} ORDER BY usage_at DESC OFFSET {rows - 1} LIMIT 1")
    since = earliest[0]["usage_at"].isoformat().replace("+00:00", "Z")
    statement = f"SELECT {FIELDS} {source} AND usage_at >= '{since}' ORDER BY usage_at DESC, id DESC"
    path = f"/api/v1/usages/export?format=csv&start={since}"
    before = stage.reset_memory_peaks()
    downloads, psql_times = [], []
    for _ in range(stage.rounds):
        downloads.append(download(stage.service, stage.manager, path))
        started_at = time.perf_counter()
        copy_out(stage.programs / "psql", stage.database.superuser_url, statement)
        psql_times.append(time.perf_counter() - started_at)
    growth = sampling.growth_mib(before, sampling.peaks_mib(stage.service.pid))
    lines = {one.lines for one in downloads}
    seconds, first_ms = (
        sampling.percentile([getattr(one, name) for one in downloads], 50) for name in ("seconds", "first_byte_ms")
    )
    psql_s = sampling.percentile(psql_times, 50)
    ratio = psql_s / seconds
    return Findings(
        "Export as CSV",
        {},
        [
            f"psql's \\copy of {rows:,} rows, all fields: {psql_s:.2f} s, {rows / psql_s:,.0f} rows/s.",
            f"carbonapi, {', '.join(f'{number - 1:,}' for number in lines)} rows: {seconds:.2f} s, "
            f"{rows / seconds:,.0f} rows/s, the first byte after {first_ms:.0f} ms.",
            f"A worker used {max(before.values()):.0f} MiB before, and {growth:.0f} MiB more during the export.",
            "`\\copy` writes PostgreSQL's text format. carbonapi writes RFC 3339 times and trimmed numbers.",
        ],
        [
            Target(f"export of {rows:,} rows", "≥ 0.9 of psql's rate", f"{ratio:.3f} of it", ratio / 0.9),
            Target("export", "first byte < 100 ms", f"{first_ms:.0f} ms", 100 / first_ms),
            flat_memory("export", growth),
        ],
    )


def flat_memory(job: str, growth_mib: float) -> Target:
    return Target(
        job, f"memory flat: ≤ {FLAT_MIB} MiB more", f"{growth_mib:.0f} MiB more", FLAT_MIB / max(growth_mib, 1)
    )


def write_usages(database: Database, path: Path, count: int) -> None:
    """Write a CSV file of usages, as a client would send it."""
    usage_at = 'to_char(usage_at, \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\') AS usage_at'
    rows = f"SELECT usage_type_id, {usage_at}, amount FROM ({usages(count, LATER, str(MANAGER))}) u ({COLUMNS})"
    with database.cursor() as cursor, path.open("wb") as file:
        cursor.copy_expert(f"COPY ({rows}) TO STDOUT WITH (FORMAT csv, HEADER)", file)


def copy_into_table(database: Database, path: Path, count: int) -> float:
    """COPY complete rows into the table of usages, with its foreign keys and indexes. Return the seconds."""
    with database.cursor() as cursor:
        with path.open("wb") as file:
            cursor.copy_expert(f"COPY ({usages(count, LATER, str(MANAGER))}) TO STDOUT WITH (FORMAT csv)", file)
        cursor.execute("CHECKPOINT")
        with path.open("rb") as file:
            started_at = time.perf_counter()
            cursor.copy_expert(f"COPY usages ({COLUMNS}) FROM STDIN WITH (FORMAT csv)", file)
            seconds = time.perf_counter() - started_at
        cursor.execute(f"DELETE FROM usages WHERE usage_at >= '{LATER}'")
        cursor.execute("VACUUM (ANALYZE) usages")
        cursor.execute("CHECKPOINT")
    return seconds


def import_usages(server: Server, token: str, path: Path) -> float:
    """Send a file to `POST /imports`. Return the seconds. Raise RuntimeError if it is rejected."""
    connection = connection_to(server.url)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "text/csv",
        "Content-Length": str(path.stat().st_size),
    }
    with path.open("rb") as file:
        started_at = time.perf_counter()
        connection.request("POST", "/api/v1/imports", file, headers)
        response = connection.getresponse()
        body = response.read().decode()
        seconds = time.perf_counter() - started_at
    if response.status != 201:
        raise RuntimeError(f"After {seconds:.0f} s, the response was {response.status}: {body[:300]}")
    return seconds


@dataclass(frozen=True)
class Download:
    lines: int
    seconds: float
    first_byte_ms: float


def download(server: Server, token: str, path: str) -> Download:
    """Read a file to its end and discard it. Return the measurements."""
    connection = connection_to(server.url)
    started_at = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"GET {path} returned {response.status}: {response.read().decode()}")
    lines = response.read(1).count(b"\n")
    first_byte_ms = (time.perf_counter() - started_at) * 1e3
    while chunk := response.read(65_536):
        lines += chunk.count(b"\n")
    return Download(lines, time.perf_counter() - started_at, first_byte_ms)


def copy_out(psql: Path, database_url: str, statement: str) -> None:
    """Export the rows of a statement with psql, and discard them."""
    command = f"\\copy ({statement}) TO '/dev/null' WITH (FORMAT csv, HEADER)"
    subprocess.run([psql, "-X", "-q", "-c", command, database_url], check=True, env={"PGTZ": "UTC"})

"""The results as Markdown: tables, and the machine on which they were measured."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from .runner import Findings, Target
from .sampling import Run
from .servers import PROJECT

PACKAGES = (
    "Flask", "flask-smorest", "marshmallow", "SQLAlchemy", "psycopg2-binary", "orjson", "granian",
    "fastapi", "pydantic", "asyncpg", "uvicorn", "uvloop", "httptools",
)  # fmt: skip


def machine(postgresql: str) -> list[str]:
    """Return lines about the machine and the versions of all programs."""
    processor = next(
        (line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    memory_kib = int(next(line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")))
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split("[")[0].strip()
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=PROJECT, capture_output=True, text=True)
    return [
        f"Machine: {os.cpu_count()} cores ({processor}), {memory_kib / 2**20:.0f} GiB, {platform.platform()}",
        f"carbonapi {commit.stdout.strip()}, Python {platform.python_version()}, PostgreSQL {postgresql}, {wrk}",
        ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    ]


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def table(rows: list[list[str]]) -> list[str]:
    """Return rows as a Markdown table. The first row is the header."""
    header, *body = rows
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *body)]


def text_of(findings: Findings) -> list[str]:
    """Return a section: a table of the runs, then the notes."""
    lines = [f"## {findings.title}", ""]
    if findings.runs:
        header = ["", "requests/s", "p50 ms", "p99 ms", "CPU µs, application", "CPU µs, database"]
        lines += [*table([header, *([name, *_cells(run)] for name, run in findings.runs.items())]), ""]
    return [*lines, *(f"- {note}" for note in findings.notes), *([""] if findings.notes else [])]


def _cells(run: Run) -> list[str]:
    cpu = ["–" if us is None else f"{us:,.0f}" for us in (run.application_us, run.database_us)]
    return [f"{run.rate:,.1f}", f"{run.p50_ms:.2f}", f"{run.p99_ms:.2f}", *cpu]


def verdicts(targets: list[Target]) -> list[str]:
    """Return a table of the targets and the measured values."""
    rows = [["job", "target", "measured", ""]]
    for target in targets:
        verdict = "reached" if target.reached >= 1 else f"not reached: {target.reached:.2g} of it"
        rows.append([target.job, target.wanted, target.found, verdict])
    return table(rows)

"""Measuring: percentiles, CPU and memory of process trees, and runs of wrk and pgbench."""

import contextlib
import http.client
import json
import math
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
CONNECTIONS = 8
# wrk calls `done` once, at the end. Its times are in microseconds.
WRK_REPORT = """
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format('{"requests": %d, "us": %d, "p50_us": %d, "p99_us": %d, "failed": %d}',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True)
class Run:
    """The result of load on one contestant. The CPU times are sums over all requests."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    application_cpu_s: float | None = None
    database_cpu_s: float | None = None

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def application_us(self) -> float | None:
        """CPU time of the application for one request, in microseconds."""
        return None if self.application_cpu_s is None else self.application_cpu_s / self.requests * 1e6

    @property
    def database_us(self) -> float | None:
        return None if self.database_cpu_s is None else self.database_cpu_s / self.requests * 1e6

    @property
    def cpu_us(self) -> float:
        """CPU time of the application and the database together for one request, in microseconds."""
        return (self.application_us or 0) + (self.database_us or 0)


def combine(runs: list[Run]) -> Run:
    """Combine runs of one contestant: sums, and the medians of the percentiles."""
    sums = {
        name: None if getattr(runs[0], name) is None else sum(getattr(run, name) for run in runs)
        for name in ("requests", "seconds", "application_cpu_s", "database_cpu_s")
    }
    p50_ms, p99_ms = (statistics.median(getattr(run, name) for run in runs) for name in ("p50_ms", "p99_ms"))
    return Run(p50_ms=p50_ms, p99_ms=p99_ms, **sums)


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that `percent` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def stat_of(pid: int, proc: Path = PROC) -> tuple[int, int]:
    """Return the parent of a process, and the CPU ticks of it and of the children that it has waited for: proc(5)."""
    # The second field is the name of the program in parentheses. It may contain spaces and parentheses.
    fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), sum(map(int, fields[11:15]))


def tree(pid: int, proc: Path = PROC) -> dict[int, int]:
    """Return the CPU ticks of a process and of all its descendants, by process."""
    stats = {}
    for path in proc.glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            stats[int(path.name)] = stat_of(int(path.name), proc)
    members = {pid}
    while newest := {child for child, (parent, _) in stats.items() if parent in members} - members:
        members |= newest
    return {member: stats[member][1] for member in members if member in stats}


def cpu_seconds(pid: int, proc: Path = PROC) -> float:
    """Return the CPU time of a process and all its descendants, including those that have ended."""
    return sum(tree(pid, proc).values()) / TICKS_PER_SECOND


def reset_peaks(pid: int) -> None:
    """Reset the memory peak of each process of a tree to its current memory."""
    for member in tree(pid):
        (PROC / str(member) / "clear_refs").write_text("5")


def peaks_mib(pid: int, proc: Path = PROC) -> dict[int, float]:
    """Return the peak of the resident memory of each process of a tree."""
    peaks = {}
    for member in tree(pid, proc):
        with contextlib.suppress(FileNotFoundError, StopIteration):
            lines = (proc / str(member) / "status").read_text().splitlines()
            peaks[member] = int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
    return peaks


def growth_mib(before: dict[int, float], after: dict[int, float]) -> float:
    """Return the largest growth of the peak of a process: that of the worker that did the work."""
    return max(after[pid] - before.get(pid, 0) for pid in after)


def wrk(url: str, token: str, seconds: int, body: Any = None, headers: dict[str, str] | None = None) -> Run:
    """Run wrk on a URL, with eight requests at a time. Raise RuntimeError if a request fails."""
    script = WRK_REPORT
    if body is not None:
        script = f"wrk.method = 'POST'\nwrk.body = [==[{json.dumps(body)}]==]\n{script}"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"} | (headers or {})
        of_request = [word for name, value in sent.items() for word in ("-H", f"{name}: {value}")]
        options = ["-t", "2", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "--timeout", "60s", "-s", file.name]
        output = subprocess.run(["wrk", *options, *of_request, url], capture_output=True, text=True, check=True).stdout
    report = json.loads(output[output.index('{"requests"') :])
    if report["failed"] or not report["requests"]:
        raise RuntimeError(f"{report['failed']} of {report['requests']} requests to {url} failed.")
    return Run(report["requests"], report["us"] / 1e6, report["p50_us"] / 1e3, report["p99_us"] / 1e3)


def pgbench(program: Path, database_url: str, statement: str, seconds: int) -> Run:
    """Run pgbench with a prepared statement and the same number of clients."""
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "statement.sql")
        script.write_text(f"{' '.join(statement.split())};\n")
        options = ["-n", "-M", "prepared", "-c", str(CONNECTIONS), "-j", "2", "-T", str(seconds), "-l"]
        files = ["-f", str(script), "--log-prefix", f"{directory}/latency"]
        subprocess.run([program, *options, *files, database_url], cwd=directory, capture_output=True, check=True)
        times_ms = [
            int(line.split()[2]) / 1e3
            for log in Path(directory).glob("latency.*")
            for line in log.read_text().splitlines()
        ]
    return Run(len(times_ms), seconds, percentile(times_ms, 50), percentile(times_ms, 99))


def timed(act: Callable[[], object], seconds: float, least: int = 3) -> Run:
    """Call a function repeatedly, for a minimum of `seconds` and `least` times."""
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        started_at = time.perf_counter()
        act()
        times.append(time.perf_counter() - started_at)
    return Run(len(times), sum(times), percentile(times, 50) * 1e3, percentile(times, 99) * 1e3)


def with_cpu(drive: Callable[[], Run], application_pid: int | None, database_pid: int) -> Run:
    """Add to a run the CPU times of the process trees of the application and of the database."""
    pids = (application_pid, database_pid)
    before = [None if pid is None else cpu_seconds(pid) for pid in pids]
    run = drive()
    application, database = (
        None if start is None else cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)
    )
    return Run(run.requests, run.seconds, run.p50_ms, run.p99_ms, application, database)


def in_turn(contestants: dict[str, Callable[[], Run]], rounds: int) -> dict[str, Run]:
    """Run each contestant once in a round, so that other load on the machine affects all of them."""
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, drive in contestants.items():
            runs[name].append(drive())
    return {name: combine(own_runs) for name, own_runs in runs.items()}


def connection_to(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=1800)

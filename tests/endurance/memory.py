"""Samples of the memory, open files and connections of a running service, and their trend."""

import contextlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .service import Service

SAMPLE_SECONDS = 2
PROC = Path("/proc")


@dataclass
class Samples:
    """Samples by time: memory of workers, unshared memory of PostgreSQL backends, files, connections."""

    seconds: list[float] = field(default_factory=list)
    workers_mib: list[float] = field(default_factory=list)
    backends_mib: list[float] = field(default_factory=list)
    open_files: list[float] = field(default_factory=list)
    connections: list[float] = field(default_factory=list)

    def after(self, second: float) -> "Samples":
        """Return the samples from this second on."""
        first = sum(moment < second for moment in self.seconds)
        return Samples(*(getattr(self, name)[first:] for name in self.__dataclass_fields__))


class Sampler(threading.Thread):
    """A thread that samples a service until it is stopped."""

    def __init__(self, service: Service) -> None:
        super().__init__(daemon=True)
        self.service, self.samples = service, Samples()
        self.stopping = threading.Event()

    def run(self) -> None:
        began = time.monotonic()
        while not self.stopping.wait(SAMPLE_SECONDS):
            workers, backends = self.service.workers, self.service.backends
            self.samples.seconds.append(time.monotonic() - began)
            self.samples.workers_mib.append(sum(resident_mib(pid, "VmRSS") for pid in workers))
            # Shared buffers that a backend has touched do not count.
            self.samples.backends_mib.append(sum(resident_mib(pid, "RssAnon") for pid in backends))
            self.samples.open_files.append(sum(map(open_files, workers)))
            self.samples.connections.append(len(backends))


def resident_mib(pid: int, name: str, proc: Path = PROC) -> float:
    """Return a memory field of proc(5) for a process; 0 if it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, StopIteration):
        lines = (proc / str(pid) / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024
    return 0


def open_files(pid: int, proc: Path = PROC) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return len(list((proc / str(pid) / "fd").iterdir()))
    return 0


def line(seconds: list[float], values: list[float]) -> tuple[float, float]:
    """Return the slope of the least-squares line per minute, and its rise as a share of its start."""
    count = len(seconds)
    middle, mean = sum(seconds) / count, sum(values) / count
    spread = sum((second - middle) ** 2 for second in seconds)
    pairs = zip(seconds, values, strict=True)
    slope = sum((second - middle) * (value - mean) for second, value in pairs) / spread
    start = mean + slope * (seconds[0] - middle)
    return slope * 60, slope * (seconds[-1] - seconds[0]) / start

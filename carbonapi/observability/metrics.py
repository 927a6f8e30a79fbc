"""What is counted for Prometheus: what the processes of a service have done, added up over all of them.

With PROMETHEUS_MULTIPROC_DIR in the environment, as `carbonapi serve` sets it, each process keeps its counts in files
of that folder, where they outlast it. Without it a process knows of itself alone.
"""

import contextlib
import functools
import os
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = CONTENT_TYPE_LATEST
REGISTRY = CollectorRegistry()
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS = Counter(
    "carbonapi_requests_total", "Requests that were answered.", ["method", "route", "status"], registry=REGISTRY
)
REQUEST_SECONDS = Histogram(
    "carbonapi_request_seconds", "How long they took.", ["method", "route"], buckets=SECONDS, registry=REGISTRY
)
POOL_CONNECTIONS = Gauge(
    "carbonapi_pool_connections",
    "Database connections: in_use, and size, how many there may be.",
    ["state"],
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
POOL_TIMEOUTS = Counter(
    "carbonapi_pool_timeouts_total", "Requests that got no database connection in time.", registry=REGISTRY
)
DATABASE_UNAVAILABLE = Counter(
    "carbonapi_database_unavailable_total", "Requests that found the database away or busy.", registry=REGISTRY
)
IMPORTS = Counter(
    "carbonapi_imports_total",
    "Imports, by outcome.",
    ["outcome"],
    registry=REGISTRY,
)
IMPORTED_USAGES = Counter("carbonapi_imported_usages_total", "Usages that imports have written.", registry=REGISTRY)
LOGINS = Counter("carbonapi_logins_total", "Logins, by outcome.", ["outcome"], registry=REGISTRY)
RATE_LIMITED = Counter(
    "carbonapi_rate_limited_total", "Requests that came too often, by policy.", ["policy"], registry=REGISTRY
)

# What has not come about yet is 0, so that the first time is seen as a rise.
for counter, outcomes in ((IMPORTS, ("completed", "rejected", "failed")), (LOGINS, ("succeeded", "failed"))):
    for outcome in outcomes:
        counter.labels(outcome)


@functools.cache
def _of_request(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Looked up once: to find them by their labels takes as long as to count."""
    return REQUESTS.labels(method, route, status), REQUEST_SECONDS.labels(method, route)


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request that was answered. The words must be few ones: each combination is kept for good."""
    requests, request_seconds = _of_request(method, route, status)
    requests.inc()
    request_seconds.observe(seconds)


def render() -> bytes:
    """All counts, as Prometheus reads them."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        return generate_latest(REGISTRY)
    _forget_dead(Path(folder))
    everybodys = CollectorRegistry()
    MultiProcessCollector(everybodys, folder)
    return generate_latest(everybodys)


def _forget_dead(folder: Path) -> None:
    """Leave out what processes that have ended had in use just then. What they have counted stays."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with contextlib.suppress(FileNotFoundError):  # Somebody else reads, too.
                mark_process_dead(pid, str(folder))

"""Metrics for Prometheus, summed over all processes of a service.

If the environment has PROMETHEUS_MULTIPROC_DIR, as under `carbonapi serve`, each process stores its metrics in files of
that directory, which outlive the process. Otherwise a process only exports its own metrics.
"""

import contextlib
import functools
import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

REGISTRY = CollectorRegistry()
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS = Counter("carbonapi_requests_total", "Requests.", ["method", "route", "status"], registry=REGISTRY)
REQUEST_SECONDS = Histogram(
    "carbonapi_request_seconds",
    "Duration of requests in seconds.",
    ["method", "route"],
    buckets=SECONDS,
    registry=REGISTRY,
)
POOL_CONNECTIONS = Gauge(
    "carbonapi_pool_connections",
    "Database connections: those in use, and the pool size.",
    ["state"],
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
POOL_TIMEOUTS = Counter(
    "carbonapi_pool_timeouts_total", "Requests that timed out waiting for a database connection.", registry=REGISTRY
)
DATABASE_UNAVAILABLE = Counter(
    "carbonapi_database_unavailable_total",
    "Requests that failed because the database was unavailable or busy.",
    registry=REGISTRY,
)
IMPORTS = Counter("carbonapi_imports_total", "Imports, by outcome.", ["outcome"], registry=REGISTRY)
IMPORTED_USAGES = Counter("carbonapi_imported_usages_total", "Usages recorded by imports.", registry=REGISTRY)
LOGINS = Counter("carbonapi_logins_total", "Logins, by outcome.", ["outcome"], registry=REGISTRY)
RATE_LIMITED = Counter(
    "carbonapi_rate_limited_total", "Requests rejected by a rate limit, by policy.", ["policy"], registry=REGISTRY
)

# Start at 0, so that Prometheus sees the first event as an increase.
for counter, outcomes in ((IMPORTS, ("completed", "rejected", "failed")), (LOGINS, ("succeeded", "failed"))):
    for outcome in outcomes:
        counter.labels(outcome)


@functools.cache
def _request_metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Return the metrics with these labels. Cached, because the lookup takes as long as the increment."""
    return REQUESTS.labels(method, route, status), REQUEST_SECONDS.labels(method, route)


def count_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request. Labels must have few distinct values, because each combination is stored permanently."""
    requests, request_seconds = _request_metrics(method, route, status)
    requests.inc()
    request_seconds.observe(seconds)


def render() -> bytes:
    """Return all metrics in the format of Prometheus."""
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if directory is None:
        return generate_latest(REGISTRY)
    # Remove the gauges of processes that have ended. Their counters stay.
    for file in Path(directory).glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with contextlib.suppress(FileNotFoundError):  # Another request may remove them, too.
                mark_process_dead(pid, directory)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, directory)
    return generate_latest(registry)

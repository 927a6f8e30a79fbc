"""Leases: parts of a rate limit that a process takes from the shared counter at once and then counts by itself.

For limits of thousands of requests per second, an access to the shared counter per request would be too slow. Other
processes cannot use what remains of a lease until the window ends, so they may reject requests too early, by up to one
lease per process. No request is accepted beyond the limit.
"""

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass

from .counters import PostgresCounters

LEASES_PER_LIMIT = 50
MAX_LEASES = 10_000


@dataclass(slots=True)
class _Lease:
    """The remaining requests in a window: those leased by this process, and those that any process may lease."""

    ends_at: dt.datetime
    local: int
    shared: int


class Leases:
    """The leases of this process from shared counters."""

    def __init__(self, counters: PostgresCounters) -> None:
        self.counters = counters
        self._leases: dict[tuple[str, str], _Lease] = {}
        self._lock = threading.Lock()

    def consume(
        self, key: tuple[str, str], bucket: Callable[[], bytes], limit: int, ends_at: dt.datetime, now: dt.datetime
    ) -> int:
        """Use one request of a limit. Return the remaining requests as far as known here, or -1 if none was left."""
        remaining = self._consume_leased(key, ends_at)
        if remaining is not None:
            return remaining
        size = max(1, limit // LEASES_PER_LIMIT)
        total = self.counters.add(bucket(), ends_at, size, now)
        with self._lock:
            lease = self._leases.get(key)
            if lease is None or lease.ends_at != ends_at:
                if len(self._leases) >= MAX_LEASES:
                    self._leases.clear()
                lease = self._leases[key] = _Lease(ends_at, 0, 0)
            # Added, because another thread may have leased a part in the meantime.
            lease.local += max(0, min(size, limit - (total - size)))
            lease.shared = max(0, limit - total)
        remaining = self._consume_leased(key, ends_at)
        return -1 if remaining is None else remaining

    def _consume_leased(self, key: tuple[str, str], ends_at: dt.datetime) -> int | None:
        """Consume from the lease. Return None if another one must be taken first."""
        with self._lock:
            lease = self._leases.get(key)
            if lease is None or lease.ends_at != ends_at:
                return None
            if lease.local == 0:
                return None if lease.shared else -1
            lease.local -= 1
            return lease.local + lease.shared

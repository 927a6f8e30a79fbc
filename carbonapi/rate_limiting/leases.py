"""Parts of a limit that this process has taken from the shared count at once, and spends by itself.

What is done thousands of times a second cannot ask the shared count each time. What a process has leased and does not
spend is lost to the others until the window ends: they are refused too early, by a lease for each process at most.
Nobody is refused too late.
"""

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass

from .counters import Counters

LEASES = 50  # Of which a limit is made up.
MOST_REMEMBERED = 10_000


@dataclass(slots=True)
class _Lease:
    """What is left of a limit in the window that ends then: here, and for whoever leases next."""

    ends_at: dt.datetime
    here: int
    elsewhere: int


class LocalAllowances:
    """What this process has leased of each bucket."""

    def __init__(self, counts: Counters) -> None:
        self._counts = counts
        self._by_whom: dict[tuple[str, str], _Lease] = {}
        self._lock = threading.Lock()

    def spend(
        self, whom: tuple[str, str], bucket: Callable[[], bytes], limit: int, ends_at: dt.datetime, now: dt.datetime
    ) -> int:
        """Spend one of the limit. Gives how many are left, as far as is known here; -1 if there was none."""
        left = self._spend_here(whom, ends_at)
        if left is not None:
            return left
        number = max(1, limit // LEASES)
        counted = self._counts.add(bucket(), ends_at, number, now)
        leased = max(0, min(number, limit - (counted - number)))
        with self._lock:
            lease = self._by_whom.get(whom)
            if lease is None or lease.ends_at != ends_at:
                if len(self._by_whom) >= MOST_REMEMBERED:
                    self._by_whom.clear()
                lease = self._by_whom[whom] = _Lease(ends_at, 0, 0)
            # Another thread may have leased meanwhile, too.
            lease.here += leased
            lease.elsewhere = max(0, limit - counted)
        left = self._spend_here(whom, ends_at)
        return -1 if left is None else left

    def _spend_here(self, whom: tuple[str, str], ends_at: dt.datetime) -> int | None:
        """As `spend`, of what has been leased already. None if more must be leased to know."""
        with self._lock:
            lease = self._by_whom.get(whom)
            if lease is None or lease.ends_at != ends_at:
                return None
            if lease.here == 0:
                return None if lease.elsewhere else -1
            lease.here -= 1
            return lease.here + lease.elsewhere

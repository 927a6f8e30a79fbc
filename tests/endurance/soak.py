"""`make soak`: load the service for minutes, and check that its memory, files and connections stay constant.

All connections are warmed up first, and the first fifth of the time does not count. The exit code is 1 if memory rises
by 1 MiB a minute or 5 %, if open files or connections rise, or if a request fails.
"""

import argparse
import itertools
import json
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from typing import Any

from .calls import Answer, Caller
from .memory import Sampler, Samples, line
from .service import ACCOUNT, Service, running

CLIENTS = 6
PAUSE_SECONDS = 0.02
WARM_UP = 0.2
MAX_MIB_PER_MINUTE = 1
MAX_GROWTH = 0.05
IGNORED_RISE = 2  # Of files and connections.
FILE_LINES = 500
# With each import, a backend allocates more of its 8 MiB for temporary tables. Rarely used backends would do so for
# most of an hour, which looks like a leak, so all of them reach this limit before the measurement.
DRY_RUNS, AT_ONCE = 3, 20
LONG_FILE_LINES = 30_000
LEDGER_LINES = 3000  # Of each of five usage types.
YEAR = "start=2025-01-01T00:00:00Z&end=2026-01-01T00:00:00Z"
READS = (
    "/usages?page_size=100",
    "/usages?page_size=50&page=7&sort=amount",
    "/usages?cursor=&page_size=100&usage_type_id=101",
    f"/emissions/trend?{YEAR}&bucket=month",
    f"/emissions/trend?{YEAR}&bucket=day&group_by=usage_type&usage_type_id=100",
    f"/emissions/summary?{YEAR}",
    "/usages/export?format=csv&usage_type_id=102",
    "/usages/export?format=ndjson&usage_type_id=101",
    "/usage-types",
    "/auth/me",
    "/audit-entries?page_size=20",
)
FILES = itertools.count()  # Each file has external IDs of its own, so none of its usages is in the ledger.


class Load:
    """Clients that send all kinds of requests, and the number that succeeded."""

    def __init__(self, service: Service, seed: int) -> None:
        self.port, self.token = service.port, service.token()
        self.succeeded: Counter[str] = Counter()
        self.errors: list[str] = []
        self.longest: defaultdict[str, float] = defaultdict(float)
        self.stopping = threading.Event()
        dices = [random.Random(f"{seed}/{place}") for place in range(CLIENTS)]
        self.threads = [threading.Thread(target=self._run, args=(dice,), daemon=True) for dice in dices]

    def _run(self, dice: random.Random) -> None:
        acts = {self._read: 60, self._record_and_correct: 20, self._import: 3, self._log_in: 3}
        with Caller(self.port, self.token) as caller:
            while not self.stopping.is_set():
                try:
                    dice.choices(list(acts), list(acts.values()))[0](caller, dice)
                except Exception as error:  # Otherwise the load would fall unnoticed.
                    self.errors.append(repr(error))
                self.stopping.wait(dice.uniform(0, 2 * PAUSE_SECONDS))

    def _ask(self, caller: Caller, what: str, success: int, *request: Any) -> Answer:
        began = time.monotonic()
        answer = caller.ask(*request)
        self.longest[what] = max(self.longest[what], time.monotonic() - began)
        if answer.status == success:
            self.succeeded[what] += 1
        else:
            self.errors.append(f"{what}: {answer.status} {answer.body[:300].decode()}")
        return answer

    def _read(self, caller: Caller, dice: random.Random) -> None:
        path = dice.choice(READS)
        self._ask(caller, path.partition("?")[0], 200, "GET", path)

    def _record_and_correct(self, caller: Caller, dice: random.Random) -> None:
        """Record, correct and delete a usage, so that the ledger does not grow."""
        usage = {"usage_type_id": 100, "usage_at": "2025-06-01T00:00:00Z", "amount": dice.randrange(1, 1000)}
        id_ = self._ask(caller, "POST", 201, "POST", "/usages", json.dumps(usage).encode()).json["id"]
        self._ask(caller, "PATCH", 200, "PATCH", f"/usages/{id_}", b'{"amount": "0.5"}')
        self._ask(caller, "DELETE", 204, "DELETE", f"/usages/{id_}")

    def _import(self, caller: Caller, dice: random.Random) -> None:
        csv = {"Content-Type": "text/csv"}
        path = "/imports?usage_type_id=104"
        id_ = self._ask(caller, "import", 201, "POST", path, lines(FILE_LINES), csv).json["id"]
        self._ask(caller, "revert", 200, "POST", f"/imports/{id_}/revert", b"{}")

    def _log_in(self, caller: Caller, dice: random.Random) -> None:
        tokens = self._ask(caller, "log in", 200, "POST", "/auth/login", json.dumps(ACCOUNT).encode()).json
        with Caller(self.port, tokens["refresh_token"]) as refreshing:
            token = self._ask(refreshing, "refresh", 200, "POST", "/auth/refresh").json["access_token"]
        with Caller(self.port, token) as leaving:
            self._ask(leaving, "log out", 204, "POST", "/auth/logout")


def lines(count: int) -> bytes:
    """Return a file of this number of new usages, over a year."""
    file = next(FILES)
    rows = (f"2025-{1 + n % 12:02}-{1 + n % 28:02}T{n % 24:02}:00:00Z,{n}.25,{file}/{n}\n" for n in range(count))
    return b"usage_at,amount,external_id\n" + "".join(rows).encode()


def soak(service: Service, seconds: float, seed: int) -> tuple[Load, Samples]:
    """Load the service for this time, and return the load and the samples."""
    load, sampler = Load(service, seed), Sampler(service)
    with Caller(load.port, load.token) as caller:
        for usage_type in range(100, 105):
            path, csv = f"/imports?usage_type_id={usage_type}", {"Content-Type": "text/csv"}
            assert caller.ask("POST", path, lines(LEDGER_LINES), csv).status == 201
    _warm_up(load)
    for thread in (*load.threads, sampler):
        thread.start()
    time.sleep(seconds)
    load.stopping.set()
    sampler.stopping.set()
    for thread in (*load.threads, sampler):
        thread.join()
    return load, sampler.samples


def _warm_up(load: Load) -> None:
    """Check long files over all connections of the workers' pools; retry while they are busy."""

    def run() -> None:
        path, csv = "/imports?usage_type_id=104&mode=dry-run", {"Content-Type": "text/csv"}
        with Caller(load.port, load.token) as caller:
            for _ in range(DRY_RUNS):
                while caller.ask("POST", path, lines(LONG_FILE_LINES), csv).status == 503:
                    time.sleep(0.2)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def report(load: Load, samples: Samples, seconds: float) -> bool:
    """Print the figures, and return whether all are within their limits."""
    print(f"{'request':<24} {'succeeded':>13} {'longest, s':>11}")
    for what, count in sorted(load.succeeded.items()):
        print(f"{what:<24} {count:>13} {load.longest[what]:>11.2f}")
    within_limits = [not load.errors]
    print(f"{load.succeeded.total()} requests, {len(load.errors)} errors {'; '.join(load.errors[:5])}")
    warm = samples.after(WARM_UP * seconds)
    for name in ("workers_mib", "backends_mib", "open_files", "connections"):
        values = getattr(warm, name)
        per_minute, share = line(warm.seconds, values)
        is_memory = name.endswith("mib")
        is_few = not is_memory and abs(share * values[0]) < IGNORED_RISE
        is_within = is_few or share < MAX_GROWTH and (not is_memory or per_minute < MAX_MIB_PER_MINUTE)
        within_limits.append(is_within)
        rise = f"from {values[0]:.1f} to {values[-1]:.1f}; {per_minute:+.2f} per minute, {share:+.1%} in total"
        print(f"{name:<13} {rise} {'' if is_within else 'MISSED'}")
    return all(within_limits)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=900, help="duration (default: 900)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with running() as service:
        load, samples = soak(service, arguments.seconds, arguments.seed)
        return 0 if report(load, samples, arguments.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())

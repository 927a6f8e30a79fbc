"""Failures injected into a running service: processes are killed or frozen, and the recovery is timed."""

import os
import random
import signal
import threading
import time
from collections import defaultdict
from contextlib import suppress

from tests.support.processes import kill

from .ledger import History
from .service import Service

RECOVERY_SECONDS = 60
VICTIMS = {
    "worker": "workers",
    "web server": "web_server",
    "supervisor": "supervisor_process",
    "everything": "everything",
    "backend": "backends",
    "PostgreSQL": "postgresql",
    "postmaster": "postmaster",
    "PostgreSQL supervisor": "postgresql_supervisor",
}
KINDS = tuple(f"{verb} {victim}" for verb in ("kill", "freeze") for victim in VICTIMS)
ESSENTIAL = ("web server", "supervisor", "everything")  # Without these the service ends, and is started again.
LAST = "kill everything"  # Afterwards, no earlier request can still be recorded.
DURING_IMPORTS = 0.7  # The share of failures that wait for an import to be in progress.


class Failures:
    """Injects failures, and stores the recovery times by kind."""

    def __init__(self, service: Service, history: History, dice: random.Random, freeze_seconds: float = 3) -> None:
        self.service, self.history, self.dice = service, history, dice
        self.freeze_seconds = freeze_seconds
        self.recoveries: defaultdict[str, list[float]] = defaultdict(list)
        self.during_imports = 0

    def inject(self, kind: str) -> None:
        """Inject a failure, and return when a later request has succeeded; after a restart if the service ends.

        Raise RuntimeError if none succeeds.
        """
        self._wait_for_import()
        verb, _, victim = kind.partition(" ")
        processes, starts = self._choose_processes(victim), self.service.starts
        self.history.kind = kind
        self.during_imports += self.history.importing > 0
        if verb == "freeze":
            self._freeze(processes)
        elif victim == "everything":
            self.service.kill()
        else:
            kill(processes)
        over_at = time.monotonic()
        self._recover(kind, over_at, starts + 1 if verb == "kill" and victim in ESSENTIAL else starts)

    def _recover(self, kind: str, over_at: float, starts: int) -> None:
        while self.service.starts < starts or self.history.last_success <= max(over_at, self.service.started_at):
            if time.monotonic() - over_at > RECOVERY_SECONDS:
                message = f"{kind}: no request succeeded within {RECOVERY_SECONDS} seconds."
                raise RuntimeError(f"{message}\n{self.service.log_tail()}")
            self.service.restart_if_ended()
            time.sleep(0.02)
        self.recoveries[kind].append(time.monotonic() - over_at)

    def rest(self, seconds: float) -> None:
        """Wait for this time, and restart the service if it ends late."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            self.service.restart_if_ended()
            time.sleep(0.05)

    def _wait_for_import(self) -> None:
        deadline = time.monotonic() + 2
        if self.dice.random() < DURING_IMPORTS:
            while not self.history.importing and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(self.dice.uniform(0, 0.15))

    def _choose_processes(self, victim: str) -> set[int]:
        """Return the processes to stop: one of the workers or backends, or all others of that name, if any."""
        found: set[int] = getattr(self.service, VICTIMS[victim])
        return {self.dice.choice(sorted(found))} if found and victim in ("worker", "backend") else found

    def _freeze(self, processes: set[int]) -> None:
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in processes:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            if number == signal.SIGSTOP:
                threading.Event().wait(self.freeze_seconds)

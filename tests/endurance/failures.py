"""Faults: processes of the service that are killed, or stand still; and how long it takes until it answers again."""

import os
import random
import signal
import threading
import time
from collections import defaultdict
from contextlib import suppress

from tests.support.processes import kill

from .ledger import Noted
from .service import Service

RECOVERY_SECONDS = 60
VICTIMS = ("worker", "web server", "supervisor", "everything", "backend", "PostgreSQL", "postmaster", "keeper")
KINDS = tuple(f"{verb} {victim}" for verb in ("kill", "freeze") for victim in VICTIMS)
VITAL = ("web server", "supervisor", "everything")  # Without these it ends, and is started again.
LAST = "kill everything"  # After it, nothing that was begun before is still under way, and can be booked late.
AMID_IMPORTS = 0.7  # Of the faults, so many wait for an import to be worked on.


class Faults:
    """What is done to a service, and how long it took to recover, by kind of fault."""

    def __init__(self, service: Service, noted: Noted, dice: random.Random, freeze_seconds: float = 3) -> None:
        self.service, self.noted, self.dice = service, noted, dice
        self.freeze_seconds = freeze_seconds
        self.recoveries: defaultdict[str, list[float]] = defaultdict(list)
        self.amid_imports = 0

    def inject(self, kind: str) -> None:
        """Do it, and return when a request that was made after it was answered well: by the next service, if this ends.

        Raises RuntimeError if none is.
        """
        self._wait_for_import()
        verb, _, victim = kind.partition(" ")
        processes, starts = self._processes(victim), self.service.starts
        self.noted.kind = kind
        self.amid_imports += self.noted.importing > 0
        if verb == "freeze":
            self._freeze(processes)
        elif victim == "everything":
            self.service.kill()
        else:
            kill(processes)
        over_at = time.monotonic()
        self._recover(kind, over_at, starts + 1 if verb == "kill" and victim in VITAL else starts)

    def _recover(self, kind: str, over_at: float, starts: int) -> None:
        while self.service.starts < starts or self.noted.last_good <= max(over_at, self.service.started_at):
            if time.monotonic() - over_at > RECOVERY_SECONDS:
                message = f"{kind}: not one good answer within {RECOVERY_SECONDS} seconds."
                raise RuntimeError(f"{message}\n{self.service.told()}")
            self.service.keep_up()
            time.sleep(0.02)
        self.recoveries[kind].append(time.monotonic() - over_at)

    def rest(self, seconds: float) -> None:
        """Let so much time pass, in which the service is started again if it ends late."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            self.service.keep_up()
            time.sleep(0.05)

    def _wait_for_import(self) -> None:
        given_up_at = time.monotonic() + 2
        if self.dice.random() < AMID_IMPORTS:
            while not self.noted.importing and time.monotonic() < given_up_at:
                time.sleep(0.005)
            time.sleep(self.dice.uniform(0, 0.15))

    def _processes(self, victim: str) -> set[int]:
        """Of workers and of backends there are several, of which one is chosen. There may be none at the moment."""
        if victim == "supervisor":
            return {self.service.supervisor.pid}
        found: set[int] = getattr(self.service, VICTIM_NAMES.get(victim, victim))
        return {self.dice.choice(sorted(found))} if found and victim in ("worker", "backend") else found

    def _freeze(self, processes: set[int]) -> None:
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in processes:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            if number == signal.SIGSTOP:
                threading.Event().wait(self.freeze_seconds)


VICTIM_NAMES = {"worker": "workers", "web server": "web_server", "backend": "backends", "PostgreSQL": "postgresql"}

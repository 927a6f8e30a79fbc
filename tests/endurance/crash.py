"""`make crash`: kill and freeze the service at random for minutes, and compare its ledger with its answers.

The seed decides the schedule, and is printed. The exit code is 1 if an acknowledged write is lost, changed, duplicated
or incomplete, or if the service does not recover.
"""

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .calls import Caller, exact_json
from .clients import Client, Importer, Recorder
from .failures import KINDS, LAST, Failures
from .ledger import Findings, History, Written, compare
from .service import Service, running

RECORDERS, IMPORTERS = 6, 2
MIN_ACKNOWLEDGED_PER_MINUTE = 1000
MAX_SHOWN = 5
NONE_CORRECTED = re.compile(r", 0 \w+\.$")


@dataclass
class Outcome:
    """The result of a run."""

    history: History
    failures: Failures
    findings: Findings
    rebuilt: str = ""  # The output of `carbonapi usages rebuild-totals`.
    differing_replays: list[str] = field(default_factory=list)

    def errors(self) -> dict[str, list[str]]:
        """Return all errors by kind. In a successful run, every list is empty."""
        return self.findings.errors() | {
            "replays differing": self.differing_replays,
            "unexpected answers": self.history.unexpected,
            "daily totals corrected": [] if NONE_CORRECTED.search(self.rebuilt) else [self.rebuilt],
        }


def run(
    service: Service,
    seed: int,
    seconds: float | None,
    kinds: tuple[str, ...] = KINDS,
    pause: float = 0.02,
    freeze_seconds: float = 3,
) -> Outcome:
    """Write and inject failures for this time, or each kind of failure once; then compare."""
    history, dice = History(), random.Random(seed)
    token = service.token()
    options = (service.port, token, history, seed)
    clients: list[Client] = [Recorder(f"r{n}", *options, pause) for n in range(RECORDERS)]
    clients += [Importer(f"i{n}", *options, 30 * pause) for n in range(IMPORTERS)]
    failures = Failures(service, history, dice, freeze_seconds)
    for client in clients:
        client.thread.start()
    try:
        failures.rest(1)
        ends_at = None if seconds is None else time.monotonic() + seconds
        for kind in _schedule(dice, kinds, ends_at):
            failures.inject(kind)
            failures.rest(dice.uniform(0.2, 3) if seconds is not None else 0.1)
    except RuntimeError as error:  # The service has not recovered.
        history.unexpected.append(str(error))
    finally:
        for client in clients:
            client.stopping.set()
        history.kind = "none"
        service.wait_until_ready()
        for client in clients:
            client.thread.join()
    return _compare(service, failures)


def _schedule(dice: random.Random, kinds: tuple[str, ...], ends_at: float | None) -> Iterator[str]:
    """Yield each kind in random order, again and again until the end, and finally the last one."""
    others = [kind for kind in kinds if ends_at is not None or kind != LAST]
    while True:
        for kind in dice.sample(others, len(others)):
            if ends_at is not None and time.monotonic() >= ends_at:
                break
            yield kind
        if ends_at is None or time.monotonic() >= ends_at:
            break
    yield LAST


def _compare(service: Service, failures: Failures) -> Outcome:
    """Compare the ledger with the history after all clients have ended, and stop the service."""
    history = failures.history
    with Caller(service.port, service.token()) as caller:
        exported = caller.ask("GET", "/usages/export?format=ndjson").body
        findings = compare(history, map(exact_json, exported.splitlines()))
        for written in history.written.values():
            if written.answer is not None and (written.is_deleted or len(written.amounts) > 1):
                findings.versions += len(written.amounts)
                findings.changed += _version_errors(caller, written)
        outcome = Outcome(history, failures, findings)
        summary = caller.ask("GET", "/emissions/summary").json
        if (summary["usage_count"], summary["co2e_kg"]) != (findings.rows, findings.co2e_kg):
            history.unexpected.append(f"The summary is not the sum of {findings.rows} rows: {findings.co2e_kg} kg.")
        outcome.differing_replays += [
            str(request.headers) for request, body in history.replayable if caller.ask(*request).body != body
        ]
    outcome.rebuilt = service.command("usages", "rebuild-totals").strip()
    if service.stop() != 0:
        history.unexpected.append(f"The service did not stop cleanly.\n{service.log_tail()}")
    return outcome


def _version_errors(caller: Caller, written: Written) -> list[str]:
    """Return the note of a usage if its versions differ from the acknowledged ones."""
    versions = caller.ask("GET", f"/usages/{written.id}/versions?page_size=1000").json
    amounts = [version["amount"] for version in versions]
    is_equal = amounts == written.amounts and bool(versions[-1]["deleted"]) == written.is_deleted
    return [] if is_equal else [f"{written.note} (versions)"]


def report(outcome: Outcome, seconds: float) -> bool:
    """Print the figures, and return whether the run was successful."""
    history, failures, findings = outcome.history, outcome.failures, outcome.findings
    print(f"{'failure':<28} {'times':>5} {'recovery, s (median, longest)':>30} {'longest request, s':>19}")
    for kind in KINDS:
        if times := sorted(failures.recoveries[kind]):
            recovery = f"{times[len(times) // 2]:.2f}  {times[-1]:.2f}"
            print(f"{kind:<28} {len(times):>5} {recovery:>30} {history.longest[kind]:>19.2f}")
    count = sum(map(len, failures.recoveries.values()))
    files = [file for file in history.files.values() if file.is_acknowledged]
    print(f"{count} failures, {failures.during_imports} during an import; started {failures.service.starts} times")
    print(f"{history.acknowledged} acknowledged, {len(files)} of them files; {history.retried} retries")
    print(f"{findings.rows} rows compared, {findings.versions} versions, {len(history.replayable)} replays")
    print("statuses: " + ", ".join(f"{history.statuses[status]} × {status}" for status in sorted(history.statuses)))
    least = MIN_ACKNOWLEDGED_PER_MINUTE * seconds / 60
    if history.acknowledged < least:
        print(f"MISSED: {least:.0f} acknowledged")
    errors = outcome.errors()
    for name, notes in errors.items():
        print(f"{name}: {len(notes)} {'; '.join(notes[:MAX_SHOWN])}")
    return history.acknowledged >= least and not any(errors.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance.crash", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="duration (default: 600)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.seconds:.0f} seconds", flush=True)
    with running() as service:
        if report(run(service, arguments.seed, arguments.seconds), arguments.seconds):
            return 0
        log = Path(tempfile.gettempdir()) / f"carbonapi-crash-{arguments.seed}.log"
        print(f"Log of the service: {shutil.copy(service.log, log)}")
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""`make crash`: kill and freeze the service at random for minutes, and compare its ledger with what it acknowledged.

The schedule follows from the seed, which is told. The exit code is 1 if anything acknowledged is lost, changed, there
twice or half, or if the service does not recover.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .calls import Caller, exact_json
from .clients import Client, Importer, Recorder
from .errors import KINDS, LAST, Faults
from .ledger import Findings, Noted, Written, compare
from .service import Service, running

RECORDERS, IMPORTERS = 6, 2
ACKNOWLEDGED_A_MINUTE = 1000
SHOWN = 5


@dataclass
class Outcome:
    """What a run has shown."""

    noted: Noted
    faults: Faults
    findings: Findings
    mended: str = ""  # What recounting the days of the ledger said.
    replays_differing: list[str] = field(default_factory=list)

    def wrong(self) -> dict[str, list[str]]:
        """All that must be empty, by its name."""
        is_even = ", 0 corrected." in self.mended
        return self.findings.wrong() | {
            "replays differing": self.replays_differing,
            "surprising answers": self.noted.surprises,
            "days mended": [] if is_even else [self.mended],
        }


def run(service: Service, seed: int, seconds: float | None, pause: float = 0.02, freeze_seconds: float = 3) -> Outcome:
    """Write and break for so many seconds; without any, until each kind of fault has come once. Then compare."""
    noted, dice = Noted(), random.Random(seed)
    token = service.token()
    options = (service.port, token, noted, seed)
    clients: list[Client] = [Recorder(f"r{n}", *options, pause) for n in range(RECORDERS)]
    clients += [Importer(f"i{n}", *options, 30 * pause) for n in range(IMPORTERS)]
    faults = Faults(service, noted, dice, freeze_seconds)
    for client in clients:
        client.thread.start()
    try:
        faults.rest(1)
        ends_at = None if seconds is None else time.monotonic() + seconds
        for kind in _schedule(dice, ends_at):
            faults.inject(kind)
            faults.rest(dice.uniform(0.2, 3) if seconds is not None else 0.1)
    except RuntimeError as error:  # It has not recovered.
        noted.surprises.append(str(error))
    finally:
        for client in clients:
            client.is_to_stop.set()
        noted.kind = "none"
        service.wait_until_ready()
        for client in clients:
            client.thread.join()
    return _compared(service, faults)


def _schedule(dice: random.Random, ends_at: float | None) -> Iterator[str]:
    """Each kind once, in any order, and so on until the end; then the last."""
    others = [kind for kind in KINDS if ends_at is not None or kind != LAST]
    while True:
        for kind in dice.sample(others, len(others)):
            if ends_at is not None and time.monotonic() >= ends_at:
                break
            yield kind
        if ends_at is None or time.monotonic() >= ends_at:
            break
    yield LAST


def _compared(service: Service, faults: Faults) -> Outcome:
    """What the service says when all clients have ended, and that it stops well."""
    noted = faults.noted
    with Caller(service.port, service.token()) as caller:
        exported = caller.ask("GET", "/usages/export?format=ndjson").body
        findings = compare(noted, map(exact_json, exported.splitlines()))
        for written in noted.written.values():
            if written.answer is not None and (written.is_deleted or len(written.amounts) > 1):
                findings.versions += len(written.amounts)
                findings.changed += _faults_of_versions(caller, written)
        outcome = Outcome(noted, faults, findings)
        summary = caller.ask("GET", "/emissions/summary").json
        if (summary["usage_count"], summary["co2e_kg"]) != (findings.rows, findings.co2e_kg):
            noted.surprises.append(f"The summary is not what {findings.rows} rows add up to: {findings.co2e_kg} kg.")
        outcome.replays_differing += [
            str(request.headers) for request, body in noted.kept if caller.ask(*request).body != body
        ]
    outcome.mended = service.command("usages", "rebuild-totals").strip()
    if service.stop() != 0:
        noted.surprises.append(f"It did not stop well.\n{service.told()}")
    return outcome


def _faults_of_versions(caller: Caller, written: Written) -> list[str]:
    """Its note, if its versions are not those that were acknowledged."""
    versions = caller.ask("GET", f"/usages/{written.id}/versions?page_size=1000").json
    amounts = [version["amount"] for version in versions]
    is_right = amounts == written.amounts and bool(versions[-1]["deleted"]) == written.is_deleted
    return [] if is_right else [f"{written.note} (versions)"]


def tell(outcome: Outcome, seconds: float) -> bool:
    """Print the figures. Gives whether all is as it must be."""
    noted, faults, findings = outcome.noted, outcome.faults, outcome.findings
    print(f"{'fault':<20} {'times':>5} {'recovery, s (median, longest)':>30} {'longest request, s':>19}")
    for kind in KINDS:
        if times := sorted(faults.recoveries[kind]):
            recovery = f"{times[len(times) // 2]:.2f}  {times[-1]:.2f}"
            print(f"{kind:<20} {len(times):>5} {recovery:>30} {noted.longest[kind]:>19.2f}")
    count = sum(map(len, faults.recoveries.values()))
    files = [file for file in noted.files.values() if file.is_acknowledged]
    print(f"{count} faults, {faults.amid_imports} amid an import; started {faults.service.starts} times")
    print(f"{noted.acknowledged} acknowledged, {len(files)} of them files; {noted.retried} sent again")
    print(f"{findings.rows} rows compared, {findings.versions} versions, {len(noted.kept)} kept answers")
    print("statuses: " + ", ".join(f"{noted.statuses[status]} × {status}" for status in sorted(noted.statuses)))
    least = ACKNOWLEDGED_A_MINUTE * seconds / 60
    if noted.acknowledged < least:
        print(f"MISSED: {least:.0f} acknowledged")
    for name, notes in outcome.wrong().items():
        print(f"{name}: {len(notes)} {'; '.join(notes[:SHOWN])}")
    return noted.acknowledged >= least and not any(outcome.wrong().values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance.crash", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="for so long (default: 600)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.seconds:.0f} seconds", flush=True)
    with running() as service:
        if tell(run(service, arguments.seed, arguments.seconds), arguments.seconds):
            return 0
        log = Path(tempfile.gettempdir()) / f"carbonapi-crash-{arguments.seed}.log"
        print(f"What the service has logged: {shutil.copy(service.log, log)}")
        return 1


if __name__ == "__main__":
    sys.exit(main())

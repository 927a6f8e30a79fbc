"""`make consistency`: answers `as_of` a moment stay the same, and the feed of changes is complete, under writes.

Recorders, deleters, an importer and restatements write all the time. A reader asks for the total as of the
very moment, and for the same again when the writers have stopped. Three readers follow the changes: one from the start,
one that begins late, and one that is stopped again and again and continues with its last cursor. At the end, each must
have seen every version and every deletion exactly once, in order, and the same as the others. The
exit code is 1 if not.
"""

import argparse
import datetime as dt
import json
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from .calls import Caller
from .service import Service, running

RECORDERS, DELETERS, RESTATEMENTS = 8, 3, 2
FILE_LINES = 2000
QUESTIONS = 200
PAGE_SIZE = 500
PAGES_AT_ONCE = 3  # Readers may fall behind the writers, and catch up at the end.
USAGE_TYPES = (100, 101, 102)
Key = tuple[str, int, int]


class Writers:
    """Threads that write to the ledger, and the changes that they have caused, as far as their answers say."""

    def __init__(self, service: Service, seed: int) -> None:
        self.port, self.token = service.port, service.token()
        self.stopping = threading.Event()
        self.caused: set[Key] = set()
        self.ids: list[int] = []
        self.errors: list[str] = []
        self.imported = 0
        works: list[Callable[[Caller, random.Random], None]] = [self.record] * RECORDERS
        works += [self.delete] * DELETERS + [self.import_file]
        self.threads = [
            threading.Thread(target=self.run, args=(work, random.Random(f"{seed}/{place}")), daemon=True)
            for place, work in enumerate(works)
        ]

    def run(self, work: Callable[[Caller, random.Random], None], dice: random.Random) -> None:
        with Caller(self.port, self.token) as caller:
            while not self.stopping.is_set():
                try:
                    work(caller, dice)
                except Exception as error:  # Otherwise the load would fall unnoticed.
                    self.errors.append(repr(error))

    def record(self, caller: Caller, dice: random.Random) -> None:
        moment = dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=dice.randrange(500_000))
        usage = {"usage_type_id": dice.choice(USAGE_TYPES), "usage_at": moment.isoformat(), "amount": 1}
        answer = caller.ask("POST", "/usages", json.dumps(usage).encode())
        if answer.status == 201:
            self.caused.add(("recorded", answer.json["id"], 1))
            self.ids.append(answer.json["id"])
            if dice.random() < 0.3:
                corrected = caller.ask("PATCH", f"/usages/{answer.json['id']}", b'{"amount": 2}')
                if corrected.status == 200:
                    self.caused.add(("corrected", corrected.json["id"], corrected.json["version"]))
        elif answer.status not in (409, 503):
            self.errors.append(f"record: {answer.status} {answer.body[:300]!r}")

    def delete(self, caller: Caller, dice: random.Random) -> None:
        self.stopping.wait(0.02)
        if self.ids:
            caller.ask("DELETE", f"/usages/{self.ids.pop(dice.randrange(len(self.ids)))}")

    def import_file(self, caller: Caller, dice: random.Random) -> None:
        self.imported += 1
        lines = (f"2023-01-01T00:00:00Z,1,import-{self.imported}-{line}" for line in range(FILE_LINES))
        file = "\n".join(["usage_at,amount,external_id", *lines, ""]).encode()
        headers = {"Content-Type": "text/csv"}
        answer = caller.ask("POST", f"/imports?usage_type_id={dice.choice(USAGE_TYPES)}", file, headers)
        if answer.status not in (201, 503):
            self.errors.append(f"import: {answer.status} {answer.body[:300]!r}")
        elif answer.status == 201 and dice.random() < 0.3:
            caller.ask("POST", f"/imports/{answer.json['id']}/revert", b'{"reason": "It was a trial."}')


class Reader:
    """Follows the changes. is_interrupted: stop at random after a page, before the cursor is stored."""

    def __init__(self, service: Service, token: str, *, is_interrupted: bool = False) -> None:
        self.port, self.token, self.is_interrupted = service.port, token, is_interrupted
        self.cursor = ""
        self.changes: list[dict[str, Any]] = []

    def read(self, dice: random.Random, pages: int) -> bool:
        """Read some pages. Return whether there are more changes now."""
        with Caller(self.port, self.token) as caller:
            for _ in range(pages):
                answer = until_answered(caller, f"/changes?page_size={PAGE_SIZE}&cursor={self.cursor}")
                if self.is_interrupted and dice.random() < 0.3:
                    return True  # Neither the changes nor the cursor were stored.
                found = re.search(r'[?&]cursor=([^&>]*)[^>]*>; rel="next"', answer.headers["link"])
                assert found is not None
                self.changes += answer.json
                self.cursor = found[1]
                if len(answer.json) < PAGE_SIZE:
                    return False
        return True

    def keys(self) -> list[Key]:
        return [(change["kind"], change["usage_id"], change["version"]) for change in self.changes]

    def errors_against(self, others: "Reader", caused: set[Key]) -> list[str]:
        """Return what is wrong with the changes that this reader has seen."""
        keys, counts = self.keys(), Counter(self.keys())
        moments = [change["changed_at"] for change in self.changes]
        wrong = [f"{key} {count} times" for key, count in counts.items() if count > 1]
        wrong += [f"{key} is missing" for key in sorted(caused - counts.keys())]
        if keys != others.keys():
            wrong.append("another reader has seen other changes, or in another order")
        if [dt.datetime.fromisoformat(moment) for moment in moments] != sorted(map(dt.datetime.fromisoformat, moments)):
            wrong.append("the changes are not in the order of time")
        versions: dict[int, int] = {}
        for kind, usage_id, version in keys:
            if kind != "deleted" and version != versions.get(usage_id, 0) + 1:
                wrong.append(f"usage {usage_id} jumps to version {version}")
            versions[usage_id] = version
        return wrong[:20]


def ask_as_of_now(caller: Caller) -> tuple[str, Any]:
    path = f"/emissions/summary?as_of={quote(dt.datetime.now(dt.UTC).isoformat())}"
    return path, until_answered(caller, path).json


def until_answered(caller: Caller, path: str) -> Any:
    """Return the answer to a GET. Repeat it after 503, and after the service has closed an idle connection."""
    for _ in range(100):
        answer = caller.ask("GET", path)
        if answer.status not in (0, 503):
            break
        time.sleep(0.1)
    assert answer.status == 200, (path, answer.status, answer.body[:300])
    return answer


def restate(caller: Caller, number: int) -> None:
    factor = {"factor": number + 2, "valid_from": "2000-01-01T00:00:00Z", "source": f"Supplier {number}"}
    usage_type = USAGE_TYPES[number]
    made = caller.ask("POST", f"/usage-types/{usage_type}/factors", json.dumps(factor).encode())
    assert made.status == 201, made.body
    body = {"usage_type_ids": [usage_type], "mode": "apply", "reason": "A new factor"}
    done = caller.ask("POST", "/restatements", json.dumps(body).encode())
    print(f"restatement: {done.status}, {done.json.get('usage_count')} usages")


def run(service: Service, seconds: float, seed: int) -> list[str]:
    """Return the errors that were found."""
    writers, dice = Writers(service, seed), random.Random(seed)
    early, late = Reader(service, writers.token), Reader(service, writers.token)
    resumed = Reader(service, writers.token, is_interrupted=True)
    for thread in writers.threads:
        thread.start()
    questions, began = [], time.monotonic()
    with Caller(service.port, writers.token) as caller:
        for number in range(QUESTIONS):
            questions.append(ask_as_of_now(caller))
            if number % (QUESTIONS // RESTATEMENTS) == QUESTIONS // (2 * RESTATEMENTS):
                restate(caller, number // (QUESTIONS // RESTATEMENTS))
            early.read(dice, PAGES_AT_ONCE)
            resumed.read(dice, PAGES_AT_ONCE)
            time.sleep(max(0, began + seconds * (number + 1) / QUESTIONS - time.monotonic()))
        writers.stopping.set()
        for thread in writers.threads:
            thread.join()
        resumed.is_interrupted = False
        for reader in (early, resumed, late):
            while reader.read(dice, PAGES_AT_ONCE):
                pass
        changed = [path for path, answer in questions if until_answered(caller, path).json != answer]
    print(f"{len(early.changes)} changes, {len(writers.caused)} of them by single writes; {len(questions)} questions")
    errors = [f"the answer to {path} has changed" for path in changed] + writers.errors[:20]
    for name, reader in (("early", early), ("late", late), ("resumed", resumed)):
        errors += [f"{name} reader: {error}" for error in reader.errors_against(early, writers.caused)]
    return errors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with running() as service:
        errors = run(service, options.seconds, options.seed)
    for error in errors:
        print(f"ERROR: {error}")
    print(f"{len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())

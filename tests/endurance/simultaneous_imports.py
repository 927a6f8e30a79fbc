"""`make simultaneous-imports`: one file imported several times at once, by several processes, is recorded once.

Two, three and four clients send the same file at the same moment, with every mode, every `on_conflict`, with and
without `again`, directly and queued, each several times. The ledger must then have the file's usages and sum, and one
import must have recorded all of them. The exit code is 1 if not.
"""

import argparse
import datetime as dt
import itertools
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import quote

from .calls import Answer, Caller
from .service import Service, running

TRIES = 5
WORKERS = 4
LINES = 500
FACTOR = Decimal("1.5")  # Of usage type 100.
QUEUE_SECONDS = 60
EXPECTED = {200, 201, 409, 422}
BEGIN = dt.datetime(1950, 1, 1, tzinfo=dt.UTC)


class Combination(NamedTuple):
    number: int
    is_queued: bool
    on_conflict: str
    mode: str
    again: bool

    def __str__(self) -> str:
        again = ", again" if self.again else ""
        return f"{self.number} {'queued' if self.is_queued else 'direct'}, {self.on_conflict}, {self.mode}{again}"


COMBINATIONS = [
    Combination(*each)
    for each in itertools.product(
        (2, 3, 4), (False, True), ("reject", "skip", "replace"), ("atomic", "partial"), (False, True)
    )
]


def hours(place: int) -> Iterator[dt.datetime]:
    """Yield the times of the file's lines. No two places share one."""
    begin = BEGIN + dt.timedelta(hours=place * LINES)
    return (begin + dt.timedelta(hours=hour) for hour in range(LINES))


def import_once(caller: Caller, combination: Combination, file: bytes) -> Answer:
    """Send the file. Wait until a queued import has ended, and return the answer that shows it."""
    query = f"usage_type_id=100&on_conflict={combination.on_conflict}&mode={combination.mode}"
    query += "&again=true" if combination.again else ""
    headers = {"Content-Type": "text/csv"} | ({"Prefer": "respond-async"} if combination.is_queued else {})
    answer = caller.ask("POST", f"/imports?{query}", file, headers)
    deadline = time.monotonic() + QUEUE_SECONDS
    while answer.status in (200, 202) and answer.json["status"] in ("queued", "running"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"import {answer.json['id']} is {answer.json['status']}")
        time.sleep(0.05)
        answer = caller.ask("GET", f"/imports/{answer.json['id']}")
    return answer


def import_at_once(service: Service, token: str, combination: Combination, file: bytes) -> list[Answer]:
    barrier, answers = threading.Barrier(combination.number), []

    def run() -> None:
        # A connection of its own reaches any of the service's processes.
        with Caller(service.port, token) as caller:
            caller.ask("GET", "/health/live")
            barrier.wait()
            answers.append(import_once(caller, combination, file))

    threads = [threading.Thread(target=run) for _ in range(combination.number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def errors_of_try(service: Service, token: str, combination: Combination, place: int) -> list[str]:
    """Import a file at once, and return what is wrong with the ledger or the answers."""
    moments = list(hours(place))
    lines = (f"{moment.isoformat()},{number}\n" for number, moment in enumerate(moments))
    answers = import_at_once(service, token, combination, ("usage_at,amount\n" + "".join(lines)).encode())
    wrong = [f"status {answer.status} {answer.body[:200]!r}" for answer in answers if answer.status not in EXPECTED]
    if len(answers) < combination.number:
        wrong.append("an import did not end")
    counts = sorted(answer.json.get("new_count") or 0 for answer in answers)
    if counts != [0] * (len(counts) - 1) + [LINES]:
        wrong.append(f"the imports recorded {counts} usages")
    with Caller(service.port, token) as caller:
        usage_count, total = recorded(caller, moments[0], moments[-1] + dt.timedelta(hours=1))
    expected = FACTOR * sum(range(LINES))
    if (usage_count, total) != (LINES, expected):
        wrong.append(f"{usage_count} usages with {total} kg instead of {LINES} with {expected}")
    return wrong


def recorded(caller: Caller, start: dt.datetime, end: dt.datetime) -> tuple[int, Any]:
    """Return the number of usages in a range, and their sum of CO2e."""
    times = f"start={quote(start.isoformat())}&end={quote(end.isoformat())}"
    answer = caller.ask("GET", f"/emissions/summary?{times}")
    assert answer.status == 200, answer.body
    return answer.json["usage_count"], answer.json["co2e_kg"]


def run(service: Service, tries: int) -> list[str]:
    """Return the errors that were found."""
    token, errors, place = service.token(), [], 0
    for combination in COMBINATIONS:
        found = []
        for _ in range(tries):
            found += errors_of_try(service, token, combination, place)
            place += 1
        print(f"{combination}: {tries} tries, {len(found)} errors", flush=True)
        errors += [f"{combination}: {error}" for error in found]
    return errors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=TRIES)
    options = parser.parse_args()
    with running(WORKERS) as service:
        errors = run(service, options.tries)
    for error in errors:
        print(f"ERROR: {error}")
    print(f"{len(COMBINATIONS) * options.tries} tries, {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())

"""The history of the clients' writes, and its comparison with the ledger at the end."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .calls import Request


@dataclass
class Written:
    """A usage that a client has sent, identified by its note.

    An unacknowledged usage may or may not be in the ledger. `answer` is the last response, which the ledger must match.
    """

    note: str
    amounts: list[Decimal]  # Of all versions, oldest first.
    is_acknowledged: bool = False
    is_deleted: bool = False
    answer: dict[str, Any] | None = None

    @property
    def id(self) -> int:
        assert self.answer is not None
        return int(self.answer["id"])


@dataclass
class File:
    """A file that a client has imported. Line n has the note `<name>/<n>` and the amount n/1000."""

    name: str
    lines: int
    is_acknowledged: bool = False
    import_id: int | None = None

    @property
    def content(self) -> bytes:
        rows = (
            f"2025-01-01T00:00:00Z,{amount_of(n)},{self.name}/{n},{self.name}/{n}\n" for n in range(1, self.lines + 1)
        )
        return b"usage_at,amount,note,external_id\n" + "".join(rows).encode()


def amount_of(line: int) -> Decimal:
    return Decimal(line) / 1000


@dataclass
class History:
    """All writes and the outcome of their requests, from concurrent clients."""

    written: dict[str, Written] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    replayable: list[tuple[Request, bytes]] = field(
        default_factory=list
    )  # Requests with a key, and their first answers.
    unexpected: list[str] = field(default_factory=list)
    acknowledged: int = 0
    retried: int = 0
    importing: int = 0  # Imports in progress.
    statuses: Counter[int] = field(default_factory=Counter)
    last_success: float = 0.0  # The start of the latest request that succeeded.
    kind: str = "none"  # The current failure.
    longest: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add_answer(self, began: float, ended: float, status: int) -> None:
        with self.lock:
            self.statuses[status] += 1
            self.longest[self.kind] = max(self.longest[self.kind], ended - began)
            if 200 <= status < 300:
                self.last_success = max(self.last_success, began)

    def acknowledge(self) -> None:
        with self.lock:
            self.acknowledged += 1

    def retry(self) -> None:
        with self.lock:
            self.retried += 1

    def count_importing(self, change: int) -> None:
        with self.lock:
            self.importing += change

    def send(self, note: str, amount: Decimal) -> Written:
        self.written[note] = Written(note, [amount])
        return self.written[note]


@dataclass
class Findings:
    """Differences between the ledger and what was acknowledged, by kind."""

    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    rows: int = 0
    co2e_kg: Decimal = Decimal(0)
    versions: int = 0

    def errors(self) -> dict[str, list[str]]:
        return {name: getattr(self, name) for name in ("lost", "changed", "duplicated", "torn", "foreign")}


def compare(history: History, rows: Iterable[dict[str, Any]]) -> Findings:
    """Compare the rows of the ledger with the history."""
    found = Findings()
    seen: Counter[str] = Counter()
    lines: defaultdict[str, set[int]] = defaultdict(set)
    imports: defaultdict[str, set[int]] = defaultdict(set)
    for row in rows:
        note = row["note"]
        name, is_line, line = note.partition("/")
        found.rows += 1
        found.co2e_kg += row["co2e_kg"]
        seen[note] += 1
        if seen[note] > 1:
            found.duplicated.append(note)
        elif is_line and name in history.files:
            lines[name].add(int(line))
            imports[name].add(row["import_id"])
            if row["amount"] != amount_of(int(line)):
                found.changed.append(note)
        elif note in history.written:
            found.changed += _differences(history.written[note], row)
        else:
            found.foreign.append(note)
    for note, written in history.written.items():
        if written.is_acknowledged and written.is_deleted == bool(seen[note]):
            found.lost.append(note)
    for name, file in history.files.items():
        if not lines[name]:
            found.lost += [name] if file.is_acknowledged else []
        elif lines[name] != set(range(1, file.lines + 1)):
            found.torn.append(name)
        elif imports[name] != {file.import_id or min(imports[name])}:
            found.changed.append(name)
    return found


def _differences(written: Written, row: dict[str, Any]) -> list[str]:
    """Return the note of a usage if its row differs from the last answer, or from the request if none was answered."""
    if written.answer is not None:
        is_same = row == written.answer
    else:
        is_same = (row["amount"], row["version"]) == (written.amounts[0], 1)
    return [] if is_same else [written.note]

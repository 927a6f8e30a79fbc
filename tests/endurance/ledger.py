"""What clients note of their writes, and what the service says of them in the end."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .calls import Request


@dataclass
class Written:
    """A usage that a client has sent, known by its note, which no other bears.

    is_acknowledged: whether it was answered well. If not, it may be there or not.
    answer: the last one about it, which is what the ledger must have.
    """

    note: str
    amounts: list[Decimal]  # Of its versions, the first first.
    is_acknowledged: bool = False
    is_deleted: bool = False
    answer: dict[str, Any] | None = None

    @property
    def id(self) -> int:
        assert self.answer is not None
        return int(self.answer["id"])


@dataclass
class File:
    """A file of usages that a client has sent; their notes are `<name>/<line>`, and line 1 has the amount 0.001."""

    name: str
    lines: int
    is_acknowledged: bool = False
    import_id: int | None = None

    @property
    def content(self) -> bytes:
        rows = (f"2025-01-01T00:00:00Z,{amount_of(n)},{self.name}/{n}\n" for n in range(1, self.lines + 1))
        return b"usage_at,amount,note\n" + "".join(rows).encode()


def amount_of(line: int) -> Decimal:
    return Decimal(line) / 1000


@dataclass
class Noted:
    """All that was written, and how the requests went. Clients note at the same time."""

    written: dict[str, Written] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    kept: list[tuple[Request, bytes]] = field(default_factory=list)  # Requests with a key, and their first answers.
    surprises: list[str] = field(default_factory=list)
    acknowledged: int = 0
    retried: int = 0
    importing: int = 0  # Imports that are being worked on.
    statuses: Counter[int] = field(default_factory=Counter)
    last_good: float = 0.0  # When the latest request began that was answered well.
    kind: str = "none"  # The fault of the moment.
    longest: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, began: float, ended: float, status: int) -> None:
        with self.lock:
            self.statuses[status] += 1
            self.longest[self.kind] = max(self.longest[self.kind], ended - began)
            if 200 <= status < 300:
                self.last_good = max(self.last_good, began)

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
    """What is not as it was acknowledged, by what is wrong with it."""

    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    rows: int = 0
    co2e_kg: Decimal = Decimal(0)
    versions: int = 0

    def wrong(self) -> dict[str, list[str]]:
        return {name: getattr(self, name) for name in ("lost", "changed", "duplicated", "torn", "foreign")}


def compare(noted: Noted, rows: Iterable[dict[str, Any]]) -> Findings:
    """What the rows of the ledger, each given once, have that was not noted, or lack."""
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
        elif is_line and name in noted.files:
            lines[name].add(int(line))
            imports[name].add(row["import_id"])
            if row["amount"] != amount_of(int(line)):
                found.changed.append(note)
        elif note in noted.written:
            found.changed += _differences(noted.written[note], row)
        else:
            found.foreign.append(note)
    for note, written in noted.written.items():
        if written.is_acknowledged and written.is_deleted == bool(seen[note]):
            found.lost.append(note)
    for name, file in noted.files.items():
        if not lines[name]:
            found.lost += [name] if file.is_acknowledged else []
        elif lines[name] != set(range(1, file.lines + 1)):
            found.torn.append(name)
        elif imports[name] != {file.import_id or min(imports[name])}:
            found.changed.append(name)
    return found


def _differences(written: Written, row: dict[str, Any]) -> list[str]:
    """Its note, if the row is not what was answered; or, where there was no answer, what was sent."""
    if written.answer is not None:
        is_same = row == written.answer
    else:
        is_same = (row["amount"], row["version"]) == (written.amounts[0], 1)
    return [] if is_same else [written.note]

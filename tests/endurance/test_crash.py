"""The ledger matches the acknowledged writes after processes were killed and frozen; and so do its checks."""

from decimal import Decimal

import pytest

from tests.endurance import crash
from tests.endurance.failures import KINDS
from tests.endurance.ledger import File, History, compare
from tests.endurance.service import running

SEED = 1


@pytest.mark.thorough
def test_acknowledged_writes_survive_crashes():
    with running() as service:
        outcome = crash.run(service, SEED, None, KINDS, freeze_seconds=0.5)

    assert {name: notes for name, notes in outcome.errors().items() if notes} == {}
    assert set(outcome.failures.recoveries) == set(KINDS)
    assert outcome.failures.during_imports > 0
    assert min(outcome.history.acknowledged, outcome.findings.versions, len(outcome.history.replayable)) > 0
    assert outcome.findings.rows > 100 * len(KINDS)


def row(note, amount, version=1, import_id=None):
    return {"note": note, "amount": Decimal(amount), "version": version, "import_id": import_id, "co2e_kg": Decimal(1)}


@pytest.fixture
def history():
    """An acknowledged, a corrected, a deleted and an unanswered usage; an acknowledged and an unanswered file."""
    history = History()
    for note, amounts in {"a": [1], "b": [2, 3], "c": [4], "d": [5]}.items():
        written = history.send(note, Decimal(amounts[0]))
        written.amounts = [Decimal(amount) for amount in amounts]
        written.is_acknowledged, written.is_deleted = note != "d", note == "c"
        written.answer = None if note == "d" else row(note, amounts[-1], len(amounts))
    history.files = {"f": File("f", 2, is_acknowledged=True, import_id=1), "g": File("g", 2)}
    return history


RIGHT = [row("a", 1), row("b", 3, 2), row("f/1", "0.001", import_id=1), row("f/2", "0.002", import_id=1)]
UNANSWERED = [row("d", 5), row("g/1", "0.001", import_id=2), row("g/2", "0.002", import_id=2)]


@pytest.mark.parametrize("rows", [RIGHT, RIGHT + UNANSWERED, RIGHT + UNANSWERED[:1], RIGHT + UNANSWERED[1:]])
def test_unanswered_writes_are_atomic(history, rows):
    assert {name: notes for name, notes in compare(history, rows).errors().items() if notes} == {}


@pytest.mark.parametrize(
    ("rows", "name", "notes"),
    [
        (RIGHT[1:], "lost", ["a"]),
        (RIGHT[:2], "lost", ["f"]),
        ([*RIGHT, row("c", 4)], "lost", ["c"]),
        ([row("a", "1.1"), *RIGHT[1:]], "changed", ["a"]),
        ([RIGHT[0], row("b", 2), *RIGHT[2:]], "changed", ["b"]),
        ([*RIGHT, row("d", 6)], "changed", ["d"]),
        ([*RIGHT[:3], row("f/2", "0.003", import_id=1)], "changed", ["f/2"]),
        ([*RIGHT[:3], row("f/2", "0.002", import_id=3)], "changed", ["f"]),
        ([*RIGHT, RIGHT[0]], "duplicated", ["a"]),
        ([*RIGHT, RIGHT[3]], "duplicated", ["f/2"]),
        (RIGHT[:3], "torn", ["f"]),
        ([*RIGHT, UNANSWERED[1]], "torn", ["g"]),
        ([*RIGHT, row("h", 1)], "foreign", ["h"]),
    ],
)
def test_differences_from_acknowledged_writes_are_found(history, rows, name, notes):
    assert {name: notes for name, notes in compare(history, rows).errors().items() if notes} == {name: notes}

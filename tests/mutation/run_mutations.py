"""Holes that are planted on purpose, one at a time, and the tests that must find each: `make mutants`, in minutes.

A hole that no test finds says that a promise is kept by luck. `python -m tests.mutants walls csp` plants those alone
whose names hold one of the words.
"""

import argparse
import concurrent.futures
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.mutations import HOLES, Hole

PROJECT = Path(__file__).parents[2]
COPIED = ("carbonapi", "migrations", "tests", "benchmarks", "docs", "setup.cfg", "wsgi.py", "README.md", "Makefile")
AT_ONCE = 2
SECONDS = 240  # A service that hangs does not do what the test asks either.


@dataclass(frozen=True)
class Verdict:
    """What came of one hole."""

    hole: Hole
    is_found: bool
    said: str


def main() -> int:
    """The exit code: 0 if the tests pass as things are, and find every hole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="Only holes whose names hold one of these words.")
    words = parser.parse_args().words
    holes = [hole for hole in HOLES if not words or any(word in hole.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="carbonapi-mutants-") as folder:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for place in range(AT_ONCE):
            copies.put(copied(Path(folder), place))
        whole = copies.get()
        passes, said = run(whole, sorted({test for hole in holes for test in hole.tests}))
        copies.put(whole)
        if not passes:
            print(f"The tests fail without any hole:\n{said}")
            return 1
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
            verdicts = []
            for verdict in threads.map(lambda hole: tried(hole, copies), holes):
                verdicts.append(verdict)
                print(
                    f"{'found' if verdict.is_found else 'NOT FOUND':9}  {verdict.hole.name}  {verdict.said}", flush=True
                )
    survivors = [verdict for verdict in verdicts if not verdict.is_found]
    print(f"\n{len(holes)} holes, {len(holes) - len(survivors)} found.")
    return 1 if survivors else 0


def copied(folder: Path, place: int) -> Path:
    """A copy of the project, to plant holes in."""
    folder.chmod(0o711)  # The account that runs PostgreSQL for root goes through it.
    copy = folder / str(place)
    copy.mkdir()
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    return copy


def tried(hole: Hole, copies: "queue.SimpleQueue[Path]") -> Verdict:
    """Plant the hole, look whether its tests fail, and mend it."""
    copy = copies.get()
    path = copy / hole.file
    text = path.read_text()
    try:
        path.write_text(text.replace(hole.old, hole.new))
        passes, said = run(copy, hole.tests)
    finally:
        path.write_text(text)
        copies.put(copy)
    return Verdict(hole, not passes, "" if passes else first_failure(said))


def run(copy: Path, tests: "tuple[str, ...] | list[str]") -> tuple[bool, str]:
    """Whether the tests pass in the copy, and what pytest said. An error in collecting them is no verdict."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=line"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CARBONAPI_", "PYTEST_"))}
    environ["PYTHONPATH"] = str(copy)
    try:
        done = subprocess.run(
            [*command, *tests], cwd=copy, env=environ, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return False, f"It did not end within {SECONDS} seconds."
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run {' '.join(tests)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0, done.stdout


def first_failure(said: str) -> str:
    """The test that found it."""
    failed = [line for line in said.splitlines() if line.startswith(("FAILED tests/", "ERROR tests/"))]
    return failed[0].split(" - ")[0] if failed else said


if __name__ == "__main__":
    sys.exit(main())

"""`make mutants`: apply each mutation to a copy of the project, and require that its tests fail.

A mutation that no test finds is a missing test. `python -m tests.mutation.run_mutations tokens csp` runs the mutations
whose names contain one of these words.
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

from tests.mutation.mutations import MUTATIONS
from tests.mutation.syntax import Mutation, MutationError

PROJECT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".git", ".venv", ".carbonapi", ".*_cache", "*.egg-info")
CONCURRENCY = 2
TIMEOUT_SECONDS = 240  # A mutant that hangs is found.


@dataclass(frozen=True)
class Verdict:
    """The result of a mutation."""

    mutation: Mutation
    is_found: bool
    message: str


def main() -> int:
    """Return the exit code: 0 if the tests pass without mutations, and find each of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.run_mutations", description=__doc__)
    parser.add_argument("words", nargs="*", help="run only mutations whose names contain one of these words")
    words = parser.parse_args().words
    mutations = [each for each in MUTATIONS if not words or any(word in each.name for word in words)]
    try:
        for mutation in mutations:
            mutation.mutate(PROJECT)
    except MutationError as error:
        print(error)
        return 1
    with tempfile.TemporaryDirectory(prefix="carbonapi-mutants-") as folder:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(CONCURRENCY):
            copies.put(copy_project(Path(folder), number))
        unchanged = copies.get()
        passes, output = run(unchanged, sorted({test for each in mutations for test in each.tests}))
        copies.put(unchanged)
        if not passes:
            print(f"The tests fail without any mutation:\n{output}")
            return 1
        verdicts = []
        with concurrent.futures.ThreadPoolExecutor(CONCURRENCY) as threads:
            for verdict in threads.map(lambda each: check(each, copies), mutations):
                verdicts.append(verdict)
                result = "found" if verdict.is_found else "NOT FOUND"
                print(f"{result:9}  {verdict.mutation.name}  {verdict.message}", flush=True)
    survivors = [verdict for verdict in verdicts if not verdict.is_found]
    print(f"\n{len(mutations)} mutations, {len(mutations) - len(survivors)} found.")
    return 1 if survivors else 0


def copy_project(folder: Path, number: int) -> Path:
    """Return a copy of the project for mutations."""
    folder.chmod(0o711)  # PostgreSQL's account enters it.
    copy = folder / str(number)
    shutil.copytree(PROJECT, copy, ignore=NOT_COPIED, symlinks=True)
    return copy


def check(mutation: Mutation, copies: "queue.SimpleQueue[Path]") -> Verdict:
    """Apply a mutation to a copy, run its tests, and restore the copy."""
    copy = copies.get()
    path, source = mutation.mutate(copy)
    original = path.read_text()
    try:
        path.write_text(source)
        passes, output = run(copy, list(mutation.tests))
    finally:
        path.write_text(original)
        copies.put(copy)
    return Verdict(mutation, not passes, "" if passes else first_failure(output))


def run(copy: Path, tests: list[str]) -> tuple[bool, str]:
    """Return whether the tests pass in the copy, and the output of pytest. Raise RuntimeError if they cannot run."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=line"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CARBONAPI_", "PYTEST_"))}
    environ["PYTHONPATH"] = str(copy)
    try:
        done = subprocess.run(
            [*command, *tests], cwd=copy, env=environ, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False, f"The tests did not end within {TIMEOUT_SECONDS} seconds."
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run {' '.join(tests)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0, done.stdout


def first_failure(output: str) -> str:
    """Return the ID of the test that found the mutation."""
    failures = [line for line in output.splitlines() if line.startswith(("FAILED tests/", "ERROR tests/"))]
    return failures[0].split(" - ")[0] if failures else output


if __name__ == "__main__":
    sys.exit(main())

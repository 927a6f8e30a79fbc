"""Real processes in tests: which there are (by `ps`, on Linux and macOS alike), and a folder to run them in."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def table() -> dict[int, tuple[int, str]]:
    """Parent and command line of each process by its id, but for those that have ended and are only waited for."""
    rows = subprocess.run(["ps", "-axwwo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    found = {}
    for row in rows.splitlines():
        pid, parent, state, command = row.split(None, 3)
        if not state.startswith("Z"):
            found[int(pid)] = (int(parent), command)
    return found


def naming(word: str) -> set[int]:
    """The processes whose command line holds the word, such as a folder or a port of the test's own."""
    return {pid for pid, (_, command) in table().items() if word in command}


def children(pid: int) -> set[int]:
    return {child for child, (parent, _) in table().items() if parent == pid}


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    processes = table()
    members: set[int] = set()
    newest = {pid} & processes.keys()
    while newest:
        members |= newest
        newest = {child for child, (parent, _) in processes.items() if parent in newest}
    return members


def alive(pids: set[int]) -> set[int]:
    return pids & table().keys()


def kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account can enter, unlike pytest's own. In the end, nothing may run that names it."""
    folder = Path(tempfile.mkdtemp(prefix="carbonapi-test-")).resolve()
    folder.chmod(0o711)
    try:
        yield folder
        wait_until(lambda: not naming(str(folder)))
    finally:
        kill(naming(str(folder)))
        wait_until(lambda: not naming(str(folder)))
        shutil.rmtree(folder)


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Return when the condition holds. Fails after that many seconds."""
    given_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < given_up_at, f"has not come about within {seconds} seconds"
        time.sleep(0.05)

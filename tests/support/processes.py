"""The processes of tests, listed by `ps` on Linux and macOS alike, and a folder to run them in."""

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
    """Return the parent and command line of each process by its id, without zombies."""
    rows = subprocess.run(["ps", "-axwwo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    found = {}
    for row in rows.splitlines():
        pid, parent, state, command = row.split(None, 3)
        if not state.startswith("Z"):
            found[int(pid)] = (int(parent), command)
    return found


def naming(word: str) -> set[int]:
    """Return the processes whose command line holds the word, such as a folder or a port of the test."""
    return {pid for pid, (_, command) in table().items() if word in command}


def children(pid: int) -> set[int]:
    return {child for child, (parent, _) in table().items() if parent == pid}


def family(pid: int) -> set[int]:
    """Return a process and all its descendants."""
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
    """Yield a folder that PostgreSQL's account can enter. Fail if a process that names it is left."""
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
    """Return when the condition holds. Fail after this time. Listing processes is slow, so pauses grow."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while not condition():
        assert time.monotonic() < deadline, f"the condition does not hold after {seconds} seconds"
        time.sleep(pause)
        pause = min(pause * 1.3, 0.2)

"""Looking at real processes: which there are, and waiting for what they do. By `ps`, so on Linux and macOS alike."""

import subprocess
import time
from collections.abc import Callable


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


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Return when the condition holds. Fails after that many seconds."""
    given_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < given_up_at, f"has not come about within {seconds} seconds"
        time.sleep(0.05)

"""Run a command that stops when its starter does: `python child_process.py SECONDS COMMAND…`, with a pipe as input.

When the other end of the pipe closes, on purpose or because its process was killed, the command gets SIGTERM, and
SIGKILL after SECONDS. If the command fails, all processes that it left behind are killed. This needs a session of its
own, which the starter creates. The program imports nothing of carbonapi, so it starts at once.
"""

import os
import signal
import subprocess
import sys
import threading
import time


def main() -> int:
    grace_seconds, command = int(sys.argv[1]), sys.argv[2:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # Only the pipe stops it. The command does not inherit a handler.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def stop_at_end_of_input() -> None:
        os.read(0, 1)
        process.terminate()
        for _ in range(grace_seconds):
            time.sleep(1)
            os.killpg(0, signal.SIGTERM)  # A worker that was being forked missed the signal to its parent.
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    if process.wait() != 0:
        os.killpg(0, signal.SIGKILL)  # Includes this process, so its starter sees a failure.
    return 0


if __name__ == "__main__":
    sys.exit(main())

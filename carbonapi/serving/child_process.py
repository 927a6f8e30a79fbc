"""Run a command that cannot outlive whoever started it: `python leash.py SECONDS COMMAND…`, with a pipe as its input.

When the pipe's other end closes, on purpose or because its process was killed, the command is told to stop by SIGTERM,
and killed after that many seconds. When the command ends in any way but success, the processes that it left are killed.
For that, start this program in a session of its own. It imports nothing of the service.
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
        signal.signal(number, lambda *_: None)  # The pipe alone decides. Unlike SIG_IGN, a handler is not inherited.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def stop_at_end_of_pipe() -> None:
        os.read(0, 1)
        process.terminate()
        for _ in range(grace_seconds):
            time.sleep(1)
            os.killpg(0, signal.SIGTERM)  # A worker that had only just been forked did not heed its parent's.
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=stop_at_end_of_pipe, daemon=True).start()
    if process.wait() != 0:
        os.killpg(0, signal.SIGKILL)  # This process, too: its starter sees that it did not end well.
    return 0


if __name__ == "__main__":
    sys.exit(main())

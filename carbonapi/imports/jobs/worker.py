"""The thread of a process that serves: it books queued imports, one at a time, beside the requests."""

import threading
import time

import sqlalchemy as sa
from flask import Flask

from .queue import run_next

POLL_SECONDS = 1
RETRY_SECONDS = 3  # After what went wrong, such as a database that is away.


def start_worker(app: Flask) -> None:
    """Let each process that serves the app book queued imports, from its first request on.

    Not sooner, for until then a process may be forked, and takes no threads along. The thread may end with its process
    at any time: what it was at is rolled back, and booked by whoever looks next.
    """
    begun = threading.Lock()

    def begin() -> None:
        if begun.acquire(blocking=False):
            threading.Thread(target=_work, args=(app,), name="imports", daemon=True).start()

    app.before_request(begin)


def _work(app: Flask) -> None:
    while True:
        try:
            with app.app_context():
                while run_next():
                    pass
            time.sleep(POLL_SECONDS)
        except sa.exc.SQLAlchemyError as error:
            app.logger.warning("queued imports are tried again: %s", type(error).__name__)
            time.sleep(RETRY_SECONDS)
        except Exception as error:
            app.logger.exception("queued imports are tried again", exc_info=error)
            time.sleep(RETRY_SECONDS)

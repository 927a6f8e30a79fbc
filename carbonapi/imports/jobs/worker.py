"""The thread of a serving process that runs queued imports, one at a time."""

import threading
import time

import sqlalchemy as sa
from flask import Flask
from psycopg2 import errorcodes

from ...db import sqlstate
from .queue import run_next

POLL_SECONDS = 1
NOT_MIGRATED = (errorcodes.UNDEFINED_TABLE, errorcodes.UNDEFINED_FUNCTION)
RETRY_SECONDS = 3  # After an error, such as a lost connection to the database.


def start_worker(app: Flask) -> None:
    """Start the thread with the first request of each serving process.

    Not earlier, because a process that forks does not take its threads along. The thread may die with its process at
    any time: its transaction is rolled back, and the next worker runs the import again.
    """
    is_started = threading.Lock()

    def start_once() -> None:
        if is_started.acquire(blocking=False):
            threading.Thread(target=_work, args=(app,), name="imports", daemon=True).start()

    app.before_request(start_once)


def _work(app: Flask) -> None:
    while True:
        try:
            with app.app_context():
                while run_next():
                    pass
            time.sleep(POLL_SECONDS)
        except sa.exc.SQLAlchemyError as error:
            # Before the first migration, there is no import to retry.
            if not isinstance(error, sa.exc.DBAPIError) or sqlstate(error) not in NOT_MIGRATED:
                app.logger.warning("queued import will be retried: %s", type(error).__name__)
            time.sleep(RETRY_SECONDS)
        except Exception as error:
            app.logger.exception("queued import will be retried", exc_info=error)
            time.sleep(RETRY_SECONDS)

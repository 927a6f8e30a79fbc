"""Commits, timeouts and retries: transactions, autocommit, and separate connections."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from psycopg2 import errorcodes
from sqlalchemy import orm

from . import prepared
from .engine import db


def use_autocommit() -> None:
    """Commit each statement of this request by itself, for reads and for writes of a single statement.

    This saves the two messages of a transaction.
    """
    if isinstance(db.engine, sa.Engine) and not db.session().in_transaction():
        # The driver's own switch. SQLAlchemy's option would send two more messages, about isolation.
        driver: Any = db.session.connection().connection.driver_connection
        driver.autocommit = True


def use_transaction() -> None:
    """Make the rest of this request one transaction again. Without a commit, it is rolled back."""
    if isinstance(db.engine, sa.Engine):
        driver: Any = db.session.connection().connection.driver_connection
        if driver.autocommit:
            driver.autocommit = False


def roll_back() -> None:
    """Roll the session back after an error. The connection may have broken in the meantime."""
    try:
        db.session.rollback()
    except sa.exc.DBAPIError:
        db.session().invalidate()


@contextlib.contextmanager
def autocommit_connection() -> Iterator[sa.Connection]:
    """Yield a connection that commits each statement immediately, even if the request fails later.

    Use it before the request writes. It releases the session's connection first, so that a request never holds one
    while it waits for another, which could exhaust the pool.
    """
    db.session.rollback()
    if not isinstance(db.engine, sa.Engine):
        yield db.engine
        return
    with db.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.autocommit = True
        yield connection


def timeouts(*, minutes: int | None = None, lock_seconds: int | None = None, idle_seconds: int | None = None) -> str:
    """Return SQL that sets the timeouts of a transaction: of statements, of locks, and between statements."""
    values = {
        "statement_timeout": minutes and f"{minutes}min",
        "lock_timeout": lock_seconds and f"{lock_seconds}s",
        "idle_in_transaction_session_timeout": idle_seconds and f"{idle_seconds}s",
    }
    return "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in values.items() if value)


def allow(*, minutes: int | None = None, lock_seconds: int | None = None) -> None:
    """Set the timeouts of the current transaction, instead of those for short requests."""
    use_transaction()
    db.session.execute(sa.text(timeouts(minutes=minutes, lock_seconds=lock_seconds)))


def on_commit(callback: Callable[[], None]) -> None:
    """Call a function after the current transaction has been committed. If it is rolled back, do not call it."""
    transaction = db.session().get_transaction()

    def after_commit(session: orm.Session) -> None:
        if session.get_transaction() is transaction:
            callback()

    sa.event.listen(db.session(), "after_commit", after_commit, once=True)


def sqlstate(error: sa.exc.DBAPIError) -> str:
    """Return the SQLSTATE of an error, or an empty string if PostgreSQL did not send one."""
    return getattr(error.orig, "pgcode", None) or ""


def is_retryable(error: sa.exc.DBAPIError) -> bool:
    """Return whether a transaction was rolled back because of others, so that repeating it may succeed."""
    return sqlstate(error) in {errorcodes.DEADLOCK_DETECTED, errorcodes.SERIALIZATION_FAILURE, *prepared.LOST}

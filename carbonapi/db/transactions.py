"""How statements are committed: in a transaction, one by one, or on a connection of their own."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from psycopg2 import errorcodes
from sqlalchemy import orm

from .engine import db


def use_autocommit() -> None:
    """Let each statement of this request be by itself: for readers, and whoever writes with a single one.

    A transaction around it would be two messages more.
    """
    if isinstance(db.engine, sa.Engine) and not db.session().in_transaction():
        # The driver's own switch: SQLAlchemy's option would send two messages more, about isolation.
        driver: Any = db.session.connection().connection.driver_connection
        driver.autocommit = True


@contextlib.contextmanager
def autocommit_connection() -> Iterator[sa.Connection]:
    """A connection whose statements are each committed at once, whatever becomes of the request.

    For before the request writes anything: what it has read, to know who asks, is let go. So it never holds a
    connection while it waits for another, which all of a pool might do at once.
    """
    db.session.rollback()
    if not isinstance(db.engine, sa.Engine):
        yield db.engine
        return
    with db.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.autocommit = True
        yield connection


def on_commit(act: Callable[[], None]) -> None:
    """Do something after the commit of the transaction that goes on; never, if that is rolled back."""
    transaction = db.session().get_transaction()

    def after_commit(session: orm.Session) -> None:
        if session.get_transaction() is transaction:
            act()

    sa.event.listen(db.session(), "after_commit", after_commit, once=True)


def is_retryable(error: sa.exc.DBAPIError) -> bool:
    """Whether PostgreSQL has undone a transaction for the sake of others, so that the same may go well at once."""
    state = getattr(error.orig, "pgcode", None)
    return state in (errorcodes.DEADLOCK_DETECTED, errorcodes.SERIALIZATION_FAILURE)

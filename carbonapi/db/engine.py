"""The database handle and its connection pool."""

import datetime as dt
import select
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm
from sqlalchemy.orm import DeclarativeBase

from ..observability import metrics
from . import row_security

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

# The session's zone never decides a day; UTC makes what psycopg2 returns the same everywhere. The time-outs keep a
# request from waiting for ever; imports set their own. That the network is gone is noticed in seconds: amid a statement
# by what is not acknowledged; of an idle connection by the probes, so that it is found cut before it is used.
CONNECT_ARGS = {
    "connect_timeout": 3,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "tcp_user_timeout": 5000,
    "application_name": "carbonapi",
    "options": "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=2s -c idle_in_transaction_session_timeout=10s",
}

IN_USE = metrics.POOL_CONNECTIONS.labels("in_use")


class Base(DeclarativeBase):
    registry = orm.registry(
        metadata=sa.MetaData(naming_convention=NAMING_CONVENTION),
        type_annotation_map={dt.datetime: sa.DateTime(timezone=True), str: sa.Text(), int: sa.BigInteger()},
    )


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})


def init_app(app: Flask) -> None:
    """Give the app its database, a pool that hands out no connection that was cut, and the second wall."""
    db.init_app(app)
    app.teardown_appcontext(_end_session)  # Those that are added last are called first.
    metrics.POOL_CONNECTIONS.labels("size").set(app.config["DATABASE_POOL_SIZE"])
    with app.app_context():
        sa.event.listen(db.engine, "checkout", _refuse_if_cut)
        sa.event.listen(db.engine, "checkout", _count_as_used)
        sa.event.listen(db.engine, "checkin", _prepare_for_next)
        row_security.install(db.engine)


def _end_session(_: BaseException | None) -> None:
    """Let the session go, although there may be no database any more that could roll back what it has read.

    The request has its answer: it shall not fail for that.
    """
    if db.session.registry.has():
        try:
            db.session.close()
        except sa.exc.DBAPIError:
            db.session().invalidate()


def _refuse_if_cut(connection: Any, record: Any, proxy: object) -> None:
    """Have a connection replaced that was cut while it lay in the pool, as when PostgreSQL was started again.

    On an idle connection nothing ever comes but word of its end, so a look at its socket tells; to ask PostgreSQL each
    time would cost a message. Nothing has been sent yet, so it serves reads and writes alike.
    """
    # One that is new is not replaced again: what is wrong with it, its first statement tells.
    if record.info.get("used") and (connection.closed or _can_be_read(connection.fileno())):
        raise sa.exc.DisconnectionError


def _count_as_used(connection: object, record: Any, proxy: object) -> None:
    # One that is found cut comes here twice, or goes back without having come here.
    if not record.record_info.get("is_counted"):
        record.record_info["is_counted"] = True
        IN_USE.inc()


def _prepare_for_next(connection: Any, record: Any) -> None:
    """Let what comes after a `without_transaction` be a transaction again."""
    if record.record_info.pop("is_counted", False):
        IN_USE.dec()
    if connection is not None:
        record.info["used"] = True
        if not connection.closed:
            if not connection.autocommit:  # What was told in a transaction may have been undone with it.
                row_security.forget_scope(record.info)
            connection.autocommit = False


def _can_be_read(socket: int) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


if TYPE_CHECKING:
    Model = Base  # What db.Model is, for the type checker.
else:
    Model = db.Model

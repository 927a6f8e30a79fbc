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
from . import prepared, row_security

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

# A lost network is noticed within seconds: during a statement by missing acknowledgments, on an idle connection by
# keepalive probes. There are no startup options, since poolers reject them: the timeouts are settings of the role.
CONNECT_ARGS = {
    "connect_timeout": 3,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "tcp_user_timeout": 5000,
    "application_name": "carbonapi",
}


def connect_args(url: str | sa.URL) -> dict[str, object]:
    """Return the arguments of connections to this URL, except those that the URL has itself."""
    return {name: value for name, value in CONNECT_ARGS.items() if name not in sa.make_url(url).query}


IN_USE = metrics.POOL_CONNECTIONS.labels("in_use")


class Base(DeclarativeBase):
    registry = orm.registry(
        metadata=sa.MetaData(naming_convention=NAMING_CONVENTION),
        type_annotation_map={dt.datetime: sa.DateTime(timezone=True), str: sa.Text(), int: sa.BigInteger()},
    )


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})


def init_app(app: Flask) -> None:
    """Connect the app to its database, with a pool that replaces broken connections, and with row-level security."""
    db.init_app(app)
    app.teardown_appcontext(_end_session)  # The last one added runs first.
    metrics.POOL_CONNECTIONS.labels("size").set(app.config["DATABASE_POOL_SIZE"])
    with app.app_context():
        sa.event.listen(db.engine, "checkout", _check_connected)
        sa.event.listen(db.engine, "checkout", _count_checkout)
        sa.event.listen(db.engine, "checkin", _reset_connection)
        row_security.install(db.engine)
        if app.config["PREPARED_STATEMENTS"] == "on":
            prepared.install(db.engine)


def _end_session(_: BaseException | None) -> None:
    """Close the session. An unreachable database must not fail a request that already has its response."""
    if db.session.registry.has():
        try:
            db.session.close()
        except sa.exc.DBAPIError:
            db.session().invalidate()


def _check_connected(connection: Any, record: Any, proxy: object) -> None:
    """Have the pool replace a connection that broke while idle, for example because PostgreSQL restarted.

    PostgreSQL sends nothing on an idle connection except its end, so a readable socket means that it is closed. This
    costs no round trip. Nothing has been sent yet, so that both reads and writes are safe.
    """
    # A new connection is not checked: its first statement reports what is wrong.
    if record.info.get("used") and (connection.closed or _is_readable(connection.fileno())):
        raise sa.exc.DisconnectionError


def _count_checkout(connection: object, record: Any, proxy: object) -> None:
    # A broken connection gets here twice, or is returned without having been here.
    if not record.record_info.get("is_counted"):
        record.record_info["is_counted"] = True
        IN_USE.inc()


def _reset_connection(connection: Any, record: Any) -> None:
    """Turn autocommit off again when a connection returns to the pool."""
    if record.record_info.pop("is_counted", False):
        IN_USE.dec()
    if connection is not None:
        record.info["used"] = True
        if not connection.closed:
            if not connection.autocommit:  # The rollback of a transaction also reverts its scope.
                row_security.forget_scope(record.info)
            connection.autocommit = False


def _is_readable(socket: int) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


if TYPE_CHECKING:
    Model = Base  # For the type checker, which does not know db.Model.
else:
    Model = db.Model

"""The database handle, and what every table shares."""

import contextlib
import datetime as dt
import select
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from psycopg2 import errorcodes
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from . import metrics, tenancy

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
    metrics.POOL_CONNECTIONS.labels("size").set(app.config["POOL_SIZE"])
    with app.app_context():
        sa.event.listen(db.engine, "checkout", _refuse_if_cut)
        sa.event.listen(db.engine, "checkout", _count_as_used)
        sa.event.listen(db.engine, "checkin", _prepare_for_next)
        tenancy.guard(db.engine)


def _end_session(_: BaseException | None) -> None:
    """Let the session go, although there may be no database any more that could roll back what it has read.

    The request has its answer: it shall not fail for that.
    """
    if db.session.registry.has():
        try:
            db.session.close()
        except sa.exc.DBAPIError:
            db.session().invalidate()


class Kept:
    """A statement that is compiled once and executed many times, with values for the parameters that it names.

    To build a large one anew, or to look up by its parts how it was compiled, takes ten times as long as to send it.
    All that is of one request must be named, `sa.bindparam("recorded_at")`: what is not is kept with the statement.
    """

    def __init__(self, statement: sa.Select[Any]) -> None:
        compiled = statement.compile(dialect=postgresql.dialect())
        self._text = str(compiled)
        self._constants = {name: bind.effective_value for bind, name in compiled.bind_names.items() if bind.unique}

    def execute(self, values: Mapping[str, Any]) -> sa.CursorResult[Any]:
        """Send it. values: of all parameters that it names, by their names."""
        return db.session.connection().exec_driver_sql(self._text, {**self._constants, **values})


def without_transaction() -> None:
    """Let each statement of this request be by itself: for readers, and whoever writes with a single one.

    A transaction around it would be two messages more.
    """
    if isinstance(db.engine, sa.Engine) and not db.session().in_transaction():
        # The driver's own switch: SQLAlchemy's option would send two messages more, about isolation.
        driver: Any = db.session.connection().connection.driver_connection
        driver.autocommit = True


@contextlib.contextmanager
def apart() -> Iterator[sa.Connection]:
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


def when_committed(act: Callable[[], None]) -> None:
    """Do something after the commit of the transaction that goes on; never, if that is rolled back."""
    transaction = db.session().get_transaction()

    def after_commit(session: orm.Session) -> None:
        if session.get_transaction() is transaction:
            act()

    sa.event.listen(db.session(), "after_commit", after_commit, once=True)


def was_undone_for_others(error: sa.exc.DBAPIError) -> bool:
    """Whether PostgreSQL has undone a transaction for the sake of others, so that the same may go well at once."""
    state = getattr(error.orig, "pgcode", None)
    return state in (errorcodes.DEADLOCK_DETECTED, errorcodes.SERIALIZATION_FAILURE)


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
                tenancy.forget(record.info)
            connection.autocommit = False


def _can_be_read(socket: int) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


if TYPE_CHECKING:
    Model = Base  # What db.Model is, for the type checker.
else:
    Model = db.Model


class Viewer(Protocol):
    """What a table must know of who looks at it."""

    @property
    def id(self) -> int: ...
    @property
    def organization_id(self) -> int: ...
    @property
    def role(self) -> str: ...


class Owned:
    """A row that belongs to an organization: its people see it, nobody else.

    The key begins with the organization, so that the table can be spread over machines by it. That the organization
    exists follows from what else the row refers to: its foreign keys hold the organization too.
    """

    # The column that says whose the row is: a member sees their own alone; None: everybody's.
    MEMBERS_SEE_BY: ClassVar[str | None] = "user_id"

    @declared_attr
    def organization_id(cls) -> Mapped[int]:
        return mapped_column(sa.BigInteger, primary_key=True, autoincrement=False, sort_order=-3)

    @declared_attr
    def id(cls) -> Mapped[int]:
        return mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True, sort_order=-2)

    @classmethod
    def seen_by(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """The criteria of the rows that `viewer` may see."""
        if viewer.role == "admin":
            return ()
        organization_id: Any = cls.organization_id
        mine: tuple[sa.ColumnElement[bool], ...] = (organization_id == viewer.organization_id,)
        if viewer.role != "member" or cls.MEMBERS_SEE_BY is None:
            return mine
        return (*mine, getattr(cls, cls.MEMBERS_SEE_BY) == viewer.id)


class Shared:
    """A row that everyone who is signed in may read."""

    @declared_attr
    def id(cls) -> Mapped[int]:
        return mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True, sort_order=-2)

    @classmethod
    def seen_by(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """The criteria of the rows that `viewer` may see: none, all of them."""
        return ()


class Versioned:
    """A row that counts its changes. An UPDATE names the version it read, so that of two writers one wins."""

    @declared_attr
    def version(cls) -> Mapped[int]:
        return mapped_column(sa.Integer, nullable=False, sort_order=-1)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:
        # What the database computes comes back with the statement that writes.
        return {"version_id_col": cls.version, "eager_defaults": True}

    @property
    def etag(self) -> str:
        """What a strong ETag is made of: it changes whenever the representation does."""
        return str(self.version)


def constraint_message(name: str) -> tuple[str, str | None] | None:
    """What the constraint of this name tells a caller: a sentence, and the field at fault; None if it tells nothing.

    Stands as `info={"message": ..., "field": ...}` beside the constraint itself.
    """
    info = _constraint_info(name)
    return (info["message"], info.get("field")) if "message" in info else None


def is_momentary(name: str) -> bool:
    """Whether what the constraint of this name refuses may go well when it is sent again.

    Stands as `info={"is_momentary": True}` beside the constraint itself.
    """
    return "is_momentary" in _constraint_info(name)


def _constraint_info(name: str) -> Mapping[Any, Any]:
    for table in Base.metadata.tables.values():
        for rule in (*table.constraints, *table.indexes):
            if getattr(rule, "name", None) == name:
                return rule.info
    return {}

"""The database handle, and what every table shares."""

import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

# The session's zone never decides a day; UTC makes what psycopg2 returns the same everywhere. The time-outs keep a
# request from waiting for ever; imports set their own.
CONNECT_ARGS = {
    "connect_timeout": 3,
    "application_name": "carbonapi",
    "options": "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s",
}


class Base(DeclarativeBase):
    registry = orm.registry(
        metadata=sa.MetaData(naming_convention=NAMING_CONVENTION),
        type_annotation_map={dt.datetime: sa.DateTime(timezone=True), str: sa.Text(), int: sa.BigInteger()},
    )


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})


def read_alone() -> None:
    """Let each statement of this request be by itself: a reader needs no transaction, which is two messages more."""
    if isinstance(db.engine, sa.Engine) and not db.session().in_transaction():
        db.session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})


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
    for table in Base.metadata.tables.values():
        for rule in (*table.constraints, *table.indexes):
            if getattr(rule, "name", None) == name and "message" in rule.info:
                return rule.info["message"], rule.info.get("field")
    return None

"""Columns and rules that tables share."""

from typing import Any, ClassVar, Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, declared_attr, mapped_column


class Viewer(Protocol):
    """What a table must know of who looks at it."""

    @property
    def id(self) -> int: ...
    @property
    def organization_id(self) -> int: ...
    @property
    def role(self) -> str: ...


class TenantScoped:
    """A row that belongs to an organization: its people see it, nobody else.

    The key begins with the organization, so that the table can be spread over machines by it. That the organization
    exists follows from what else the row refers to: its foreign keys hold the organization too.
    """

    # The column that says whose the row is: a member sees their own alone; None: everybody's.
    OWNER_COLUMN: ClassVar[str | None] = "user_id"

    @declared_attr
    def organization_id(cls) -> Mapped[int]:
        return mapped_column(sa.BigInteger, primary_key=True, autoincrement=False, sort_order=-3)

    @declared_attr
    def id(cls) -> Mapped[int]:
        return mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True, sort_order=-2)

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """The criteria of the rows that `viewer` may see."""
        if viewer.role == "admin":
            return ()
        organization_id: Any = cls.organization_id
        mine: tuple[sa.ColumnElement[bool], ...] = (organization_id == viewer.organization_id,)
        if viewer.role != "member" or cls.OWNER_COLUMN is None:
            return mine
        return (*mine, getattr(cls, cls.OWNER_COLUMN) == viewer.id)


class Global:
    """A row that everyone who is signed in may read."""

    @declared_attr
    def id(cls) -> Mapped[int]:
        return mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True, sort_order=-2)

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """The criteria of the rows that `viewer` may see: none, all of them."""
        return ()


class OptimisticallyLocked:
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

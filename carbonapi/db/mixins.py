"""Columns and access rules that tables share."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, declared_attr, mapped_column


@dataclass(frozen=True, slots=True)
class Viewer:
    """The attributes of an actor that access rules depend on. The ids may be parameters of a statement.

    site_ids: the sites of a member, with all sites below them; empty if they have none.
    """

    id: Any
    organization_id: Any
    role: str
    site_ids: tuple[int, ...] = field(default=(), kw_only=True)


class TenantScoped:
    """A row that only the users of its organization may see.

    The primary key starts with the organization, so that the table can be distributed by it. There is no foreign key to
    the organization: the other foreign keys of the row include it.
    """

    # The column with the owner of the row. Members only see their own rows. None: they see all rows.
    OWNER_COLUMN: ClassVar[str | None] = "user_id"

    @declared_attr
    def organization_id(cls) -> Mapped[int]:
        return mapped_column(sa.BigInteger, primary_key=True, autoincrement=False, sort_order=-3)

    @declared_attr
    def id(cls) -> Mapped[int]:
        return mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True, sort_order=-2)

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Return the criteria of the rows that `viewer` may see."""
        if viewer.role == "admin":
            return ()
        organization_id: Any = cls.organization_id
        in_organization: tuple[sa.ColumnElement[bool], ...] = (organization_id == viewer.organization_id,)
        if viewer.role != "member" or cls.OWNER_COLUMN is None:
            return in_organization
        return (*in_organization, getattr(cls, cls.OWNER_COLUMN) == viewer.id)


class Global:
    """A row that every authenticated user may read."""

    @declared_attr
    def id(cls) -> Mapped[int]:
        return mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True, sort_order=-2)

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Return no criteria: every viewer may see all rows."""
        return ()


class OptimisticallyLocked:
    """A row with a version number. An UPDATE fails if the row has changed since it was read."""

    @declared_attr
    def version(cls) -> Mapped[int]:
        return mapped_column(sa.Integer, nullable=False, sort_order=-1)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:
        # Writing statements return the columns that the database computes.
        return {"version_id_col": cls.version, "eager_defaults": True}

    @property
    def etag(self) -> str:
        """The value of a strong ETag, which changes whenever the representation does."""
        return str(self.version)

"""Sites, their ownership, their meters, and the members who work there."""

import datetime as dt
from decimal import Decimal
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from ..db import AuditConfig, AuditedBy, Model, OptimisticallyLocked, TenantScoped, Viewer, is_any_of

MAX_LEVELS = 10
SITE = ("sites.organization_id", "sites.id")


class OfSite(TenantScoped):
    """A row that members with sites only see if it belongs to one of them. All other users of the organization see it.

    SITE_COLUMN: the column with the id of the site.
    """

    OWNER_COLUMN = None
    SITE_COLUMN: ClassVar[str] = "site_id"

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Return the criteria of the rows that `viewer` may see."""
        criteria = super().visible_to(viewer)
        if viewer.role != "member" or not viewer.site_ids:
            return criteria
        site_id: Any = getattr(cls, cls.SITE_COLUMN)
        return (*criteria, is_any_of(site_id, viewer.site_ids))


class Site(OfSite, OptimisticallyLocked, Model):
    """A place in the tree of an organization: a group of companies, a company, a country, a building.

    `path` consists of the ids from the root of the tree to the site itself; `ancestor_ids` of the same without its own.
    """

    __tablename__ = "sites"
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"]),
        sa.ForeignKeyConstraint(["organization_id", "parent_id"], SITE),
        sa.UniqueConstraint(
            "organization_id",
            "external_id",
            name="uq_sites_external_id",
            info={"message": "A site of your organization already has this external_id.", "field": "external_id"},
        ),
        sa.Index(
            "uq_sites_name",
            "organization_id",
            sa.text("coalesce(parent_id, 0)"),
            "name",
            unique=True,
            info={"message": "A site with this name already exists below the same parent.", "field": "name"},
        ),
        sa.CheckConstraint(f"cardinality(ancestor_ids) < {MAX_LEVELS}", name="levels"),
        sa.CheckConstraint("id <> ALL (ancestor_ids)", name="cycle"),
        sa.CheckConstraint("parent_id IS NOT DISTINCT FROM ancestor_ids[cardinality(ancestor_ids)]", name="parent_id"),
        sa.Index("ix_sites_by_parent", "organization_id", "parent_id"),
    )
    AUDIT = AuditConfig(("name", "parent_id", "region", "external_id", "archived"))
    SITE_COLUMN = "id"

    name: Mapped[str]
    parent_id: Mapped[int | None]
    ancestor_ids: Mapped[list[int]] = mapped_column(ARRAY(sa.BigInteger), server_default="{}")
    path: Mapped[list[int]] = mapped_column(
        ARRAY(sa.BigInteger), sa.Computed("array_append(ancestor_ids, id)", persisted=True)
    )
    region: Mapped[str | None]
    external_id: Mapped[str | None]
    archived: Mapped[bool] = mapped_column(server_default=sa.false())
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())


class SiteShare(Model):
    """The share of ownership of a site in its parent, from a day on until the next such day."""

    __tablename__ = "site_shares"
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id", "site_id"], SITE),
        sa.CheckConstraint("equity_share BETWEEN 0 AND 1", name="equity_share"),
    )
    AUDIT = AuditedBy.SERVICE  # As acts on the site.

    organization_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    site_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    valid_from: Mapped[dt.date] = mapped_column(primary_key=True)
    equity_share: Mapped[Decimal] = mapped_column(sa.Numeric(7, 6))
    financial_control: Mapped[bool]
    operational_control: Mapped[bool]


class Meter(OfSite, OptimisticallyLocked, Model):
    """What measures one usage type at a site, within [valid_from, valid_until) if these are set."""

    __tablename__ = "meters"
    __table_args__ = (
        # Usages and replacements refer to all three columns: they have the usage type of their meter.
        sa.UniqueConstraint("organization_id", "usage_type_id", "id", name="uq_meters_usage_type_id"),
        sa.UniqueConstraint(
            "organization_id",
            "external_id",
            name="uq_meters_external_id",
            info={"message": "A meter of your organization already has this external_id.", "field": "external_id"},
        ),
        sa.UniqueConstraint(
            "organization_id",
            "site_id",
            "name",
            name="uq_meters_name",
            info={"message": "A meter of this site already has this name.", "field": "name"},
        ),
        sa.ForeignKeyConstraint(["organization_id", "site_id"], SITE),
        sa.ForeignKeyConstraint(
            ["organization_id", "usage_type_id", "replaced_by_id"],
            ["meters.organization_id", "meters.usage_type_id", "meters.id"],
            name="fk_meters_replaced_by_id",
        ),
        sa.CheckConstraint("valid_until > valid_from", name="validity"),
        sa.CheckConstraint("replaced_by_id <> id", name="replaced_by_id"),
        sa.Index("ix_meters_by_replacement", "organization_id", "replaced_by_id"),
    )
    AUDIT = AuditConfig(
        (
            "site_id",
            "usage_type_id",
            "name",
            "external_id",
            "valid_from",
            "valid_until",
            "replaced_by_id",
            "archived",
        )
    )

    site_id: Mapped[int]
    usage_type_id: Mapped[int] = mapped_column(sa.ForeignKey("usage_types.id"))
    name: Mapped[str]
    external_id: Mapped[str | None]
    valid_from: Mapped[dt.datetime | None]
    valid_until: Mapped[dt.datetime | None]
    replaced_by_id: Mapped[int | None]
    archived: Mapped[bool] = mapped_column(server_default=sa.false())
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())


class UserSite(Model):
    """A site where a member works: they see and record all usages of it and of its descendants."""

    __tablename__ = "user_sites"
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id", "user_id"], ["users.organization_id", "users.id"]),
        sa.ForeignKeyConstraint(["organization_id", "site_id"], SITE),
        sa.Index("ix_user_sites_by_site", "organization_id", "site_id"),
    )
    AUDIT = AuditedBy.SERVICE  # As acts on the user.

    organization_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    site_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)

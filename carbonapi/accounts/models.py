"""Organizations, their users, and how users log in: sessions and password tokens."""

import datetime as dt
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ..auth import ROLES, current_actor
from ..db import (
    AuditConfig,
    AuditedBy,
    Global,
    Model,
    NotAudited,
    OptimisticallyLocked,
    TenantScoped,
    Viewer,
    choice_constraint,
)

DEFAULT_TIMEZONE = "UTC"
DEFAULT_SIGNIFICANCE_THRESHOLD = Decimal(5)
# Which emission factors an interval has over which they change: those of its days, or that of its start.
FACTOR_SPLITS = BY_DAYS, BY_START = "days", "start"
# At a time without an emission factor, a usage is an error, or gets the latest one that has ended.
MISSING_FACTORS = REJECT, LATEST = "refuse", "latest"


class Organization(Global, OptimisticallyLocked, Model):
    """A customer, which owns users and a ledger."""

    __tablename__ = "organizations"
    __table_args__ = (
        sa.CheckConstraint("significance_threshold BETWEEN 0 AND 100", name="significance_threshold"),
        # Daily totals refer to both columns, so that all of them are computed in the organization's time zone.
        sa.UniqueConstraint("id", "timezone", name="uq_organizations_timezone"),
        choice_constraint("factor_split", FACTOR_SPLITS),
        choice_constraint("missing_factor", MISSING_FACTORS),
    )
    AUDIT = AuditConfig(
        ("name", "timezone", "region", "significance_threshold", "factor_split", "missing_factor"),
        organization_column="id",
    )

    name: Mapped[str]
    timezone: Mapped[str] = mapped_column(server_default=DEFAULT_TIMEZONE)
    region: Mapped[str | None]
    significance_threshold: Mapped[Decimal] = mapped_column(
        sa.Numeric(5, 2), server_default=str(DEFAULT_SIGNIFICANCE_THRESHOLD)
    )
    factor_split: Mapped[str] = mapped_column(server_default=BY_DAYS)
    missing_factor: Mapped[str] = mapped_column(server_default=REJECT)
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Admins see every organization, all other users their own."""
        return () if viewer.role == "admin" else (cls.id == viewer.organization_id,)


class User(Global, OptimisticallyLocked, Model):
    """A person who can log in. An invited user has no password until they set one.

    Erasing a user removes everything except the id, which usages refer to.
    """

    __tablename__ = "users"
    __allow_unmapped__ = True
    __table_args__ = (
        sa.UniqueConstraint("organization_id", "id"),
        sa.Index(
            "uq_users_email",
            "email_key",
            unique=True,
            info={"message": "This e-mail address is taken.", "field": "email"},
        ),
        choice_constraint("role", ROLES),
        sa.CheckConstraint(
            "num_nulls(email, name) = CASE WHEN erased_at IS NULL THEN 0 ELSE 2 END "
            "AND (erased_at IS NULL OR password_hash IS NULL)",
            name="erased",
        ),
    )
    AUDIT = AuditConfig(
        ("email", "name", "role", "active"),
        actions={"erased_at": "deleted", "password_hash": "password_changed"},
        personal=("email", "name"),
    )

    organization_id: Mapped[int] = mapped_column(sa.ForeignKey("organizations.id"))
    email: Mapped[str | None]
    # For lookups, which ignore case.
    email_key: Mapped[str | None] = mapped_column(sa.Computed("lower(email)", persisted=True))
    name: Mapped[str | None]
    password_hash: Mapped[str | None]
    role: Mapped[str]
    active: Mapped[bool] = mapped_column(server_default=sa.true())
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())
    erased_at: Mapped[dt.datetime | None]

    organization: Mapped[Organization] = relationship(lazy="raise")

    # Set only on a user who has just been invited. They are not columns.
    invitation_token: str
    invitation_expires_at: dt.datetime

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Members see themselves, managers and auditors the users of their organization, admins all users."""
        not_erased = cls.erased_at.is_(None)
        if viewer.role == "admin":
            return (not_erased,)
        own_organization = (cls.organization_id == viewer.organization_id, not_erased)
        return (*own_organization, cls.id == viewer.id) if viewer.role == "member" else own_organization


def member_sites() -> sa.ColumnElement[list[int] | None]:
    """Return the column `site_ids` of a user: the sites of a member with all sites below them, or null."""
    found = sa.func.member_sites(User.organization_id, User.id, type_=sa.ARRAY(sa.BigInteger))
    return sa.case((User.role == "member", found)).label("site_ids")


class Session(TenantScoped, Model):
    """The tokens that descend from one login. `generation` counts the refreshes: only the newest token is valid."""

    __tablename__ = "sessions"
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id", "user_id"], ["users.organization_id", "users.id"]),
        sa.Index("ix_sessions_by_user", "organization_id", "user_id"),
    )
    AUDIT = AuditedBy.SERVICE

    user_id: Mapped[int]
    generation: Mapped[int] = mapped_column(sa.Integer, server_default="1")
    started_at: Mapped[dt.datetime]
    refreshed_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime]
    ended_at: Mapped[dt.datetime | None]
    end_reason: Mapped[str | None]

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Users of every role see only their own sessions."""
        return (cls.organization_id == viewer.organization_id, cls.user_id == viewer.id)

    @property
    def current(self) -> bool:
        """Whether the actor's token belongs to this session."""
        return self.id == current_actor().session_id


class PasswordToken(Model):
    """The token with which a user can set a password without the current one. Only its hash is stored."""

    __tablename__ = "password_tokens"
    __table_args__ = (sa.ForeignKeyConstraint(["organization_id", "user_id"], ["users.organization_id", "users.id"]),)
    AUDIT = NotAudited("the invitation or reset of the user is audited")

    organization_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[bytes]
    expires_at: Mapped[dt.datetime]

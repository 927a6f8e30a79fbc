"""Organizations, their users, and what signs a user in: sessions, API keys, tokens to set a password with."""

import datetime as dt
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ..audit import AuditConfig
from ..auth import current_actor
from ..db import Global, Model, OptimisticallyLocked, TenantScoped, Viewer


class Organization(Global, OptimisticallyLocked, Model):
    """A customer: the owner of users and of a ledger."""

    __tablename__ = "organizations"
    __table_args__ = (
        sa.CheckConstraint("significance_threshold BETWEEN 0 AND 100", name="significance_threshold"),
        # The days of the ledger refer to it, so that none is ever counted in another time zone.
        sa.UniqueConstraint("id", "timezone", name="uq_organizations_timezone"),
    )
    AUDIT = AuditConfig(("name", "timezone", "region", "significance_threshold"), organization="id")

    name: Mapped[str]
    timezone: Mapped[str] = mapped_column(server_default="UTC")
    region: Mapped[str | None]
    significance_threshold: Mapped[Decimal] = mapped_column(sa.Numeric(5, 2), server_default="5")
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Admins see every organization, everyone else their own."""
        return () if viewer.role == "admin" else (cls.id == viewer.organization_id,)


class User(Global, OptimisticallyLocked, Model):
    """A person who signs in. Once erased, only the id is left, for the numbers that hang on it.

    Who has been invited has no password until they set one.
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
        sa.CheckConstraint("role IN ('admin', 'manager', 'member', 'auditor')", name="role"),
        sa.CheckConstraint(
            "num_nulls(email, name) = CASE WHEN erased_at IS NULL THEN 0 ELSE 2 END "
            "AND (erased_at IS NULL OR password_hash IS NULL)",
            name="erased",
        ),
    )
    AUDIT = AuditConfig(
        ("email", "name", "role", "active"),
        acts={"erased_at": "deleted", "password_hash": "password_changed"},
        personal=("email", "name"),
    )

    organization_id: Mapped[int] = mapped_column(sa.ForeignKey("organizations.id"))
    email: Mapped[str | None]
    # By which it is found, whatever its capitals are.
    email_key: Mapped[str | None] = mapped_column(sa.Computed("lower(email)", persisted=True))
    name: Mapped[str | None]
    password_hash: Mapped[str | None]
    role: Mapped[str]
    active: Mapped[bool] = mapped_column(server_default=sa.true())
    created_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())
    erased_at: Mapped[dt.datetime | None]

    organization: Mapped[Organization] = relationship(lazy="raise")

    # Of who has just been invited, this once: no column holds them.
    invitation_token: str
    invitation_expires_at: dt.datetime

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Members see themselves, managers and auditors their organization's people, admins everyone."""
        present = cls.erased_at.is_(None)
        if viewer.role == "admin":
            return (present,)
        mine = cls.organization_id == viewer.organization_id
        return (mine, present, cls.id == viewer.id) if viewer.role == "member" else (mine, present)


class Session(TenantScoped, Model):
    """A family of tokens that began with one log-in. `generation` counts its refreshes: only the newest is good."""

    __tablename__ = "sessions"
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id", "user_id"], ["users.organization_id", "users.id"]),
        sa.Index("ix_sessions_by_user", "organization_id", "user_id"),
    )

    user_id: Mapped[int]
    generation: Mapped[int] = mapped_column(sa.Integer, server_default="1")
    started_at: Mapped[dt.datetime]
    refreshed_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime]
    ended_at: Mapped[dt.datetime | None]
    end_reason: Mapped[str | None]

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Everyone sees their own, whatever their role."""
        return (cls.organization_id == viewer.organization_id, cls.user_id == viewer.id)

    @property
    def current(self) -> bool:
        """Whether it is the one in which the actor asks."""
        return self.id == current_actor().session_id


class PasswordToken(Model):
    """The newest token with which a user sets a password, without knowing the one before. Only a hash of it is kept."""

    __tablename__ = "password_tokens"
    __table_args__ = (sa.ForeignKeyConstraint(["organization_id", "user_id"], ["users.organization_id", "users.id"]),)

    organization_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[bytes]
    expires_at: Mapped[dt.datetime]

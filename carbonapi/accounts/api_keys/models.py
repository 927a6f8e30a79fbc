"""API keys."""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped

from ...auth import API_KEY_PREFIX
from ...db import AuditConfig, Model, TenantScoped, Viewer, choice_constraint

SCOPES = ("read", "write")


class ApiKey(TenantScoped, Model):
    """A key with which a machine acts as its user. Only its hash is stored."""

    __tablename__ = "api_keys"
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id", "user_id"], ["users.organization_id", "users.id"]),
        choice_constraint("scope", SCOPES),
        sa.Index("ix_api_keys_by_user", "organization_id", "user_id"),
    )
    __allow_unmapped__ = True
    AUDIT = AuditConfig(("user_id", "name", "scope", "expires_at"))

    user_id: Mapped[int]
    name: Mapped[str]
    scope: Mapped[str]
    beginning: Mapped[str]
    digest: Mapped[bytes]
    created_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime | None]
    last_used_at: Mapped[dt.datetime | None]

    # Set only on a key that was just created. It is not a column.
    key: str

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Admins see all keys, managers those of their organization, all others their own. Seeing permits deleting."""
        if viewer.role == "admin":
            return ()
        own_organization = cls.organization_id == viewer.organization_id
        return (own_organization,) if viewer.role == "manager" else (own_organization, cls.user_id == viewer.id)

    @property
    def prefix(self) -> str:
        """The beginning of its text, by which its user can recognize it."""
        return f"{API_KEY_PREFIX}_{self.organization_id}_{self.id}_{self.beginning}"

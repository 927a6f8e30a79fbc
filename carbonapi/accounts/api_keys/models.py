"""API keys."""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped

from ...audit import AuditConfig
from ...auth import API_KEY_PREFIX
from ...db import Model, TenantScoped, Viewer


class ApiKey(TenantScoped, Model):
    """What a machine signs its requests with, to act as the user whose it is. Only a hash of it is kept."""

    __tablename__ = "api_keys"
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id", "user_id"], ["users.organization_id", "users.id"]),
        sa.CheckConstraint("scope IN ('read', 'write')", name="scope"),
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

    # Of one that has just been made, the whole text, this once: no column holds it.
    key: str

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Admins see all, managers their organization's, everyone else their own. Who sees one may delete it."""
        if viewer.role == "admin":
            return ()
        mine = cls.organization_id == viewer.organization_id
        return (mine,) if viewer.role == "manager" else (mine, cls.user_id == viewer.id)

    @property
    def prefix(self) -> str:
        """What its text begins with, by which its user knows it again."""
        return f"{API_KEY_PREFIX}_{self.organization_id}_{self.id}_{self.beginning}"

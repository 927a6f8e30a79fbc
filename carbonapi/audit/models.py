"""The audit log: who changed which row, when, from where, and the values before and after."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, column_property, mapped_column

from ..db import Model, NotAudited, TenantScoped, Viewer, choice_constraint, row_security

ACTIONS = (
    "created", "changed", "deleted",
    "recorded", "corrected", "imported", "reverted", "restated",
    "closed", "reopened",
    "logged_in", "login_failed", "logged_out", "session_ended", "password_changed", "invited", "reset", "accepted",
)  # fmt: skip
NO_ORGANIZATION = 0  # The organization of entries that belong to none. Only admins see them.
SHARED = -1  # The organization of entries about rows that all organizations share. All of them see these entries.


class AuditEntry(TenantScoped, Model):
    """One act: the action, its subject, the time, the actor, the origin, and the values before and after.

    An entry has no foreign keys, because it outlives its subject. The service's role may insert entries, but not
    update or delete them. `old` and `new` contain the changed values: all audited values for a created or deleted row.
    `actor_id` is null for acts without a login. `address` is null for acts on the command line. `api_key_id` is the
    API key that a machine used to act for the actor.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (
        choice_constraint("action", ACTIONS),
        sa.CheckConstraint("num_nulls(actor_id, actor_role) IN (0, 2)", name="actor"),
        sa.CheckConstraint("jsonb_typeof(old) = 'object' AND jsonb_typeof(new) = 'object'", name="values"),
        sa.Index("ix_audit_entries_by_time", "organization_id", "occurred_at", "id"),
        sa.Index("ix_audit_entries_by_subject", "organization_id", "subject", "subject_id", "occurred_at", "id"),
    )
    AUDIT = NotAudited("it is the audit log")
    OWNER_COLUMN = "actor_id"

    occurred_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())
    actor_id: Mapped[int | None]
    actor_role: Mapped[str | None]
    api_key_id: Mapped[int | None]
    action: Mapped[str]
    subject: Mapped[str]
    subject_id: Mapped[int | None]
    address: Mapped[str | None]
    request_id: Mapped[str | None]
    old: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    new: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    reason: Mapped[str | None]

    if TYPE_CHECKING:  # Set below.
        shown_organization_id: int | None
        shown_actor_id: int | None
        shown_api_key_id: int | None
        shown_address: str | None
        shown_request_id: str | None

    @classmethod
    def visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Reviewers see the entries of their organization and those about shared rows, admins all."""
        if viewer.role in ("admin", "member"):
            return super().visible_to(viewer)
        return (cls.organization_id.in_([viewer.organization_id, SHARED]),)

    @classmethod
    def parts_visible_to(cls, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
        """Return the criteria of the parts of these entries that the indexes have in order."""
        if viewer.role in ("admin", "member"):
            return ()
        return cls.organization_id == viewer.organization_id, cls.organization_id == SHARED


# Admins change shared rows. Other organizations see what they changed, but not who and from where. The scope of a
# transaction is empty if it sees all organizations.
_IS_SHOWN = (AuditEntry.organization_id != SHARED) | (sa.func.current_setting(row_security.SETTING, True) == "")
for _name in ("actor_id", "api_key_id", "address", "request_id"):
    setattr(AuditEntry, f"shown_{_name}", column_property(sa.case((_IS_SHOWN, getattr(AuditEntry, _name)))))
setattr(  # noqa: B010
    AuditEntry, "shown_organization_id", column_property(sa.func.nullif(AuditEntry.organization_id, SHARED))
)

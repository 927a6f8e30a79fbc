"""The audit log: who changed what, when, from where, and what it was before."""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Model, TenantScoped

# What can have happened to a subject: to a row, to a usage, to closed books, to a session or a password.
ACTIONS = (
    "created", "changed", "deleted",
    "recorded", "corrected", "imported", "reverted", "restated",
    "closed", "reopened",
    "logged_in", "login_failed", "logged_out", "session_ended", "password_changed", "invited", "reset", "accepted",
)  # fmt: skip
NO_ORGANIZATION = 0  # The organization of what concerns none: admins alone see it.


class AuditEntry(TenantScoped, Model):
    """One act: what was done to which subject, when, by whom, from where, and the values before and after.

    It refers to nothing by a foreign key, for it outlives what it tells of. It is only ever added: the role that owns
    the table may neither update nor delete. `old` and `new` hold what changed: all of what was created or deleted.
    `actor_id` is null where nobody was signed in, `address` too where it was done on the command line. `api_key_id` is
    of the key with which a machine did it for the actor.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (
        sa.CheckConstraint(f"action IN ({', '.join(map(repr, ACTIONS))})", name="action"),
        sa.CheckConstraint("num_nulls(actor_id, actor_role) IN (0, 2)", name="actor"),
        sa.CheckConstraint("jsonb_typeof(old) = 'object' AND jsonb_typeof(new) = 'object'", name="values"),
        sa.Index("ix_audit_entries_by_time", "organization_id", "occurred_at", "id"),
        sa.Index("ix_audit_entries_by_subject", "organization_id", "subject", "subject_id", "occurred_at", "id"),
    )
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


@dataclass(frozen=True)
class AuditConfig:
    """What the log tells of a table's rows. As `AUDIT` of a model, every flush that writes one of its rows tells it.

    columns: those whose values are told; no other's ever is.
    created: what it is called that a row comes into being.
    acts: what it is called, where it is more than "changed", that a column changes. The first that applies counts.
    personal: columns that are left out of what is told of a deletion, for it erases them.
    reason: the column that says why.
    organization: the column that says whose the row is; where it is null, it is the actor's organization's.
    """

    columns: Collection[str]
    created: str = "created"
    acts: Mapping[str, str] = field(default_factory=dict)
    personal: Collection[str] = ()
    reason: str | None = None
    organization: str = "organization_id"

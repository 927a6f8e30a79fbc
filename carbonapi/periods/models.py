"""Closed periods."""

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..db import AuditConfig, Model, TenantScoped


class ClosedPeriod(TenantScoped, Model):
    """The accounting period of an organization up to an instant. Its usages cannot change until it is reopened."""

    __tablename__ = "closed_periods"
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"]),
        sa.CheckConstraint("num_nulls(reopened_at, reopened_by, reopen_reason) IN (0, 3)", name="reopened"),
        sa.Index(
            "ix_closed_periods_closed", "organization_id", "until", postgresql_where=sa.text("reopened_at IS NULL")
        ),
    )
    AUDIT = AuditConfig(
        ("until", "note", "reopened_at"),
        created_action="closed",
        actions={"reopened_at": "reopened"},
        reason_column="reopen_reason",
    )
    OWNER_COLUMN = None

    until: Mapped[dt.datetime]
    note: Mapped[str | None]
    closed_at: Mapped[dt.datetime]
    closed_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    reopened_at: Mapped[dt.datetime | None]
    reopened_by: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))
    reopen_reason: Mapped[str | None]

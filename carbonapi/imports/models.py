"""Imports: each a file of usages that was booked as one act."""

import datetime as dt
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ..db import AuditedBy, Model, NotAudited, TenantScoped, choice_constraint

STATUSES = QUEUED, RUNNING, COMPLETED, FAILED = "queued", "running", "completed", "failed"


class Import(TenantScoped, Model):
    """A file of usages that was booked, or is going to be, and what came of its lines.

    Each line is new, changed (it corrected a usage), the same as in the ledger, skipped (it differs from a usage that
    was kept), rejected, or blank. `co2e_kg` and `amount` are the sums of the new ones;
    null for imports from before they were kept, the amount also where it is of several usage types.
    `progress` is the share of the file that has been read. One that failed wrote nothing to the ledger; `failure` says
    why in a sentence.
    """

    __tablename__ = "imports"
    AUDIT = AuditedBy.SERVICE
    OWNER_COLUMN = "recorded_by"
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"]),
        sa.CheckConstraint("num_nulls(reverted_at, reverted_by) IN (0, 2)", name="reverted"),
        choice_constraint("status", STATUSES),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name="progress"),
        sa.CheckConstraint("(status = 'failed') = (failure IS NOT NULL)", name="failure"),
    )

    status: Mapped[str] = mapped_column(server_default=COMPLETED)
    progress: Mapped[Decimal] = mapped_column(sa.Numeric, server_default="1")
    failure: Mapped[str | None]
    # How often it was begun: one at which a process comes to harm is not begun for ever.
    attempt_count: Mapped[int] = mapped_column(server_default="0")
    usage_count: Mapped[int] = mapped_column(server_default="0")
    sha256: Mapped[str]
    mode: Mapped[str] = mapped_column(server_default="atomic")
    on_conflict: Mapped[str] = mapped_column(server_default="reject")
    new_count: Mapped[int] = mapped_column(server_default="0")
    changed_count: Mapped[int] = mapped_column(server_default="0")
    unchanged_count: Mapped[int] = mapped_column(server_default="0")
    skipped_count: Mapped[int] = mapped_column(server_default="0")
    rejected_count: Mapped[int] = mapped_column(server_default="0")
    blank_count: Mapped[int] = mapped_column(server_default="0")
    rounded_count: Mapped[int] = mapped_column(server_default="0")
    co2e_kg: Mapped[Decimal | None] = mapped_column(sa.Numeric)
    amount: Mapped[Decimal | None] = mapped_column(sa.Numeric)
    error_count: Mapped[int] = mapped_column(server_default="0")
    # The first of them, by line.
    errors: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default="[]")
    warning_count: Mapped[int] = mapped_column(server_default="0")
    # The first of them, by line.
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default="[]")
    recorded_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())
    recorded_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    reverted_at: Mapped[dt.datetime | None]
    reverted_by: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))

    @property
    def is_pending(self) -> bool:
        """Whether it is yet to be booked."""
        return self.status in (QUEUED, RUNNING)


class ImportRowError(TenantScoped, Model):
    """What is wrong with a line that an import did not book. Who may see the import may see its errors.

    `cells` is what the line said, by column.
    """

    __tablename__ = "import_row_errors"
    AUDIT = NotAudited("the import is audited")
    OWNER_COLUMN = None
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id", "import_id"], ["imports.organization_id", "imports.id"]),
        sa.Index("ix_import_row_errors_by_line", "organization_id", "import_id", "line", "id"),
    )

    import_id: Mapped[int]
    line: Mapped[int]
    column: Mapped[str | None]
    found: Mapped[str | None]
    message: Mapped[str]
    cells: Mapped[dict[str, str]] = mapped_column(JSONB)


class ImportUpload(TenantScoped, Model):
    """A file that is yet to be booked, and how: it goes when the import is booked or has failed.

    Who works on it has its row locked. `address` and `request_id` are of the request that brought it.
    """

    __tablename__ = "import_uploads"
    AUDIT = NotAudited("the import is audited")
    OWNER_COLUMN = None
    __table_args__ = (
        sa.ForeignKeyConstraint(["organization_id", "import_id"], ["imports.organization_id", "imports.id"]),
    )

    import_id: Mapped[int]
    options: Mapped[dict[str, Any]] = mapped_column(JSONB)
    address: Mapped[str | None]
    request_id: Mapped[str | None]


class ImportChunk(TenantScoped, Model):
    """A piece of an upload; they stand in the order of their ids."""

    __tablename__ = "import_chunks"
    AUDIT = NotAudited("the import is audited")
    OWNER_COLUMN = None
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["organization_id", "upload_id"],
            ["import_uploads.organization_id", "import_uploads.id"],
            ondelete="CASCADE",
        ),
        sa.Index("ix_import_chunks_in_order", "organization_id", "upload_id", "id"),
    )

    upload_id: Mapped[int]
    content: Mapped[bytes]

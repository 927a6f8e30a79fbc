"""Imports of files, their row errors, and the uploads that wait in the queue."""

import datetime as dt
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ..db import AuditedBy, Model, NotAudited, TenantScoped, choice_constraint

STATUSES = QUEUED, RUNNING, COMPLETED, FAILED = "queued", "running", "completed", "failed"
MODES = ("atomic", "partial", "dry-run")
ON_CONFLICT = ("reject", "skip", "replace")
NEW, CHANGED, UNCHANGED, SKIPPED, REJECTED = "new", "changed", "unchanged", "skipped", "rejected"


class Outcomes(NamedTuple):
    """The number of rows by outcome."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    skipped: int = 0
    rejected: int = 0


class Import(TenantScoped, Model):
    """A file of usages, and the outcomes of its rows.

    A row is new, changed (it corrected a usage), unchanged, skipped (it differs from a usage, which was not corrected),
    rejected or blank. `co2e_kg` and `amount` are sums of the new usages; null for old imports, and `amount` also for
    several usage types. `progress` is the share of the file that has been read. A failed import recorded nothing;
    `failure` is the reason.
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
        sa.Index("ix_imports_by_file", "organization_id", "sha256", "id"),
    )

    status: Mapped[str] = mapped_column(server_default=COMPLETED)
    progress: Mapped[Decimal] = mapped_column(sa.Numeric, server_default="1")
    failure: Mapped[str | None]
    # Limits the retries of an import that crashes its process.
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
    created_meter_count: Mapped[int] = mapped_column(server_default="0")
    blank_count: Mapped[int] = mapped_column(server_default="0")
    rounded_count: Mapped[int] = mapped_column(server_default="0")
    co2e_kg: Mapped[Decimal | None] = mapped_column(sa.Numeric)
    amount: Mapped[Decimal | None] = mapped_column(sa.Numeric)
    error_count: Mapped[int] = mapped_column(server_default="0")
    # Of errors and warnings, the first ones by line.
    errors: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default="[]")
    warning_count: Mapped[int] = mapped_column(server_default="0")
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default="[]")
    recorded_at: Mapped[dt.datetime] = mapped_column(server_default=sa.func.now())
    recorded_by: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    reverted_at: Mapped[dt.datetime | None]
    reverted_by: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id"))

    @property
    def is_pending(self) -> bool:
        return self.status in (QUEUED, RUNNING)

    def complete(self, outcomes: Outcomes, sums: Any, blank_count: int, rounded_count: int) -> None:
        """Set the counts of a completed import. sums: the result of `ledger.insert_many`."""
        self.new_count, self.changed_count, self.unchanged_count, self.skipped_count, self.rejected_count = outcomes
        self.usage_count = outcomes.new + outcomes.changed
        self.blank_count, self.rounded_count = blank_count, rounded_count
        self.co2e_kg = sums.co2e_kg
        self.amount = sums.amount_in_type_unit if sums.first_type_id == sums.last_type_id else None
        self.status, self.progress = COMPLETED, Decimal(1)


class ImportRowError(TenantScoped, Model):
    """An error of a rejected row. Visible to those who can see the import.

    `cells` is the text of the row, by column.
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
    """A file in the queue, with its options. Deleted when the import has completed or failed.

    The worker that runs it holds a lock on its row. `address` and `request_id` are those of the request.
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
    """A part of an upload. The ids give the order of the parts."""

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

"""Add queued imports, which run after the response to their request, and their files."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "queued_imports"
down_revision = "usage_days"
branch_labels = None
depends_on = None

STATUSES = ("queued", "running", "booked", "failed")


def upgrade() -> None:
    op.add_column("imports", sa.Column("status", sa.Text(), server_default="booked", nullable=False))
    op.add_column("imports", sa.Column("progress", sa.Numeric(), server_default="1", nullable=False))
    op.add_column("imports", sa.Column("failure", sa.Text(), nullable=True))
    op.add_column("imports", sa.Column("attempt_count", sa.BigInteger(), server_default="0", nullable=False))
    op.create_check_constraint(op.f("ck_imports_status"), "imports", f"status IN {STATUSES}")
    op.create_check_constraint(op.f("ck_imports_progress"), "imports", "progress BETWEEN 0 AND 1")
    op.create_check_constraint(op.f("ck_imports_failure"), "imports", "(status = 'failed') = (failure IS NOT NULL)")
    op.create_table(
        "import_uploads",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("options", postgresql.JSONB(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id", "import_id"],
            ["imports.organization_id", "imports.id"],
            name=op.f("fk_import_uploads_organization_id_import_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_import_uploads")),
    )
    op.create_table(
        "import_chunks",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("upload_id", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "upload_id"],
            ["import_uploads.organization_id", "import_uploads.id"],
            name=op.f("fk_import_chunks_organization_id_upload_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_import_chunks")),
    )
    op.create_index("ix_import_chunks_in_order", "import_chunks", ["organization_id", "upload_id", "id"])
    # Chunks are written and read once. Compressing them takes longer than writing them.
    op.execute("ALTER TABLE import_chunks ALTER COLUMN content SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_index("ix_import_chunks_in_order", table_name="import_chunks")
    op.drop_table("import_chunks")
    op.drop_table("import_uploads")
    # Delete imports that recorded nothing, since the older schema has no status for them.
    not_completed = "SELECT organization_id, id FROM imports WHERE status <> 'booked'"
    op.execute(f"DELETE FROM import_faults WHERE (organization_id, import_id) IN ({not_completed})")
    op.execute("DELETE FROM imports WHERE status <> 'booked'")
    for constraint in ("failure", "progress", "status"):
        op.drop_constraint(op.f(f"ck_imports_{constraint}"), "imports")
    for column in ("attempt_count", "failure", "progress", "status"):
        op.drop_column("imports", column)

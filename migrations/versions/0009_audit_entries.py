"""Create the audit log, to which even its owner can only add."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "audit_entries"
down_revision = "import_warnings"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("actor_role", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("old", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("new", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "action IN ('created', 'changed', 'deleted', 'recorded', 'corrected', 'imported', 'restated', 'closed', "
            "'reopened', 'signed_in', 'sign_in_refused', 'signed_out', 'session_ended', 'password_changed')",
            name=op.f("ck_audit_entries_action"),
        ),
        sa.CheckConstraint("num_nulls(actor_id, actor_role) IN (0, 2)", name=op.f("ck_audit_entries_actor")),
        sa.CheckConstraint(
            "jsonb_typeof(old) = 'object' AND jsonb_typeof(new) = 'object'", name=op.f("ck_audit_entries_values")
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_by_time", "audit_entries", ["organization_id", "occurred_at", "id"], unique=False)
    op.create_index(
        "ix_audit_entries_by_subject",
        "audit_entries",
        ["organization_id", "subject", "subject_id", "occurred_at", "id"],
        unique=False,
    )
    # Applies to the owner too, unless it is a superuser. The owner could grant them again, but not by mistake.
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON audit_entries FROM PUBLIC, CURRENT_USER")


def downgrade() -> None:
    op.drop_index("ix_audit_entries_by_subject", table_name="audit_entries")
    op.drop_index("ix_audit_entries_by_time", table_name="audit_entries")
    op.drop_table("audit_entries")

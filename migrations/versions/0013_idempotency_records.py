"""Create records of responses, for requests that are repeated with their Idempotency-Key."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "kept_answers"
down_revision = "queued_imports"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept_answers",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("headers", postgresql.JSONB(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("octet_length(body) <= 1048576", name=op.f("ck_kept_answers_body")),
        sa.PrimaryKeyConstraint("organization_id", "user_id", "key", name=op.f("pk_kept_answers")),
    )
    op.create_index("ix_kept_answers_by_time", "kept_answers", ["organization_id", "claimed_at"])


def downgrade() -> None:
    op.drop_index("ix_kept_answers_by_time", table_name="kept_answers")
    op.drop_table("kept_answers")

"""Add warnings to imports."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "import_warnings"
down_revision = "usage_until"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("imports", sa.Column("warning_count", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("imports", sa.Column("warnings", postgresql.JSONB(), server_default="[]", nullable=False))


def downgrade() -> None:
    op.drop_column("imports", "warnings")
    op.drop_column("imports", "warning_count")

"""Index imports by the hash of their file, to find an earlier import of the same file."""

from alembic import op

revision = "imports_by_file"
down_revision = "local_time_functions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_imports_by_file", "imports", ["organization_id", "sha256", "id"])


def downgrade() -> None:
    op.drop_index("ix_imports_by_file", table_name="imports")

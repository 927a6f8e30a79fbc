"""Let an organization take the latest factor that has ended, and mark such valuations and usages as provisional."""

import sqlalchemy as sa
from alembic import op

revision = "provisional_valuations"
down_revision = "factor_splits"
branch_labels = None
depends_on = None

VALUES = ("refuse", "latest")
FORCED = ("organizations", "usage_versions", "usages", "valuations")


def upgrade() -> None:
    op.add_column("organizations", sa.Column("missing_factor", sa.Text(), nullable=False, server_default="refuse"))
    _force("NO FORCE")
    op.create_check_constraint("missing_factor", "organizations", f"missing_factor IN {VALUES}")
    _force("FORCE")
    for table in ("usages", "usage_versions"):
        op.add_column(table, sa.Column("provisional", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("valuations", sa.Column("provisional", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.alter_column("valuations", "provisional", server_default=None)
    key = ["organization_id", "usage_at", "id"]
    op.create_index("ix_usages_provisional", "usages", key, postgresql_where=sa.text("provisional"))


def downgrade() -> None:
    """Forget which usages are provisional. They keep their factors."""
    op.drop_index("ix_usages_provisional", "usages")
    _force("NO FORCE")
    op.execute("UPDATE valuations SET current = false WHERE provisional")
    _force("FORCE")
    for table in ("usages", "usage_versions", "valuations"):
        op.drop_column(table, "provisional")
    op.drop_column("organizations", "missing_factor")


def _force(how: str) -> None:
    """Let the owner of the tables see the rows of all organizations, or not."""
    for table in FORCED:
        op.execute(f"ALTER TABLE {table} {how} ROW LEVEL SECURITY")

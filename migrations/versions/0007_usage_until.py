"""Add the end of the interval of a usage, for example of a bill."""

import sqlalchemy as sa
from alembic import op

revision = "usage_until"
down_revision = "periods"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("usages", "usage_versions"):
        op.add_column(table, sa.Column("usage_until", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(
        op.f("ck_usages_usage_until"), "usages", "usage_until > usage_at AND usage_until < '2201-01-01+00'"
    )
    op.create_index(
        "ix_usages_by_end",
        "usages",
        ["organization_id", "usage_until"],
        unique=False,
        postgresql_where=sa.text("usage_until IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_usages_by_end", table_name="usages", postgresql_where=sa.text("usage_until IS NOT NULL"))
    for table in ("usage_versions", "usages"):
        op.drop_column(table, "usage_until")

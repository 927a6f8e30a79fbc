"""Restate the usages of a site."""

import sqlalchemy as sa
from alembic import op

revision = "restatements_of_sites"
down_revision = "created_meters"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("restatements", sa.Column("site_id", sa.BigInteger()))
    _force("NO FORCE")
    site = ["organization_id", "id"]
    op.create_foreign_key(None, "restatements", "sites", ["organization_id", "site_id"], site)
    _force("FORCE")
    of_sites = sa.text("site_id IS NOT NULL")
    op.create_index(
        "ix_restatements_by_site", "restatements", ["organization_id", "site_id"], postgresql_where=of_sites
    )


def downgrade() -> None:
    op.drop_column("restatements", "site_id")


def _force(how: str) -> None:
    """Let the owner of the tables see the rows of all organizations, or not."""
    for table in ("restatements", "sites"):
        op.execute(f"ALTER TABLE {table} {how} ROW LEVEL SECURITY")

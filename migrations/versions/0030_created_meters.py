"""Count the meters that an import created."""

import sqlalchemy as sa
from alembic import op

revision = "created_meters"
down_revision = "sites_and_meters"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("imports", sa.Column("created_meter_count", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("imports", "created_meter_count")

"""Create the counters of rate limits."""

import sqlalchemy as sa
from alembic import op

revision = "throttle_counts"
down_revision = "row_level_security"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Unlogged: counting does not wait for the disk, and a crash loses the counts of some minutes.
    op.create_table(
        "throttle_counts",
        sa.Column("bucket", sa.LargeBinary(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "ends_at", name=op.f("pk_throttle_counts")),
        prefixes=["UNLOGGED"],
    )
    op.create_index("ix_throttle_counts_by_end", "throttle_counts", ["ends_at"])


def downgrade() -> None:
    op.drop_index("ix_throttle_counts_by_end", table_name="throttle_counts")
    op.drop_table("throttle_counts")

"""What usages add up to by local day, kept with every write."""

import sqlalchemy as sa
from alembic import op

revision = "usage_days"
down_revision = "import_outcomes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_check_constraint(op.f("ck_usages_length"), "usages", "usage_until - usage_at <= interval '3653 days'")
    op.create_unique_constraint("uq_organizations_timezone", "organizations", ["id", "timezone"])
    op.create_table(
        "usage_days",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("usage_type_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("restatement_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("usage_count", sa.BigInteger(), nullable=False),
        sa.Column("carried_count", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("co2e_kg", sa.Numeric(), nullable=False),
        sa.Column("estimated_kg", sa.Numeric(), nullable=False),
        sa.Column("reading_hours", sa.Integer(), nullable=False),
        sa.Column("period_hours", sa.Integer(), nullable=False),
        sa.Column("hours_are_doubtful", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "timezone"],
            ["organizations.id", "organizations.timezone"],
            name=op.f("fk_usage_days_organization_id_timezone"),
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "usage_type_id", "day", "method", "restatement_id", name=op.f("pk_usage_days")
        ),
    )
    op.create_index(
        "ix_usage_days_doubtful",
        "usage_days",
        ["organization_id"],
        unique=False,
        postgresql_where=sa.text("hours_are_doubtful"),
    )


def downgrade() -> None:
    op.drop_index("ix_usage_days_doubtful", table_name="usage_days", postgresql_where=sa.text("hours_are_doubtful"))
    op.drop_table("usage_days")
    op.drop_constraint("uq_organizations_timezone", "organizations", type_="unique")
    op.drop_constraint(op.f("ck_usages_length"), "usages")

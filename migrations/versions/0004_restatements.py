"""Create restatements, and the threshold for significant ones."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "restatements"
down_revision = "own_factors"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "restatements",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("usage_type_id", sa.BigInteger(), nullable=False),
        sa.Column("start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("usage_count", sa.BigInteger(), nullable=False),
        sa.Column("before_kg", sa.Numeric(), nullable=False),
        sa.Column("after_kg", sa.Numeric(), nullable=False),
        sa.Column("significance_threshold", sa.Numeric(precision=5, scale=2), nullable=False),
        sa.Column("months", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_restatements_organization_id")
        ),
        sa.ForeignKeyConstraint(["recorded_by"], ["users.id"], name=op.f("fk_restatements_recorded_by")),
        sa.ForeignKeyConstraint(["usage_type_id"], ["usage_types.id"], name=op.f("fk_restatements_usage_type_id")),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_restatements")),
    )
    op.add_column(
        "organizations",
        sa.Column("significance_threshold", sa.Numeric(precision=5, scale=2), server_default="5", nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_organizations_significance_threshold"), "organizations", "significance_threshold BETWEEN 0 AND 100"
    )
    op.add_column("usage_versions", sa.Column("restatement_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_usage_versions_organization_id_restatement_id"),
        "usage_versions",
        "restatements",
        ["organization_id", "restatement_id"],
        ["organization_id", "id"],
    )
    op.add_column("usages", sa.Column("restatement_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_usages_organization_id_restatement_id"),
        "usages",
        "restatements",
        ["organization_id", "restatement_id"],
        ["organization_id", "id"],
    )


def downgrade() -> None:
    op.drop_constraint(op.f("fk_usages_organization_id_restatement_id"), "usages", type_="foreignkey")
    op.drop_column("usages", "restatement_id")
    op.drop_constraint(op.f("fk_usage_versions_organization_id_restatement_id"), "usage_versions", type_="foreignkey")
    op.drop_column("usage_versions", "restatement_id")
    op.drop_column("organizations", "significance_threshold")
    op.drop_table("restatements")

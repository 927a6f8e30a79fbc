"""Create the table of earlier versions of usages."""

import sqlalchemy as sa
from alembic import op

revision = "usage_versions"
down_revision = "first_tables"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage_versions",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("believed_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_by", sa.BigInteger(), nullable=False),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("usage_type_id", sa.BigInteger(), nullable=False),
        sa.Column("usage_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("emission_factor_id", sa.BigInteger(), nullable=False),
        sa.Column("factor", sa.Numeric(precision=24, scale=12), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("quality", sa.Text(), server_default="measured", nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("import_id", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("co2e_kg", sa.Numeric(), sa.Computed("amount * factor", persisted=True), nullable=False),
        sa.Column("recorded_by", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("believed_until > recorded_at", name=op.f("ck_usage_versions_belief")),
        sa.ForeignKeyConstraint(["ended_by"], ["users.id"], name=op.f("fk_usage_versions_ended_by")),
        sa.ForeignKeyConstraint(
            ["organization_id", "import_id"],
            ["imports.organization_id", "imports.id"],
            name=op.f("fk_usage_versions_organization_id_import_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "user_id"],
            ["users.organization_id", "users.id"],
            name=op.f("fk_usage_versions_organization_id_user_id"),
        ),
        sa.ForeignKeyConstraint(["recorded_by"], ["users.id"], name=op.f("fk_usage_versions_recorded_by")),
        sa.ForeignKeyConstraint(
            ["usage_type_id", "emission_factor_id"],
            ["emission_factors.usage_type_id", "emission_factors.id"],
            name="fk_usage_versions_emission_factor_id",
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", "version", name=op.f("pk_usage_versions")),
    )
    op.create_index("ix_usage_versions_by_time", "usage_versions", ["organization_id", "usage_at", "id"], unique=False)
    op.add_column("usages", sa.Column("reason", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("usages", "reason")
    op.drop_index("ix_usage_versions_by_time", table_name="usage_versions")
    op.drop_table("usage_versions")

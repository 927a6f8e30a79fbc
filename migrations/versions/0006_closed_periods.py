"""Create closed periods, and adjustments to them."""

import sqlalchemy as sa
from alembic import op

revision = "periods"
down_revision = "units"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "periods",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_by", sa.BigInteger(), nullable=False),
        sa.Column("reopened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reopened_by", sa.BigInteger(), nullable=True),
        sa.Column("reopen_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "num_nulls(reopened_at, reopened_by, reopen_reason) IN (0, 3)", name=op.f("ck_periods_reopened")
        ),
        sa.ForeignKeyConstraint(["closed_by"], ["users.id"], name=op.f("fk_periods_closed_by")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_periods_organization_id")),
        sa.ForeignKeyConstraint(["reopened_by"], ["users.id"], name=op.f("fk_periods_reopened_by")),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_periods")),
    )
    op.create_index(
        "ix_periods_closed",
        "periods",
        ["organization_id", "until"],
        unique=False,
        postgresql_where=sa.text("reopened_at IS NULL"),
    )
    op.add_column("usage_versions", sa.Column("adjusts_period_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        "fk_usage_versions_adjusts_period_id",
        "usage_versions",
        "periods",
        ["organization_id", "adjusts_period_id"],
        ["organization_id", "id"],
    )
    op.add_column("usages", sa.Column("adjusts_period_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_usages_organization_id_adjusts_period_id"),
        "usages",
        "periods",
        ["organization_id", "adjusts_period_id"],
        ["organization_id", "id"],
    )
    _check_amounts(
        "(amount >= 0 OR adjusts_period_id IS NOT NULL) AND abs(amount) < 1e12", "abs(amount_in_type_unit) < 1e18"
    )


def downgrade() -> None:
    _check_amounts("amount >= 0 AND amount < 1e12", "amount_in_type_unit >= 0 AND amount_in_type_unit < 1e18")
    op.drop_constraint(op.f("fk_usages_organization_id_adjusts_period_id"), "usages", type_="foreignkey")
    op.drop_column("usages", "adjusts_period_id")
    op.drop_constraint("fk_usage_versions_adjusts_period_id", "usage_versions", type_="foreignkey")
    op.drop_column("usage_versions", "adjusts_period_id")
    op.drop_index("ix_periods_closed", table_name="periods", postgresql_where=sa.text("reopened_at IS NULL"))
    op.drop_table("periods")


def _check_amounts(amount: str, amount_in_type_unit: str) -> None:
    for name, condition in (("amount", amount), ("amount_in_type_unit", amount_in_type_unit)):
        op.drop_constraint(f"ck_usages_{name}", "usages")
        op.create_check_constraint(op.f(f"ck_usages_{name}"), "usages", condition)

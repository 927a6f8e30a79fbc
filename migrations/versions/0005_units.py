"""Add units to usages, and the amount in the unit of the usage type."""

import sqlalchemy as sa
from alembic import op

revision = "units"
down_revision = "restatements"
branch_labels = None
depends_on = None

TABLES = ("usages", "usage_versions")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("unit", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("amount_in_type_unit", sa.Numeric(precision=30, scale=12), nullable=True))
        # Existing usages are in the unit of their type.
        op.execute(
            f"UPDATE {table} SET unit = t.unit, amount_in_type_unit = amount "
            f"FROM usage_types t WHERE t.id = {table}.usage_type_id"
        )
        op.alter_column(table, "unit", nullable=False)
        op.alter_column(table, "amount_in_type_unit", nullable=False)
        _generate_co2e(table, "amount_in_type_unit * factor")
    op.create_check_constraint(
        op.f("ck_usages_amount_in_type_unit"), "usages", "amount_in_type_unit >= 0 AND amount_in_type_unit < 1e18"
    )


def downgrade() -> None:
    op.drop_constraint("ck_usages_amount_in_type_unit", "usages")
    for table in TABLES:
        _generate_co2e(table, "amount * factor")
        op.drop_column(table, "amount_in_type_unit")
        op.drop_column(table, "unit")


def _generate_co2e(table: str, product: str) -> None:
    # PostgreSQL before 17 cannot change the expression of a generated column.
    op.drop_column(table, "co2e_kg")
    op.add_column(table, sa.Column("co2e_kg", sa.Numeric(), sa.Computed(product, persisted=True), nullable=False))

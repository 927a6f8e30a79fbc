"""Add emission factors of an organization, and the market-based method."""

import sqlalchemy as sa
from alembic import op

revision = "own_factors"
down_revision = "usage_versions"
branch_labels = None
depends_on = None

VALIDITY = "ex_emission_factors_validity"


def upgrade() -> None:
    op.add_column("emission_factors", sa.Column("organization_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        "fk_emission_factors_organization_id", "emission_factors", "organizations", ["organization_id"], ["id"]
    )
    for table in ("emission_factors", "usages", "usage_versions"):
        op.add_column(table, sa.Column("method", sa.Text(), server_default="location", nullable=False))
    for table in ("emission_factors", "usages"):
        op.create_check_constraint(op.f(f"ck_{table}_method"), table, "method IN ('location', 'market')")
    op.drop_constraint(VALIDITY, "emission_factors")
    op.execute(
        f"""
        ALTER TABLE emission_factors ADD CONSTRAINT {VALIDITY} EXCLUDE USING gist (
            usage_type_id WITH =, coalesce(organization_id, 0) WITH =, coalesce(region, '') WITH =, method WITH =,
            tstzrange(valid_from, valid_until) WITH &&
        )
        """
    )


def downgrade() -> None:
    op.drop_constraint(VALIDITY, "emission_factors")
    op.execute(
        f"""
        ALTER TABLE emission_factors ADD CONSTRAINT {VALIDITY} EXCLUDE USING gist (
            usage_type_id WITH =, coalesce(region, '') WITH =, tstzrange(valid_from, valid_until) WITH &&
        )
        """
    )
    for table in ("emission_factors", "usages"):
        op.drop_constraint(f"ck_{table}_method", table)
    for table in ("emission_factors", "usages", "usage_versions"):
        op.drop_column(table, "method")
    op.drop_constraint("fk_emission_factors_organization_id", "emission_factors")
    op.drop_column("emission_factors", "organization_id")

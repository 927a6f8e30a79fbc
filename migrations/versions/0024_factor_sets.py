"""Add factor sets, gases and corrections of emission factors, and usage types of organizations.

A category becomes one of a fixed list. Another text of before goes to the end of the description.
"""

import sqlalchemy as sa
from alembic import op

revision = "factor_sets"
down_revision = "lock_of_open_periods"
branch_labels = None
depends_on = None

ALL_ORGANIZATIONS = "carbonapi_all_organizations"
CURRENT = "nullif(current_setting('carbonapi.organization_id', true), '')::bigint"
VALIDITY = "ex_emission_factors_validity"
GASES = ("co2_kg", "ch4_kg", "n2o_kg", "other_co2e_kg", "biogenic_co2_kg")
GWP = "gwp IN ('AR4', 'AR5', 'AR6')"
CATEGORIES = {
    1: ("stationary_combustion", "mobile_combustion", "process_emissions", "fugitive_emissions"),
    2: ("purchased_electricity", "purchased_heat_steam_cooling"),
    3: (
        "purchased_goods_and_services", "capital_goods", "fuel_and_energy_related", "upstream_transport", "waste",
        "business_travel", "employee_commuting", "upstream_leased_assets", "downstream_transport",
        "processing_of_sold_products", "use_of_sold_products", "end_of_life", "downstream_leased_assets",
        "franchises", "investments",
    ),
}  # fmt: skip
CATEGORY = (
    "CASE scope "
    + " ".join(f"WHEN {scope} THEN category IN ({', '.join(map(repr, names))})" for scope, names in CATEGORIES.items())
    + " ELSE category IS NULL END"
)


def upgrade() -> None:
    _create_factor_sets()
    _extend_emission_factors()
    _extend_usage_types()
    # -1 is SHARED in audit/models.py: the organization of entries about shared data.
    op.execute("CREATE POLICY shared ON audit_entries FOR SELECT USING (organization_id = -1)")


def _create_factor_sets() -> None:
    op.create_table(
        "factor_sets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("organization_id", sa.BigInteger(), nullable=True),
        sa.Column("publisher", sa.Text(), nullable=False),
        sa.Column("edition", sa.Text(), nullable=False),
        sa.Column("published_on", sa.Date(), nullable=True),
        sa.Column("gwp", sa.Text(), nullable=True),
        sa.Column("licence", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint(GWP, name=op.f("ck_factor_sets_gwp")),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_factor_sets_hash")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_factor_sets_organization_id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_factor_sets")),
    )
    op.create_index(
        "uq_factor_sets_edition",
        "factor_sets",
        [sa.text("coalesce(organization_id, 0)"), "publisher", "edition"],
        unique=True,
    )
    _protect("factor_sets")


def _extend_emission_factors() -> None:
    table = "emission_factors"
    op.execute(f"ALTER TABLE {table} ADD version integer NOT NULL DEFAULT 1")
    op.execute(f"ALTER TABLE {table} ALTER version DROP DEFAULT")
    _add_reference(table, "factor_set_id", "factor_sets")
    op.add_column(table, sa.Column("citation", sa.Text(), nullable=True))
    op.add_column(table, sa.Column("gwp", sa.Text(), nullable=True))
    for gas in GASES:
        op.add_column(table, sa.Column(gas, sa.Numeric(24, 12), nullable=True))
    op.add_column(table, sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(table, sa.Column("superseded_by", sa.BigInteger(), nullable=True))
    op.add_column(table, sa.Column("superseded_reason", sa.Text(), nullable=True))
    _add_reference(table, "supersedes_id", table)
    op.create_index("ix_emission_factors_by_factor_set", table, ["factor_set_id"])
    op.create_unique_constraint("uq_emission_factors_supersedes_id", table, ["supersedes_id"])
    op.create_check_constraint(op.f(f"ck_{table}_gwp"), table, GWP)
    gases = " AND ".join(f"{gas} >= 0 AND {gas} < 1e12" for gas in GASES)
    op.create_check_constraint(op.f(f"ck_{table}_gases"), table, gases)
    superseded = "num_nulls(superseded_at, superseded_reason) IN (0, 2)"
    op.create_check_constraint(op.f(f"ck_{table}_superseded"), table, superseded)
    _create_validity_constraint(" WHERE (superseded_at IS NULL)")


def _extend_usage_types() -> None:
    table = "usage_types"
    _add_reference(table, "organization_id", "organizations")
    op.add_column(table, sa.Column("outside_of_scopes", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.drop_constraint("uq_usage_types_name_unit", table)
    op.create_index(
        "uq_usage_types_name_unit", table, [sa.text("coalesce(organization_id, 0)"), "name", "unit"], unique=True
    )
    op.execute(
        f"""
        UPDATE usage_types
        SET description = concat_ws(' ', description, 'Category: ' || category || '.'), category = NULL,
            version = version + 1
        WHERE NOT coalesce({CATEGORY}, true)
        """
    )
    op.create_check_constraint(op.f(f"ck_{table}_category"), table, CATEGORY)
    outside = "NOT outside_of_scopes OR scope IS NULL"
    op.create_check_constraint(op.f(f"ck_{table}_outside_of_scopes"), table, outside)
    _protect(table)


def _add_reference(table: str, column: str, referenced: str) -> None:
    # In one statement, PostgreSQL need not check the rows, which the policies would hide from it.
    op.execute(f"ALTER TABLE {table} ADD {column} bigint CONSTRAINT fk_{table}_{column} REFERENCES {referenced} (id)")


def _protect(table: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} USING (organization_id = {CURRENT})")
    op.execute(f"CREATE POLICY all_organizations ON {table} TO {ALL_ORGANIZATIONS} USING (true)")
    op.execute(f"CREATE POLICY shared ON {table} FOR SELECT USING (organization_id IS NULL)")


def _create_validity_constraint(condition: str) -> None:
    op.drop_constraint(VALIDITY, "emission_factors")
    op.execute(
        f"""
        ALTER TABLE emission_factors ADD CONSTRAINT {VALIDITY} EXCLUDE USING gist (
            usage_type_id WITH =, coalesce(organization_id, 0) WITH =, coalesce(region, '') WITH =, method WITH =,
            tstzrange(valid_from, valid_until) WITH &&
        ){condition}
        """
    )


def downgrade() -> None:
    # Factors that were superseded, and usage types that two organizations have, prevent it.
    op.execute("DROP POLICY shared ON audit_entries")
    table = "usage_types"
    for policy in ("shared", "all_organizations", "tenant"):
        op.execute(f"DROP POLICY {policy} ON {table}")
    op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    for name in ("outside_of_scopes", "category"):
        op.drop_constraint(f"ck_{table}_{name}", table)
    op.drop_index("uq_usage_types_name_unit", table_name=table)
    op.create_unique_constraint("uq_usage_types_name_unit", table, ["name", "unit"])
    for column in ("outside_of_scopes", "organization_id"):
        op.drop_column(table, column)
    _create_validity_constraint("")
    for column in (
        "supersedes_id", "superseded_reason", "superseded_by", "superseded_at", *GASES, "gwp", "citation",
        "factor_set_id", "version",
    ):  # fmt: skip
        op.drop_column("emission_factors", column)
    op.drop_table("factor_sets")

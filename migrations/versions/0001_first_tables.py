"""Create the first tables, and five usage types."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "first_tables"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The exclusion constraint needs a GiST index of a number, a text and a range.
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.create_table(
        "organizations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
    )
    op.create_table(
        "usage_types",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("scope", sa.SmallInteger(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("archived", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("scope IN (1, 2, 3)", name=op.f("ck_usage_types_scope")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_types")),
        sa.UniqueConstraint("name", "unit", name=op.f("uq_usage_types_name_unit")),
    )
    op.create_table(
        "emission_factors",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("usage_type_id", sa.BigInteger(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("factor", sa.Numeric(precision=24, scale=12), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("usage_type_id"), "="),
            (sa.text("coalesce(region, '')"), "="),
            (sa.text("tstzrange(valid_from, valid_until)"), "&&"),
            using="gist",
            name="ex_emission_factors_validity",
        ),
        sa.CheckConstraint("factor >= 0 AND factor < 1e12", name=op.f("ck_emission_factors_factor")),
        sa.CheckConstraint("valid_until > valid_from", name=op.f("ck_emission_factors_validity")),
        sa.ForeignKeyConstraint(["usage_type_id"], ["usage_types.id"], name=op.f("fk_emission_factors_usage_type_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emission_factors")),
        sa.UniqueConstraint("usage_type_id", "id", name=op.f("uq_emission_factors_usage_type_id_id")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("organization_id", sa.BigInteger(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('admin', 'manager', 'member', 'auditor')", name=op.f("ck_users_role")),
        sa.CheckConstraint(
            "num_nulls(email, name, password_hash) = CASE WHEN erased_at IS NULL THEN 0 ELSE 3 END",
            name=op.f("ck_users_erased"),
        ),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_users_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("organization_id", "id", name=op.f("uq_users_organization_id_id")),
    )
    op.create_index("uq_users_email", "users", [sa.literal_column("lower(email)")], unique=True)
    op.create_table(
        "imports",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("usage_count", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("recorded_by", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_imports_organization_id")),
        sa.ForeignKeyConstraint(["recorded_by"], ["users.id"], name=op.f("fk_imports_recorded_by")),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_imports")),
    )
    op.create_table(
        "sessions",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), server_default="1", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id", "user_id"],
            ["users.organization_id", "users.id"],
            name=op.f("fk_sessions_organization_id_user_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_by_user", "sessions", ["organization_id", "user_id"], unique=False)
    op.create_table(
        "usages",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("usage_type_id", sa.BigInteger(), nullable=False),
        sa.Column("usage_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("emission_factor_id", sa.BigInteger(), nullable=False),
        sa.Column("factor", sa.Numeric(precision=24, scale=12), nullable=False),
        sa.Column("co2e_kg", sa.Numeric(), sa.Computed("amount * factor", persisted=True), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("quality", sa.Text(), server_default="measured", nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("import_id", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("recorded_by", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quality IN ('measured', 'estimated')", name=op.f("ck_usages_quality")),
        sa.CheckConstraint(
            "usage_at >= '1900-01-01+00' AND usage_at < '2201-01-01+00'", name=op.f("ck_usages_usage_at")
        ),
        sa.CheckConstraint("amount >= 0 AND amount < 1e12", name=op.f("ck_usages_amount")),
        sa.ForeignKeyConstraint(
            ["organization_id", "import_id"],
            ["imports.organization_id", "imports.id"],
            name=op.f("fk_usages_organization_id_import_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "user_id"],
            ["users.organization_id", "users.id"],
            name=op.f("fk_usages_organization_id_user_id"),
        ),
        sa.ForeignKeyConstraint(["recorded_by"], ["users.id"], name=op.f("fk_usages_recorded_by")),
        sa.ForeignKeyConstraint(
            ["usage_type_id", "emission_factor_id"],
            ["emission_factors.usage_type_id", "emission_factors.id"],
            name=op.f("fk_usages_usage_type_id_emission_factor_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_usages")),
        sa.UniqueConstraint("organization_id", "external_id", name="uq_usages_external_id"),
    )
    op.create_index(
        "ix_usages_by_import",
        "usages",
        ["organization_id", "import_id"],
        unique=False,
        postgresql_where=sa.text("import_id IS NOT NULL"),
    )
    op.create_index("ix_usages_by_time", "usages", ["organization_id", "usage_at", "id"], unique=False)
    op.create_index("ix_usages_by_type", "usages", ["organization_id", "usage_type_id", "usage_at", "id"], unique=False)
    op.create_index("ix_usages_by_user", "usages", ["organization_id", "user_id", "usage_at", "id"], unique=False)
    # These ids are part of the API. The ids of other usage types start at 1000.
    op.execute(
        """
        INSERT INTO usage_types (id, name, unit, version) OVERRIDING SYSTEM VALUE
        VALUES (100, 'electricity', 'kwh', 1), (101, 'water', 'kg', 1), (102, 'heating', 'kwh', 1),
               (103, 'heating', 'l', 1), (104, 'heating', 'm3', 1)
        """
    )
    op.execute("ALTER TABLE usage_types ALTER id RESTART WITH 1000")
    op.execute(
        """
        INSERT INTO emission_factors (usage_type_id, factor, valid_from, source)
        VALUES (100, 1.5, '1900-01-01+00', 'exercise'), (101, 26.93, '1900-01-01+00', 'exercise'),
               (102, 3.892, '1900-01-01+00', 'exercise'), (103, 8.57, '1900-01-01+00', 'exercise'),
               (104, 19.456, '1900-01-01+00', 'exercise')
        """
    )


def downgrade() -> None:
    op.drop_index("ix_usages_by_user", table_name="usages")
    op.drop_index("ix_usages_by_type", table_name="usages")
    op.drop_index("ix_usages_by_time", table_name="usages")
    op.drop_index("ix_usages_by_import", table_name="usages", postgresql_where=sa.text("import_id IS NOT NULL"))
    op.drop_table("usages")
    op.drop_index("ix_sessions_by_user", table_name="sessions")
    op.drop_table("sessions")
    op.drop_table("imports")
    op.drop_index("uq_users_email", table_name="users")
    op.drop_table("users")
    op.drop_table("emission_factors")
    op.drop_table("usage_types")
    op.drop_table("organizations")

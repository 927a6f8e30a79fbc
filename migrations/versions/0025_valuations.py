"""Freeze the choice of all factors of a usage as a valuation, with location-based, market-based and upstream lines.

Existing usages get a valuation from their frozen factor and the present scope of their type. A usage that was recorded
as market-based has this factor in both lines: nothing says whether another usage is its location-based twin. The
migration prints the number of these usages.
"""

import logging

import sqlalchemy as sa
from alembic import op

revision = "valuations"
down_revision = "factor_sets"
branch_labels = None
depends_on = None

FACTOR = sa.Numeric(24, 12)
SETTING = "current_setting('carbonapi.organization_id', true)"
FACTOR_KEYS = {
    "usages": "fk_usages_usage_type_id_emission_factor_id",
    "usage_versions": "fk_usage_versions_emission_factor_id",
}
PRIMARY_KEY = "pk_usage_days"  # The former name of the table.
FORCED = (
    "daily_totals", "emission_factors", "organizations", "usage_types", "usage_versions", "usages", "valuation_lines",
    "valuations",
)  # fmt: skip
OF_USAGE = """
    SELECT organization_id, usage_type_id, emission_factor_id, factor, method FROM {table}
"""
KEY = """
    string_agg(concat_ws(':', line, emission_factor_id, trim_scale(factor), coalesce(scope, 0), coalesce(category, ''),
                         outside_of_scopes::integer, fallback::integer), ';' ORDER BY line)
"""
CHOICES = """
    INSERT INTO valuations (organization_id, usage_type_id, region, valid_from, valid_until, current, key,
                            emission_factor_id, factor, market_factor, scope, category, outside_of_scopes,
                            location_total, market_total)
    SELECT choice.organization_id, choice.usage_type_id, f.region, f.valid_from, f.valid_until, false, choice.method,
           choice.emission_factor_id, choice.factor, choice.factor, t.scope, t.category, t.outside_of_scopes,
           choice.factor, choice.factor
    FROM (SELECT DISTINCT * FROM ({usages} UNION ALL {versions}) every) choice
    JOIN usage_types t ON t.id = choice.usage_type_id JOIN emission_factors f ON f.id = choice.emission_factor_id
"""
LINES = """
    INSERT INTO valuation_lines (organization_id, valuation_id, line, emission_factor_id, factor, scope, category,
                                 outside_of_scopes, fallback)
    SELECT organization_id, id, line, emission_factor_id, factor, scope, category, outside_of_scopes,
           line = 'market' AND key = 'location' AND scope IS NOT DISTINCT FROM 2
    FROM valuations, unnest(ARRAY['location', 'market']) AS line
"""
SET_VALUATION = """
    UPDATE {table} u SET valuation_id = v.id, market_factor = v.market_factor FROM valuations v
    WHERE v.organization_id = u.organization_id AND v.usage_type_id = u.usage_type_id
        AND v.emission_factor_id = u.emission_factor_id AND v.factor = u.factor AND v.key = u.method
"""
SET_KEY = f"""
    UPDATE valuations v SET key = lines.key
    FROM (SELECT organization_id, valuation_id, {KEY} AS key FROM valuation_lines GROUP BY 1, 2) lines
    WHERE lines.organization_id = v.organization_id AND lines.valuation_id = v.id
"""
FILL_TOTALS = """
    INSERT INTO daily_totals (organization_id, usage_type_id, day, valuation_id, restatement_id, timezone, usage_count,
                              carried_count, amount, estimated_amount, reading_hours, period_hours, hours_stale)
    SELECT u.organization_id, u.usage_type_id, d.day, u.valuation_id, coalesce(u.restatement_id, 0), o.timezone,
           count(*) FILTER (WHERE d.is_first), count(*) FILTER (WHERE NOT d.is_first), sum(d.day_amount),
           coalesce(sum(d.day_amount) FILTER (WHERE u.quality = 'estimated'), 0),
           bit_or(CASE WHEN u.adjusts_closed_period_id IS NULL THEN d.reading_hours ELSE 0 END),
           bit_or(CASE WHEN u.adjusts_closed_period_id IS NULL THEN d.period_hours ELSE 0 END), false
    FROM usages u JOIN organizations o ON o.id = u.organization_id
    CROSS JOIN LATERAL usage_by_day(o.timezone, u.usage_at, u.usage_until, u.amount_in_type_unit) d
    GROUP BY 1, 2, 3, 4, 5, 6
"""
FILL_TOTALS_BY_METHOD = """
    INSERT INTO daily_totals (organization_id, usage_type_id, day, method, restatement_id, timezone, usage_count,
                              carried_count, amount, co2e_kg, estimated_kg, reading_hours, period_hours, hours_stale)
    SELECT u.organization_id, u.usage_type_id, d.day, u.method, coalesce(u.restatement_id, 0), o.timezone,
           count(*) FILTER (WHERE d.is_first), count(*) FILTER (WHERE NOT d.is_first), sum(d.day_amount),
           sum(d.day_amount * u.factor),
           coalesce(sum(d.day_amount * u.factor) FILTER (WHERE u.quality = 'estimated'), 0),
           bit_or(CASE WHEN u.adjusts_closed_period_id IS NULL THEN d.reading_hours ELSE 0 END),
           bit_or(CASE WHEN u.adjusts_closed_period_id IS NULL THEN d.period_hours ELSE 0 END), false
    FROM usages u JOIN organizations o ON o.id = u.organization_id
    CROSS JOIN LATERAL usage_by_day(o.timezone, u.usage_at, u.usage_until, u.amount_in_type_unit) d
    GROUP BY 1, 2, 3, 4, 5, 6
"""


def upgrade() -> None:
    _create_tables()
    for table in ("usages", "usage_versions"):
        op.add_column(table, sa.Column("valuation_id", sa.BigInteger()))
        op.add_column(table, sa.Column("market_factor", FACTOR))
    _force("NO FORCE")
    usages, versions = (OF_USAGE.format(table=table) for table in ("usages", "usage_versions"))
    op.execute(CHOICES.format(usages=usages, versions=versions))
    op.execute(LINES)
    for table in ("usages", "usage_versions"):
        op.execute(SET_VALUATION.format(table=table))
    op.execute(SET_KEY)
    count = op.get_bind().scalar(sa.text("SELECT count(*) FROM usages WHERE method = 'market'"))
    if count:
        logging.getLogger("alembic.runtime.migration").warning(
            "%s usages were recorded as market-based. They now count in location-based totals too. If they repeat "
            "usages that were recorded as location-based, delete them: one usage now has both numbers.",
            count,
        )
    for table in ("usages", "usage_versions"):
        op.alter_column(table, "valuation_id", nullable=False)
        op.alter_column(table, "market_factor", nullable=False)
        op.add_column(
            table,
            sa.Column(
                "market_co2e_kg", sa.Numeric(), sa.Computed("amount_in_type_unit * market_factor", persisted=True)
            ),
        )
        op.alter_column(table, "market_co2e_kg", nullable=False)
        op.drop_constraint(FACTOR_KEYS[table], table)  # The lines of the valuation refer to the factor.
        key = ["organization_id", "usage_type_id"]
        op.create_foreign_key(f"fk_{table}_valuation_id", table, "valuations", [*key, "valuation_id"], [*key, "id"])
    op.execute("DELETE FROM daily_totals")
    op.drop_constraint(PRIMARY_KEY, "daily_totals")
    for name in ("method", "co2e_kg", "estimated_kg"):
        op.drop_column("daily_totals", name)
    op.add_column("daily_totals", sa.Column("valuation_id", sa.BigInteger(), nullable=False))
    op.add_column("daily_totals", sa.Column("estimated_amount", sa.Numeric(), nullable=False))
    op.create_primary_key(
        PRIMARY_KEY, "daily_totals", ["organization_id", "usage_type_id", "day", "valuation_id", "restatement_id"]
    )
    op.execute(FILL_TOTALS)
    op.drop_column("usages", "method")
    op.drop_column("usage_versions", "method")
    _force("FORCE")


def downgrade() -> None:
    _force("NO FORCE")
    for table in ("usages", "usage_versions"):
        op.add_column(table, sa.Column("method", sa.Text(), nullable=False, server_default="location"))
    op.create_check_constraint("method", "usages", "method IN ('location', 'market')")
    op.execute("DELETE FROM daily_totals")
    op.drop_constraint(PRIMARY_KEY, "daily_totals")
    for name in ("valuation_id", "estimated_amount"):
        op.drop_column("daily_totals", name)
    op.add_column("daily_totals", sa.Column("method", sa.Text(), nullable=False))
    for name in ("co2e_kg", "estimated_kg"):
        op.add_column("daily_totals", sa.Column(name, sa.Numeric(), nullable=False))
    op.create_primary_key(
        PRIMARY_KEY, "daily_totals", ["organization_id", "usage_type_id", "day", "method", "restatement_id"]
    )
    op.execute(FILL_TOTALS_BY_METHOD)
    for table in ("usages", "usage_versions"):
        for column in ("market_co2e_kg", "market_factor", "valuation_id"):
            op.drop_column(table, column)
        key = ["usage_type_id", "emission_factor_id"]
        op.create_foreign_key(FACTOR_KEYS[table], table, "emission_factors", key, ["usage_type_id", "id"])
    _force("FORCE")
    for table in ("valuation_lines", "valuations", "upstream_lines"):
        op.drop_table(table)


def _create_tables() -> None:
    key = sa.BigInteger()
    op.create_table(
        "upstream_lines",
        sa.Column("id", key, sa.Identity(always=True), primary_key=True),
        sa.Column("usage_type_id", key, sa.ForeignKey("usage_types.id"), nullable=False),
        sa.Column("organization_id", key, sa.ForeignKey("organizations.id")),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("factor_type_id", key, sa.ForeignKey("usage_types.id"), nullable=False),
        sa.CheckConstraint("line ~ '^[a-z][a-z0-9_]{0,49}$' AND line NOT IN ('location', 'market')", name="line"),
        sa.CheckConstraint("factor_type_id <> usage_type_id", name="factor_type"),
    )
    owner = sa.text("coalesce(organization_id, 0)")
    op.create_index("uq_upstream_lines", "upstream_lines", [owner, "usage_type_id", "line"], unique=True)
    op.create_index("ix_upstream_lines_by_factor_type", "upstream_lines", ["factor_type_id"])
    op.create_table(
        "valuations",
        sa.Column("organization_id", key, primary_key=True, autoincrement=False),
        sa.Column("id", key, sa.Identity(always=True), primary_key=True),
        sa.Column("usage_type_id", key, sa.ForeignKey("usage_types.id"), nullable=False),
        sa.Column("region", sa.Text()),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True)),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("emission_factor_id", key, nullable=False),
        sa.Column("factor", FACTOR, nullable=False),
        sa.Column("market_factor", FACTOR, nullable=False),
        sa.Column("scope", sa.SmallInteger()),
        sa.Column("category", sa.Text()),
        sa.Column("outside_of_scopes", sa.Boolean(), nullable=False),
        sa.Column("location_total", sa.Numeric(), nullable=False),
        sa.Column("market_total", sa.Numeric(), nullable=False),
        sa.UniqueConstraint("organization_id", "usage_type_id", "id"),
    )
    op.execute(
        """
        ALTER TABLE valuations ADD CONSTRAINT ex_valuations_validity EXCLUDE USING gist (
            organization_id WITH =, usage_type_id WITH =, coalesce(region, '') WITH =,
            tstzrange(valid_from, valid_until) WITH &&) WHERE (current)
        """
    )
    of_type = ["organization_id", "usage_type_id"]
    op.create_index(
        "ix_valuations_current", "valuations", [*of_type, "valid_from"], postgresql_where=sa.text("current")
    )
    op.create_index("ix_valuations_by_type", "valuations", [*of_type, "key"])
    op.create_table(
        "valuation_lines",
        sa.Column("organization_id", key, primary_key=True, autoincrement=False),
        sa.Column("valuation_id", key, primary_key=True, autoincrement=False),
        sa.Column("line", sa.Text(), primary_key=True),
        sa.Column("emission_factor_id", key, sa.ForeignKey("emission_factors.id"), nullable=False),
        sa.Column("factor", FACTOR, nullable=False),
        sa.Column("scope", sa.SmallInteger()),
        sa.Column("category", sa.Text()),
        sa.Column("outside_of_scopes", sa.Boolean(), nullable=False),
        sa.Column("fallback", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["organization_id", "valuation_id"], ["valuations.organization_id", "valuations.id"]),
    )
    op.create_index("ix_valuation_lines_by_factor", "valuation_lines", ["emission_factor_id"])
    for table in ("upstream_lines", "valuations", "valuation_lines"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING (organization_id = nullif({SETTING}, '')::bigint)")
        op.execute(f"CREATE POLICY all_organizations ON {table} TO carbonapi_all_organizations USING (true)")
    op.execute("CREATE POLICY shared ON upstream_lines FOR SELECT USING (organization_id IS NULL)")


def _force(how: str) -> None:
    """Let the owner of the tables see the rows of all organizations, or not."""
    for table in FORCED:
        op.execute(f"ALTER TABLE {table} {how} ROW LEVEL SECURITY")

"""Add sites and meters, ownership of sites, the members of sites, and the site and meter of a usage.

The path of a site consists of the ids from the root of its tree to itself, so that descendants are found by one
comparison.
"""

import sqlalchemy as sa
from alembic import op

revision = "sites_and_meters"
down_revision = "provisional_valuations"
branch_labels = None
depends_on = None

SETTING = "current_setting('carbonapi.organization_id', true)"
TABLES = ("sites", "site_shares", "meters", "user_sites")
USAGES = ("usages", "usage_versions")
# The sites of a member, and the sites below them; null without any.
MEMBER_SITES = """
CREATE FUNCTION member_sites(organization_id bigint, user_id bigint) RETURNS bigint[]
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT array_agg(DISTINCT site.id)
    FROM user_sites given
    JOIN sites site ON site.organization_id = given.organization_id AND site.path @> ARRAY[given.site_id]
    WHERE given.organization_id = $1 AND given.user_id = $2
$$
"""
FORCED = ("organizations", "users", *TABLES, *USAGES)


def upgrade() -> None:
    key, instant = sa.BigInteger(), sa.DateTime(timezone=True)
    site = ["sites.organization_id", "sites.id"]
    op.create_table(
        "sites",
        *_tenant_key(),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parent_id", key),
        sa.Column("ancestor_ids", sa.ARRAY(key), nullable=False, server_default="{}"),
        sa.Column("path", sa.ARRAY(key), sa.Computed("array_append(ancestor_ids, id)", persisted=True), nullable=False),
        sa.Column("region", sa.Text()),
        sa.Column("external_id", sa.Text()),
        sa.Column("archived", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("created_at", instant, nullable=False, server_default=sa.func.now()),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"]),
        sa.ForeignKeyConstraint(["organization_id", "parent_id"], site),
        sa.UniqueConstraint("organization_id", "external_id", name="uq_sites_external_id"),
        sa.CheckConstraint("cardinality(ancestor_ids) < 10", name="levels"),
        sa.CheckConstraint("id <> ALL (ancestor_ids)", name="cycle"),
        sa.CheckConstraint("parent_id IS NOT DISTINCT FROM ancestor_ids[cardinality(ancestor_ids)]", name="parent_id"),
    )
    name_key = ["organization_id", sa.text("coalesce(parent_id, 0)"), "name"]
    op.create_index("uq_sites_name", "sites", name_key, unique=True)
    op.create_index("ix_sites_by_parent", "sites", ["organization_id", "parent_id"])
    op.create_table(
        "site_shares",
        sa.Column("organization_id", key, primary_key=True, autoincrement=False),
        sa.Column("site_id", key, primary_key=True, autoincrement=False),
        sa.Column("valid_from", sa.Date(), primary_key=True),
        sa.Column("equity_share", sa.Numeric(7, 6), nullable=False),
        sa.Column("financial_control", sa.Boolean(), nullable=False),
        sa.Column("operational_control", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["organization_id", "site_id"], site),
        sa.CheckConstraint("equity_share BETWEEN 0 AND 1", name="equity_share"),
    )
    op.create_table(
        "meters",
        *_tenant_key(),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("site_id", key, nullable=False),
        sa.Column("usage_type_id", key, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text()),
        sa.Column("valid_from", instant),
        sa.Column("valid_until", instant),
        sa.Column("replaced_by_id", key),
        sa.Column("archived", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("created_at", instant, nullable=False, server_default=sa.func.now()),
        # Usages and replacements refer to all three columns: they have the usage type of their meter.
        sa.UniqueConstraint("organization_id", "usage_type_id", "id", name="uq_meters_usage_type_id"),
        sa.UniqueConstraint("organization_id", "external_id", name="uq_meters_external_id"),
        sa.UniqueConstraint("organization_id", "site_id", "name", name="uq_meters_name"),
        sa.ForeignKeyConstraint(["organization_id", "site_id"], site),
        sa.ForeignKeyConstraint(["usage_type_id"], ["usage_types.id"]),
        sa.ForeignKeyConstraint(
            ["organization_id", "usage_type_id", "replaced_by_id"],
            ["meters.organization_id", "meters.usage_type_id", "meters.id"],
            name="fk_meters_replaced_by_id",
        ),
        sa.CheckConstraint("valid_until > valid_from", name="validity"),
        sa.CheckConstraint("replaced_by_id <> id", name="replaced_by_id"),
    )
    op.create_index("ix_meters_by_replacement", "meters", ["organization_id", "replaced_by_id"])
    op.create_table(
        "user_sites",
        *(sa.Column(name, key, primary_key=True, autoincrement=False) for name in
          ("organization_id", "user_id", "site_id")),
        sa.ForeignKeyConstraint(["organization_id", "user_id"], ["users.organization_id", "users.id"]),
        sa.ForeignKeyConstraint(["organization_id", "site_id"], site),
    )  # fmt: skip
    op.create_index("ix_user_sites_by_site", "user_sites", ["organization_id", "site_id"])
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING (organization_id = nullif({SETTING}, '')::bigint)")
        op.execute(f"CREATE POLICY all_organizations ON {table} TO carbonapi_all_organizations USING (true)")
    op.execute(MEMBER_SITES)
    _force("NO FORCE")
    meter = ["meters.organization_id", "meters.usage_type_id", "meters.id"]
    for table in USAGES:
        for name in ("site_id", "meter_id"):
            op.add_column(table, sa.Column(name, key))
        op.create_foreign_key(None, table, "sites", ["organization_id", "site_id"], ["organization_id", "id"])
        columns = ["organization_id", "usage_type_id", "meter_id"]
        op.create_foreign_key(
            f"fk_{table}_meter_id", table, "meters", columns, [column.partition(".")[2] for column in meter]
        )
    _index_usages("uq_usages_meter", "usages", "meter_id", "usage_at", unique=True)
    _index_usages("ix_usages_by_site", "usages", "site_id", "usage_at", "id")
    _index_usages("ix_usage_versions_by_meter", "usage_versions", "meter_id")
    _index_usages("ix_usage_versions_by_site", "usage_versions", "site_id", "superseded_at", "id")
    _force("FORCE")


def downgrade() -> None:
    op.execute("DROP FUNCTION member_sites(bigint, bigint)")
    for table in USAGES:
        for name in ("site_id", "meter_id"):
            op.drop_column(table, name)
    for table in reversed(TABLES):
        op.drop_table(table)


def _tenant_key() -> tuple[sa.Column, sa.Column]:
    return (
        sa.Column("organization_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
    )


def _index_usages(name: str, table: str, *columns: str, unique: bool = False) -> None:
    """Create an index of the usages that have a site or a meter: the first of the columns."""
    where = sa.text(f"{columns[0]} IS NOT NULL")
    op.create_index(name, table, ["organization_id", *columns], unique=unique, postgresql_where=where)


def _force(how: str) -> None:
    """Let the owner of the tables see the rows of all organizations, or not."""
    for table in FORCED:
        op.execute(f"ALTER TABLE {table} {how} ROW LEVEL SECURITY")

"""Add row-level security: a connection sees the rows of the organization in its setting carbonapi.organization_id.

The policies read the setting in a sub-select, so once for each statement instead of once for each row.
"""

import sqlalchemy as sa
from alembic import op

revision = "row_level_security"
down_revision = "kept_answers"
branch_labels = None
depends_on = None

OWNED_BY = {
    "organizations": "id",
    "users": "organization_id",
    "sessions": "organization_id",
    "emission_factors": "organization_id",
    "usages": "organization_id",
    "usage_versions": "organization_id",
    "usage_days": "organization_id",
    "periods": "organization_id",
    "imports": "organization_id",
    "import_faults": "organization_id",
    "import_uploads": "organization_id",
    "import_chunks": "organization_id",
    "restatements": "organization_id",
    "kept_answers": "organization_id",
    "audit_entries": "organization_id",
}
SETTING = "current_setting('carbonapi.organization_id', true)"
# After a transaction that set it with SET LOCAL, the setting is an empty text.
CURRENT = f"(SELECT nullif(nullif({SETTING}, ''), '*')::bigint)"
EVERYWHERE = f"(SELECT {SETTING} = '*')"


def upgrade() -> None:
    # Under a policy, PostgreSQL cannot use an index on lower(email), since lower() is not leakproof.
    op.add_column("users", sa.Column("email_key", sa.Text(), sa.Computed("lower(email)", persisted=True)))
    op.drop_index("uq_users_email", table_name="users")
    op.create_index("uq_users_email", "users", ["email_key"], unique=True)
    for table, column in OWNED_BY.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")  # Applies to the owner too.
        op.execute(f"CREATE POLICY tenant ON {table} USING ({column} = {CURRENT} OR {EVERYWHERE})")
    op.execute("CREATE POLICY shared ON emission_factors FOR SELECT USING (organization_id IS NULL)")


def downgrade() -> None:
    op.execute("DROP POLICY shared ON emission_factors")
    for table in OWNED_BY:
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.drop_index("uq_users_email", table_name="users")
    op.create_index("uq_users_email", "users", [sa.text("lower(email)")], unique=True)
    op.drop_column("users", "email_key")

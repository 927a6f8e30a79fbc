"""Compare rows with the organization of the transaction alone, and show all rows to a role of its own.

PostgreSQL evaluates such a policy once for a statement that names the organization, and Citus accepts it.
"""

from alembic import op

revision = "policies_by_role"
down_revision = "scope_of_transactions"
branch_labels = None
depends_on = None

ALL_ORGANIZATIONS = "carbonapi_all_organizations"  # `carbonapi migrate` creates it before.
SETTING = "current_setting('carbonapi.organization_id', true)"
KEY = {"organizations": "id"}  # The column with the organization. In all other tables it is organization_id.
TABLES = (
    "api_keys",
    "audit_entries",
    "closed_periods",
    "daily_totals",
    "emission_factors",
    "idempotency_records",
    "import_chunks",
    "import_row_errors",
    "import_uploads",
    "imports",
    "organizations",
    "password_tokens",
    "restatements",
    "sessions",
    "usage_versions",
    "usages",
    "users",
)


def upgrade() -> None:
    for table in TABLES:
        current = f"{KEY.get(table, 'organization_id')} = nullif({SETTING}, '')::bigint"
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({current})")
        op.execute(f"CREATE POLICY all_organizations ON {table} TO {ALL_ORGANIZATIONS} USING (true)")
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION carbonapi_use_organization(scope text) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            IF scope = '*' THEN
                SET LOCAL carbonapi.organization_id = '';
                SET LOCAL ROLE {ALL_ORGANIZATIONS};
            ELSE
                SET LOCAL ROLE NONE;
                EXECUTE format('SET LOCAL carbonapi.organization_id = %L', scope);
            END IF;
        END
        $$
        """
    )


def downgrade() -> None:
    op.execute(
        """
        CREATE OR REPLACE FUNCTION carbonapi_use_organization(scope text) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            EXECUTE format('SET LOCAL carbonapi.organization_id = %L', scope);
        END
        $$
        """
    )
    for table in TABLES:
        current = f"{KEY.get(table, 'organization_id')} = (SELECT nullif(nullif({SETTING}, ''), '*')::bigint)"
        op.execute(f"DROP POLICY all_organizations ON {table}")
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({current} OR (SELECT {SETTING} = '*'))")

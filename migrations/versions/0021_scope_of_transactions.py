"""Add carbonapi_use_organization, which sets the organization whose rows a transaction sees."""

from alembic import op

revision = "scope_of_transactions"
down_revision = "local_time_functions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # On Citus, only SET LOCAL within a function reaches the other machines.
    op.execute(
        """
        CREATE FUNCTION carbonapi_use_organization(scope text) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            EXECUTE format('SET LOCAL carbonapi.organization_id = %L', scope);
        END
        $$
        """
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION carbonapi_use_organization(text)")

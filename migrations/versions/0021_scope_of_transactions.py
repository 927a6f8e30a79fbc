"""Add the functions that set the organization of a transaction, and that take the time at which it records."""

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
    # 6120743 is LOCK_CLASS in usages/recording_time.py.
    op.execute(
        """
        CREATE FUNCTION recording_time(organization_id bigint) RETURNS timestamptz LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(6120743, (organization_id % 2147483647)::integer);
            RETURN clock_timestamp();
        END
        $$
        """
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION recording_time(bigint)")
    op.execute("DROP FUNCTION carbonapi_use_organization(text)")

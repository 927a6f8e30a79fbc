"""Add the functions that set the organization of a transaction and take its time of recording, and indexes by time."""

from alembic import op

revision = "scope_of_transactions"
down_revision = "imports_by_file"
branch_labels = None
depends_on = None

# For the feed of changes.
INDEXES = (
    ("ix_usages_by_recording", "usages", ["recorded_at", "id"]),
    ("ix_usage_versions_by_recording", "usage_versions", ["recorded_at", "id"]),
    ("ix_usage_versions_by_end", "usage_versions", ["superseded_at", "id"]),
)


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
    for name, table, columns in INDEXES:
        op.create_index(name, table, ["organization_id", *columns])
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
    for name, table, _ in INDEXES:
        op.drop_index(name, table_name=table)
    op.execute("DROP FUNCTION recording_time(bigint)")
    op.execute("DROP FUNCTION carbonapi_use_organization(text)")

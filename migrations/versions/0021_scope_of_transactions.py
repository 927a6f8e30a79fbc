"""Add the functions that set the organization of a transaction and take its time of recording, and indexes by time."""

import sqlalchemy as sa
from alembic import op

revision = "scope_of_transactions"
down_revision = "imports_by_file"
branch_labels = None
depends_on = None

# For the feed of changes.
INDEXES = (
    ("ix_usages_by_recording", "usages", ["recorded_at", "id"], None),
    ("ix_usage_versions_by_recording", "usage_versions", ["recorded_at", "id"], None),
    ("ix_usage_versions_by_deletion", "usage_versions", ["superseded_at", "id"], "deleted"),
    ("ix_usage_versions_by_user", "usage_versions", ["user_id", "superseded_at", "id"], None),
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
    for name, table, columns, condition in INDEXES:
        where = sa.text(condition) if condition else None
        op.create_index(name, table, ["organization_id", *columns], postgresql_where=where)
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
    for name, table, *_ in INDEXES:
        op.drop_index(name, table_name=table)
    op.execute("DROP FUNCTION recording_time(bigint)")
    op.execute("DROP FUNCTION carbonapi_use_organization(text)")

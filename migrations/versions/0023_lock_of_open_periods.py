"""Let writers of usages keep the periods of their organization open, and check them when they take their time."""

from alembic import op

revision = "lock_of_open_periods"
down_revision = "policies_by_role"
branch_labels = None
depends_on = None

RECORDING_TIME = """
    CREATE OR REPLACE FUNCTION recording_time(organization_id bigint) RETURNS timestamptz LANGUAGE plpgsql AS $$
    BEGIN
        {keep_periods_open}
        PERFORM pg_advisory_xact_lock_shared(6120743, (organization_id % 2147483647)::integer);
        RETURN clock_timestamp();
    END
    $$
"""


def upgrade() -> None:
    # 6120744 is LOCK_CLASS in periods/service.py.
    op.execute(
        """
        CREATE FUNCTION keep_periods_open(organization_id bigint) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(6120744, (organization_id % 2147483647)::integer);
        END
        $$
        """
    )
    op.execute(RECORDING_TIME.format(keep_periods_open="PERFORM keep_periods_open(organization_id);"))
    # A function sees what has been committed since the statement that calls it began, and so while it waited.
    op.execute(
        """
        CREATE FUNCTION recording_time_if_open(organization_id bigint, usage_at timestamptz) RETURNS timestamptz
        LANGUAGE plpgsql AS $$
        DECLARE
            moment timestamptz := recording_time(organization_id);
        BEGIN
            IF EXISTS (
                SELECT FROM closed_periods period
                WHERE period.organization_id = recording_time_if_open.organization_id
                    AND period.reopened_at IS NULL AND period.until > usage_at
            ) THEN
                RETURN NULL;
            END IF;
            RETURN moment;
        END
        $$
        """
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION recording_time_if_open(bigint, timestamptz)")
    op.execute(RECORDING_TIME.format(keep_periods_open=""))
    op.execute("DROP FUNCTION keep_periods_open(bigint)")

"""Create daily totals: sums of usages by local day, which each write updates."""

import sqlalchemy as sa
from alembic import op

revision = "usage_days"
down_revision = "import_outcomes"
branch_labels = None
depends_on = None

# Sum existing usages by local day. A reading counts to its local day and hour. A usage with an interval is prorated
# over the days of the interval: the amount up to each midnight is rounded half up at the twelfth digit, and the share
# of a day is the difference between its two midnights. Where clocks are set back, a day starts at the first midnight.
# Where they are set back across midnight, the local time is midnight until they show midnight again.
CLOCK = """
    SELECT CASE WHEN extract(hour FROM shown) >= 22 AND moment >= CASE
               WHEN first_begin AT TIME ZONE timezone = midnight THEN least(first_begin, last_begin) ELSE last_begin END
           THEN midnight ELSE shown END AS shown
    FROM (SELECT *, last_begin - interval '25 hours'
                    + (midnight - (last_begin - interval '25 hours') AT TIME ZONE timezone) AS first_begin
          FROM (SELECT *, midnight AT TIME ZONE timezone AS last_begin
                FROM (SELECT {of}.moment, o.timezone, {of}.moment AT TIME ZONE o.timezone AS shown,
                             (({of}.moment AT TIME ZONE o.timezone)::date + 1)::timestamp AS midnight) a) b) c
"""
FILL = """
WITH local AS (
    SELECT u.organization_id, u.usage_type_id, u.method, coalesce(u.restatement_id, 0) AS restatement_id, o.timezone,
           u.usage_at, u.usage_until, u.amount_in_type_unit, u.factor, u.co2e_kg, u.quality,
           u.adjusts_period_id IS NULL AS is_data,
           clock.shown, last_clock.shown AS last_shown
    FROM usages u JOIN organizations o ON o.id = u.organization_id
    CROSS JOIN LATERAL (SELECT u.usage_at AS moment) at
    CROSS JOIN LATERAL ({clock_at}) clock
    CROSS JOIN LATERAL (SELECT u.usage_until - interval '1 microsecond' AS moment) until
    CROSS JOIN LATERAL ({clock_until}) last_clock
), midnights AS (
    SELECT timezone, midnight, midnight AT TIME ZONE timezone AS last_begin
    FROM (SELECT timezone, min(shown::date) AS first, max(last_shown::date) AS last
          FROM local WHERE usage_until IS NOT NULL GROUP BY timezone) reach,
         generate_series(first::timestamp, (last + 1)::timestamp, interval '1 day') midnight
), begins AS (
    SELECT timezone, midnight::date AS day,
           CASE WHEN first_begin AT TIME ZONE timezone = midnight
                THEN least(first_begin, last_begin) ELSE last_begin END AS day_begin
    FROM (SELECT timezone, midnight, last_begin, last_begin - interval '25 hours'
                 + (midnight - (last_begin - interval '25 hours') AT TIME ZONE timezone) AS first_begin
          FROM midnights) found
), days AS (
    SELECT timezone, day, day_begin, lead(day_begin) OVER (PARTITION BY timezone ORDER BY day) AS day_end FROM begins
), touched AS (
    SELECT local.*, day, day_begin, day_end,
           extract(epoch FROM usage_until - usage_at)::numeric AS seconds,
           extract(epoch FROM greatest(day_begin, usage_at) - usage_at)::numeric AS before_seconds,
           extract(epoch FROM least(day_end, usage_until) - usage_at)::numeric AS until_seconds
    FROM local JOIN days USING (timezone)
    WHERE usage_until IS NOT NULL AND day BETWEEN shown::date AND last_shown::date AND day_begin < day_end
), spread AS (
    SELECT touched.*, sign(amount_in_type_unit) * 0.000000000001 * (
               div(2e12 * abs(amount_in_type_unit) * until_seconds + seconds, 2 * seconds)
               - div(2e12 * abs(amount_in_type_unit) * before_seconds + seconds, 2 * seconds)) AS part,
           CASE WHEN usage_at >= day_begin THEN extract(hour FROM shown)::int ELSE 0 END AS first_hour,
           CASE WHEN usage_until <= day_end THEN extract(hour FROM last_shown)::int ELSE 23 END AS last_hour
    FROM touched
), parts AS (
    SELECT organization_id, usage_type_id, shown::date AS day, method, restatement_id, timezone, quality,
           1 AS begins, 0 AS carries, amount_in_type_unit AS amount, co2e_kg,
           CASE WHEN is_data THEN 1 << extract(hour FROM shown)::int ELSE 0 END AS reading_hours, 0 AS period_hours
    FROM local WHERE usage_until IS NULL
    UNION ALL
    SELECT organization_id, usage_type_id, day, method, restatement_id, timezone, quality,
           (usage_at >= day_begin)::int, (usage_at < day_begin)::int, part, part * factor, 0,
           CASE WHEN is_data THEN (16777215 >> (23 - greatest(first_hour, last_hour)))
                                  & (16777215 << least(first_hour, last_hour)) ELSE 0 END
    FROM spread
)
INSERT INTO usage_days (organization_id, usage_type_id, day, method, restatement_id, timezone, usage_count,
                        carried_count, amount, co2e_kg, estimated_kg, reading_hours, period_hours, hours_are_doubtful)
SELECT organization_id, usage_type_id, day, method, restatement_id, timezone, sum(begins), sum(carries), sum(amount),
       sum(co2e_kg), coalesce(sum(co2e_kg) FILTER (WHERE quality = 'estimated'), 0), bit_or(reading_hours),
       bit_or(period_hours), false
FROM parts GROUP BY 1, 2, 3, 4, 5, 6
"""


def upgrade() -> None:
    op.create_check_constraint(op.f("ck_usages_length"), "usages", "usage_until - usage_at <= interval '3653 days'")
    op.create_unique_constraint("uq_organizations_timezone", "organizations", ["id", "timezone"])
    op.create_table(
        "usage_days",
        sa.Column("organization_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("usage_type_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("restatement_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("usage_count", sa.BigInteger(), nullable=False),
        sa.Column("carried_count", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("co2e_kg", sa.Numeric(), nullable=False),
        sa.Column("estimated_kg", sa.Numeric(), nullable=False),
        sa.Column("reading_hours", sa.Integer(), nullable=False),
        sa.Column("period_hours", sa.Integer(), nullable=False),
        sa.Column("hours_are_doubtful", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "timezone"],
            ["organizations.id", "organizations.timezone"],
            name=op.f("fk_usage_days_organization_id_timezone"),
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "usage_type_id", "day", "method", "restatement_id", name=op.f("pk_usage_days")
        ),
    )
    op.create_index(
        "ix_usage_days_doubtful",
        "usage_days",
        ["organization_id"],
        unique=False,
        postgresql_where=sa.text("hours_are_doubtful"),
    )
    op.execute(FILL.format(clock_at=CLOCK.format(of="at"), clock_until=CLOCK.format(of="until")))


def downgrade() -> None:
    op.drop_index("ix_usage_days_doubtful", table_name="usage_days", postgresql_where=sa.text("hours_are_doubtful"))
    op.drop_table("usage_days")
    op.drop_constraint("uq_organizations_timezone", "organizations", type_="unique")
    op.drop_constraint(op.f("ck_usages_length"), "usages")

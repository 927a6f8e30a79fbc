"""Split intervals over a change of factor by days, if the organization says so.

`valuation_segments` are the parts of such a valuation. A usage has the kg CO2e that its later parts add in columns of
their own, so that its kg CO2e remain generated and exact. Existing organizations keep the factor of the start.
"""

import sqlalchemy as sa
from alembic import op

revision = "factor_splits"
down_revision = "restatements_of_sets"
branch_labels = None
depends_on = None

SETTING = "current_setting('carbonapi.organization_id', true)"
FORCED = (
    "daily_totals", "organizations", "usage_versions", "usages", "valuation_lines", "valuation_segments", "valuations",
)  # fmt: skip
USAGES = ("usages", "usage_versions")
# The columns that PostgreSQL generates, with the factor of each and the column of what later parts add.
GENERATED = {"co2e_kg": ("factor", "split_co2e_kg"), "market_co2e_kg": ("market_factor", "split_market_co2e_kg")}
USAGE_BY_DAY = """
CREATE FUNCTION usage_by_day(
    timezone text, usage_at timestamptz, usage_until timestamptz, amount numeric,
    OUT day date, OUT is_first boolean, OUT day_amount numeric, OUT reading_hours integer, OUT period_hours integer
) RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
DECLARE
    first_time CONSTANT timestamp := local_clock(timezone, usage_at);
    last_time CONSTANT timestamp := local_clock(timezone, usage_until - interval '1 microsecond');
    last_day CONSTANT date := last_time::date;
    range_start timestamptz := usage_at;
    range_end timestamptz;
BEGIN
    day := first_time::date;
    is_first := true;
    reading_hours := 0;
    period_hours := 0;
    IF usage_until IS NULL THEN
        day_amount := amount;
        reading_hours := 1 << extract(hour FROM first_time)::integer;
        RETURN NEXT;
        RETURN;
    END IF;
    WHILE day <= last_day LOOP
        range_end := CASE WHEN day < last_day THEN day_start(timezone, day + 1) ELSE usage_until END;
        -- A day that the zone skipped has no time in it.
        IF range_start < range_end THEN
            day_amount := prorated_amount(amount, usage_at, usage_until, range_start, range_end);
            period_hours := interval_hours(first_time, last_time, day);
            RETURN NEXT;
            is_first := false;
            range_start := range_end;
        END IF;
        day := day + 1;
    END LOOP;
END
$$
"""
FIRST_SEGMENTS = """
    SELECT DISTINCT ON (organization_id, valuation_id) organization_id, valuation_id, segment_id
    FROM valuation_segments ORDER BY organization_id, valuation_id, starts_at
"""
COPY_LINES = f"""
    INSERT INTO valuation_lines (organization_id, valuation_id, line, emission_factor_id, factor, scope, category,
                                 outside_of_scopes, fallback)
    SELECT first.organization_id, first.valuation_id, line, emission_factor_id, factor, scope, category,
           outside_of_scopes, fallback
    FROM ({FIRST_SEGMENTS}) first JOIN valuation_lines l
        ON l.organization_id = first.organization_id AND l.valuation_id = first.segment_id
"""
COPY_KEYS = f"""
    UPDATE valuations v SET key = segment.key
    FROM ({FIRST_SEGMENTS}) first JOIN valuations segment
        ON segment.organization_id = first.organization_id AND segment.id = first.segment_id
    WHERE v.organization_id = first.organization_id AND v.id = first.valuation_id
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
FUNCTIONS = {
    # The time whose factors a usage has at an instant. Usages shorter than a day have those of their start. A day has
    # those that are valid just before its noon, so a change takes effect at the nearest midnight.
    "factor_time(timestamptz, timestamptz, timestamptz, text, text)": """
CREATE FUNCTION factor_time(
    instant timestamptz, usage_at timestamptz, usage_until timestamptz, timezone text, factor_split text
) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN usage_until - usage_at >= interval '23 hours' AND factor_split = 'days'
        THEN day_start(timezone, local_clock(timezone, instant)::date) + interval '11:59:59.999999'
    ELSE usage_at
END
""",
    "factor_change(text, timestamptz)": """
CREATE FUNCTION factor_change(timezone text, instant timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN day_start(timezone, local_clock(timezone, instant - interval '12 hours')::date + 1)
""",
    # The parts within a range of an interval: one for each segment of its valuation, or a single one without segments.
    # split_id: the valuation, or null if it has no segments.
    "usage_parts(bigint, bigint, bigint, numeric, timestamptz, timestamptz, timestamptz, timestamptz)": """
CREATE FUNCTION usage_parts(
    organization_id bigint, valuation_id bigint, split_id bigint, amount numeric, usage_at timestamptz,
    usage_until timestamptz, range_start timestamptz, range_end timestamptz
) RETURNS TABLE (
    part_valuation_id bigint, part_start timestamptz, part_end timestamptz, part_amount numeric, is_first boolean
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1 AS $$
    SELECT coalesce(segment.segment_id, $2),
           greatest($7, $5, segment.starts_at),
           least($8, $6, segment.ends_at),
           prorated_amount($4, $5, $6, greatest($7, $5, segment.starts_at), least($8, $6, segment.ends_at)),
           coalesce(segment.starts_at <= greatest($7, $5), true)
    FROM (SELECT) AS one LEFT JOIN valuation_segments segment
        ON segment.organization_id = $1 AND segment.valuation_id = $3 AND segment.starts_at < least($8, $6)
            AND coalesce(segment.ends_at > greatest($7, $5), true)
$$
""",
    # The kg CO2e that the later parts of a split interval add to its amount times the factors of its first part.
    "split_difference(bigint, bigint, numeric, timestamptz, timestamptz)": """
CREATE FUNCTION split_difference(
    organization_id bigint, split_id bigint, amount numeric, usage_at timestamptz, usage_until timestamptz,
    OUT split_co2e_kg numeric, OUT split_market_co2e_kg numeric
)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
BEGIN
    SELECT sum(part.part_amount * (later.factor - first.factor)),
           sum(part.part_amount * (later.market_factor - first.market_factor))
    INTO split_co2e_kg, split_market_co2e_kg
    FROM usage_parts($1, $2, $2, $3, $4, $5, $4, $5) part
    JOIN valuations later ON later.organization_id = $1 AND later.id = part.part_valuation_id
    JOIN valuations first ON first.organization_id = $1 AND first.id = $2;
END
$$
""",
    # One row for each local day that a usage touches, in order; of a split interval, one for each of its parts.
    # A usage is counted once on each day: on its first in usage_count, on the others in carried_count.
    "usage_by_day(text, timestamptz, timestamptz, numeric, bigint, bigint, bigint)": """
CREATE FUNCTION usage_by_day(
    timezone text, usage_at timestamptz, usage_until timestamptz, amount numeric, organization_id bigint,
    valuation_id bigint, split_id bigint, OUT day date, OUT day_valuation_id bigint, OUT usage_count integer,
    OUT carried_count integer, OUT day_amount numeric, OUT reading_hours integer, OUT period_hours integer
) RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
DECLARE
    first_time CONSTANT timestamp := local_clock(timezone, usage_at);
    last_time CONSTANT timestamp := local_clock(timezone, usage_until - interval '1 microsecond');
    last_day CONSTANT date := last_time::date;
    range_start timestamptz := usage_at;
    range_end timestamptz;
    is_counted boolean;
BEGIN
    day := first_time::date;
    day_valuation_id := valuation_id;
    usage_count := 1;
    carried_count := 0;
    reading_hours := 0;
    period_hours := 0;
    IF usage_until IS NULL THEN
        day_amount := amount;
        reading_hours := 1 << extract(hour FROM first_time)::integer;
        RETURN NEXT;
        RETURN;
    END IF;
    WHILE day <= last_day LOOP
        range_end := CASE WHEN day < last_day THEN day_start(timezone, day + 1) ELSE usage_until END;
        -- A day that the zone skipped has no time in it.
        IF range_start < range_end THEN
            period_hours := interval_hours(first_time, last_time, day);
            IF split_id IS NULL THEN
                usage_count := (range_start = usage_at)::integer;
                carried_count := 1 - usage_count;
                day_amount := prorated_amount(amount, usage_at, usage_until, range_start, range_end);
                RETURN NEXT;
            ELSE
                -- Rows of a day are written in the order of their keys.
                FOR day_valuation_id, day_amount, is_counted IN
                    SELECT part_valuation_id, part_amount, is_first
                    FROM usage_parts($5, $6, $7, $4, $2, $3, range_start, range_end)
                    ORDER BY part_valuation_id
                LOOP
                    usage_count := (is_counted AND range_start = usage_at)::integer;
                    carried_count := (is_counted AND range_start > usage_at)::integer;
                    RETURN NEXT;
                END LOOP;
            END IF;
            range_start := range_end;
        END IF;
        day := day + 1;
    END LOOP;
END
$$
""",
}


def upgrade() -> None:
    op.add_column("organizations", sa.Column("factor_split", sa.Text(), nullable=False, server_default="start"))
    op.alter_column("organizations", "factor_split", server_default="days")
    op.create_check_constraint("factor_split", "organizations", "factor_split IN ('days', 'start')")
    for name in ("last_valid_from", "last_valid_until"):
        op.add_column("valuations", sa.Column(name, sa.DateTime(timezone=True)))
    op.add_column("valuations", sa.Column("split", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.alter_column("valuations", "split", server_default=None)
    _force("NO FORCE")
    op.execute("UPDATE valuations SET last_valid_from = valid_from, last_valid_until = valid_until")
    op.alter_column("valuations", "last_valid_from", nullable=False)
    _exclude("tstzrange(valid_from, valid_until) WITH &&, tstzrange(last_valid_from, last_valid_until) WITH &&")
    key = sa.BigInteger()
    valuation = ["valuations.organization_id", "valuations.id"]
    op.create_table(
        "valuation_segments",
        sa.Column("organization_id", key, primary_key=True, autoincrement=False),
        sa.Column("valuation_id", key, primary_key=True, autoincrement=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("ends_at", sa.DateTime(timezone=True)),
        sa.Column("segment_id", key, nullable=False),
        sa.ForeignKeyConstraint(["organization_id", "valuation_id"], valuation),
        sa.ForeignKeyConstraint(["organization_id", "segment_id"], valuation),
        sa.CheckConstraint("ends_at > starts_at", name="ends_at"),
    )
    op.create_index("ix_valuation_segments_by_segment", "valuation_segments", ["organization_id", "segment_id"])
    op.execute("ALTER TABLE valuation_segments ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE valuation_segments FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON valuation_segments USING (organization_id = nullif({SETTING}, '')::bigint)")
    op.execute("CREATE POLICY all_organizations ON valuation_segments TO carbonapi_all_organizations USING (true)")
    for table in USAGES:
        for name, (factor, split) in GENERATED.items():
            op.add_column(table, sa.Column(split, sa.Numeric()))
            _generate(table, name, f"amount_in_type_unit * {factor} + coalesce({split}, 0)")
    op.execute("DROP FUNCTION usage_by_day(text, timestamptz, timestamptz, numeric)")
    for definition in FUNCTIONS.values():
        op.execute(definition)
    _force("FORCE")


def downgrade() -> None:
    """Go back to the factors of the start, also for usages that are split. It rebuilds their daily totals."""
    _force("NO FORCE")
    op.execute("DELETE FROM daily_totals")
    for signature in reversed(FUNCTIONS):
        op.execute(f"DROP FUNCTION {signature}")
    op.execute(USAGE_BY_DAY)
    for table in USAGES:
        for name, (factor, split) in GENERATED.items():
            _generate(table, name, f"amount_in_type_unit * {factor}")
            op.drop_column(table, split)
    op.execute(COPY_LINES)
    op.execute(COPY_KEYS)
    op.drop_table("valuation_segments")
    op.drop_constraint("ex_valuations_validity", "valuations")
    op.execute("UPDATE valuations SET current = false WHERE last_valid_from <> valid_from")
    for name in ("last_valid_from", "last_valid_until", "split"):
        op.drop_column("valuations", name)
    _exclude("tstzrange(valid_from, valid_until) WITH &&", drop=False)
    op.drop_column("organizations", "factor_split")
    op.execute(FILL_TOTALS)
    _force("FORCE")


def _exclude(ranges: str, *, drop: bool = True) -> None:
    """Let no two current valuations be chosen for the same usage."""
    if drop:
        op.drop_constraint("ex_valuations_validity", "valuations")
    op.execute(
        f"""
        ALTER TABLE valuations ADD CONSTRAINT ex_valuations_validity EXCLUDE USING gist (
            organization_id WITH =, usage_type_id WITH =, coalesce(region, '') WITH =, {ranges}) WHERE (current)
        """
    )


def _generate(table: str, name: str, expression: str) -> None:
    """Generate a column by another expression. Before PostgreSQL 17, it has to be created again."""
    op.drop_column(table, name)
    op.add_column(table, sa.Column(name, sa.Numeric(), sa.Computed(expression, persisted=True), nullable=False))


def _force(how: str) -> None:
    """Let the owner of the tables see the rows of all organizations, or not."""
    for table in FORCED:
        op.execute(f"ALTER TABLE IF EXISTS {table} {how} ROW LEVEL SECURITY")

"""Add SQL functions for time: the local clock, the start of a day, the parts of an interval, and RFC 3339 text."""

from alembic import op

revision = "local_time_functions"
down_revision = "standard_names"
branch_labels = None
depends_on = None

FUNCTIONS = {
    # PostgreSQL converts a local time that a clock shows twice to the later instant. This returns the earlier one.
    # It adds in UTC, because adding days to a timestamptz depends on the time zone of the session.
    "first_instant(text, timestamp)": """
CREATE FUNCTION first_instant(timezone text, local_time timestamp) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
DECLARE
    later_instant CONSTANT timestamptz := local_time AT TIME ZONE timezone;
    -- No clock has been moved by more than this, except in zones that skipped a day.
    before CONSTANT timestamptz := later_instant - interval '25 hours';
    earlier_instant CONSTANT timestamptz :=
        (before AT TIME ZONE 'UTC' + (local_time - before AT TIME ZONE timezone)) AT TIME ZONE 'UTC';
BEGIN
    IF earlier_instant AT TIME ZONE timezone = local_time THEN
        RETURN least(earlier_instant, later_instant);
    END IF;
    RETURN later_instant;
END
$$
""",
    # A day that has begun does not end early: a clock that is set back across midnight shows midnight until it returns.
    "local_clock(text, timestamptz)": """
CREATE FUNCTION local_clock(timezone text, instant timestamptz) RETURNS timestamp
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
DECLARE
    local_time CONSTANT timestamp := instant AT TIME ZONE timezone;
    midnight timestamp;
BEGIN
    -- No clock has been set back across midnight to an earlier time than this.
    IF local_time::time >= '22:00' THEN
        midnight := local_time::date + 1;
        IF instant >= first_instant(timezone, midnight) THEN
            RETURN midnight;
        END IF;
    END IF;
    RETURN local_time;
END
$$
""",
    "day_start(text, date)": """
CREATE FUNCTION day_start(timezone text, day date) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN first_instant(timezone, day::timestamp)
""",
    # Bit h is set if the interval touches hour h of the day. A clock that is set back within an interval of one day may
    # show an earlier time at its end.
    "interval_hours(timestamp, timestamp, date)": """
CREATE FUNCTION interval_hours(first_time timestamp, last_time timestamp, day date) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (16777215 >> 23 - greatest(
    CASE WHEN day = first_time::date THEN extract(hour FROM first_time)::integer ELSE 0 END,
    CASE WHEN day = last_time::date THEN extract(hour FROM last_time)::integer ELSE 23 END
)) & (16777215 << least(
    CASE WHEN day = first_time::date THEN extract(hour FROM first_time)::integer ELSE 0 END,
    CASE WHEN day = last_time::date THEN extract(hour FROM last_time)::integer ELSE 23 END
))
""",
    # div() divides whole numbers, so the quotient is rounded once: half up at the twelfth decimal digit.
    "amount_used(numeric, timestamptz, timestamptz, timestamptz)": """
CREATE FUNCTION amount_used(amount numeric, usage_at timestamptz, usage_until timestamptz, instant timestamptz)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sign(amount) * 0.000000000001 * div(
    2000000000000 * abs(amount) * extract(epoch FROM least(greatest(instant, usage_at), usage_until) - usage_at)
        + extract(epoch FROM usage_until - usage_at),
    2 * extract(epoch FROM usage_until - usage_at))
""",
    "prorated_amount(numeric, timestamptz, timestamptz, timestamptz, timestamptz)": """
CREATE FUNCTION prorated_amount(
    amount numeric, usage_at timestamptz, usage_until timestamptz, range_start timestamptz, range_end timestamptz
) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN amount_used(amount, usage_at, usage_until, range_end) - amount_used(amount, usage_at, usage_until, range_start)
""",
    # A fraction has six digits, or is left out. The cast to text drops the zeros at its end, but it is four times as
    # fast as to_char.
    "rfc3339(timestamptz)": """
CREATE FUNCTION rfc3339(instant timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN replace((instant AT TIME ZONE interval '0')::text, ' ', 'T') || CASE
    WHEN instant::timestamptz(0) = instant THEN 'Z'
    WHEN instant::timestamptz(5) <> instant THEN 'Z'
    WHEN instant::timestamptz(4) <> instant THEN '0Z'
    WHEN instant::timestamptz(3) <> instant THEN '00Z'
    WHEN instant::timestamptz(2) <> instant THEN '000Z'
    WHEN instant::timestamptz(1) <> instant THEN '0000Z'
    ELSE '00000Z'
END
""",
    # One row for each local day that a usage touches, in order.
    "usage_by_day(text, timestamptz, timestamptz, numeric)": """
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
""",
}


def upgrade() -> None:
    for definition in FUNCTIONS.values():
        op.execute(definition)


def downgrade() -> None:
    for signature in reversed(FUNCTIONS):
        op.execute(f"DROP FUNCTION {signature}")

"""The ledger of the benchmarks: usages of 1,000 users over three years, the same in each run."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2

from carbonapi.accounts.passwords import HASHER

USERS = 1000
LARGE_USERS = 910  # Users of the large organization. Nine small ones have the others.
LARGE, MANAGER, MEMBER = 1, 1, 2  # The large organization, and two of its users.
PASSWORD = "unrelated words make good ones"
FIRST_DAY = "2023-01-01"
DAYS = 1095
COLUMNS = (
    "organization_id, user_id, usage_type_id, usage_at, amount, unit, amount_in_type_unit, valuation_id, "
    "emission_factor_id, factor, market_factor, recorded_by, version"
)
# The valuations that the service would choose: each type has one factor, for all regions.
VALUATIONS = """
    WITH choices AS (
        SELECT o.id AS organization_id, t.id AS usage_type_id, f.id AS emission_factor_id, f.valid_from, f.valid_until,
               f.factor, t.scope, t.category, coalesce(t.scope = 2, false) AS fallback,
               concat_ws(':', f.id, trim_scale(f.factor), coalesce(t.scope, 0), coalesce(t.category, ''), 0) AS choice
        FROM organizations o CROSS JOIN usage_types t JOIN emission_factors f ON f.usage_type_id = t.id
        WHERE t.id BETWEEN 100 AND 104 AND f.superseded_at IS NULL
    ), added AS (
        INSERT INTO valuations (organization_id, usage_type_id, valid_from, valid_until, last_valid_from,
                                last_valid_until, split, provisional, current, key, scope, category, emission_factor_id,
                                factor, market_factor, outside_of_scopes, location_total, market_total)
        SELECT organization_id, usage_type_id, valid_from, valid_until, valid_from, valid_until, false, false, true,
               format('location:%s:0;market:%s:%s', choice, choice, fallback::int), scope, category,
               emission_factor_id, factor, factor, false, factor, factor
        FROM choices ORDER BY organization_id, usage_type_id
        RETURNING id, organization_id, usage_type_id
    )
    INSERT INTO valuation_lines (organization_id, valuation_id, line, emission_factor_id, factor, scope, category,
                                 outside_of_scopes, fallback)
    SELECT organization_id, added.id, line, emission_factor_id, factor, scope, category, false,
           line = 'market' AND fallback
    FROM added JOIN choices USING (organization_id, usage_type_id)
    CROSS JOIN unnest(ARRAY['location', 'market']) line
"""


@dataclass(frozen=True)
class Database:
    """The database of a run: its URLs for the service's role and for a superuser, and the process of its server."""

    url: str
    superuser_url: str
    pid: int

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        """Yield a cursor of a superuser on a new connection. Each statement is a transaction."""
        connection = psycopg2.connect(self.superuser_url, options="-c timezone=UTC")
        connection.autocommit = True
        with contextlib.closing(connection), connection.cursor() as cursor:
            yield cursor

    def rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        """Return the rows of a SELECT as dictionaries."""
        with self.cursor() as cursor:
            cursor.execute(statement, values)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def usages(count: int, first_day: str = FIRST_DAY, user: str = f"1 + n * 7919 % {USERS}") -> str:
    """Return a SELECT of `count` usages in the order of their times, with COLUMNS. Nothing in it is random."""
    return f"""
        SELECT u.organization_id, u.id, v.usage_type_id, timestamptz '{first_day} 00:00+00'
                   + (n::float8 / {count}) * interval '{DAYS} days', a.amount, t.unit, a.amount, v.id,
               v.emission_factor_id, v.factor, v.market_factor, u.id, 1
        FROM generate_series(1, {count}::bigint) n
        CROSS JOIN LATERAL (SELECT (n * 7919 % 100000) / 1000.0 AS amount) a
        JOIN users u ON u.id = {user}
        JOIN valuations v ON v.organization_id = u.organization_id AND v.usage_type_id = 100 + n / {USERS} % 5
        JOIN usage_types t ON t.id = v.usage_type_id
        ORDER BY n"""


def load(database: Database, count: int) -> None:
    """Fill a migrated, empty database. Create the indexes after the rows, like a restored backup."""
    with database.cursor() as cursor:
        cursor.execute("INSERT INTO organizations (name, version) SELECT 'Organization ' || n, 1 "
                       "FROM generate_series(1, 10) n ORDER BY n")  # fmt: skip
        cursor.execute(
            """
            INSERT INTO users (organization_id, email, name, password_hash, role, version)
            SELECT CASE WHEN n <= %(large)s THEN 1 ELSE 2 + (n - %(large)s - 1) / 10 END, 'user' || n || '@example.org',
                   'User ' || n, %(password_hash)s, CASE WHEN n = 1 THEN 'manager' ELSE 'member' END, 1
            FROM generate_series(1, %(users)s) n ORDER BY n
            """,
            {"large": LARGE_USERS, "users": USERS, "password_hash": HASHER.hash(PASSWORD)},
        )
        cursor.execute(VALUATIONS)
        cursor.execute("ANALYZE users, valuations, usage_types")
        cursor.execute("SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
                       "WHERE indrelid = 'usages'::regclass AND NOT indisunique")  # fmt: skip
        indexes = cursor.fetchall()
        # The rows fulfill the foreign keys, so PostgreSQL need not check them.
        cursor.execute("SET session_replication_role = replica; SET maintenance_work_mem = '512MB'")
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX {name}")
        cursor.execute(f"INSERT INTO usages ({COLUMNS}) {usages(count)}")
        for _, definition in indexes:
            cursor.execute(definition)
        cursor.execute("VACUUM (ANALYZE) usages")
        cursor.execute("CHECKPOINT")

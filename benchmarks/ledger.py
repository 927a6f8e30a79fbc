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
    "organization_id, user_id, usage_type_id, usage_at, amount, unit, amount_in_type_unit, emission_factor_id, factor, "
    "recorded_by, version"
)


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
        SELECT u.organization_id, u.id, f.usage_type_id, timestamptz '{first_day} 00:00+00'
                   + (n::float8 / {count}) * interval '{DAYS} days', a.amount, t.unit, a.amount, f.id, f.factor,
               u.id, 1
        FROM generate_series(1, {count}::bigint) n
        CROSS JOIN LATERAL (SELECT (n * 7919 % 100000) / 1000.0 AS amount) a
        JOIN users u ON u.id = {user}
        JOIN emission_factors f ON f.usage_type_id = 100 + n / {USERS} % 5
        JOIN usage_types t ON t.id = f.usage_type_id
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
        cursor.execute("ANALYZE users, emission_factors, usage_types")
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

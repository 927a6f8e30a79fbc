"""Rate-limit counters that all workers share, in PostgreSQL or Redis.

A counter is incremented by a statement of its own, which is committed immediately, so that a failed request still
counts. It is incremented before it is compared with the limit, so that no two concurrent requests see the same number.
"""

import datetime as dt
import time
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Model, NotAudited, autocommit_connection, db

MAX_EXPIRED_DELETED = 10  # Expired counters that each increment deletes.
REDIS_TIMEOUT_SECONDS = 0.5
REDIS_PAUSE_SECONDS = 5  # After a failure, before Redis is tried again.


class RateLimitCounter(Model):
    """The number of requests in a window of time that ends at `ends_at`.

    A bucket is a keyed hash, from which no account or address can be read. The table is unlogged: an increment does not
    wait for the disk, and a crash of PostgreSQL only loses counts of minutes. It contains no data of organizations.
    """

    __tablename__ = "rate_limit_counters"
    __table_args__ = (sa.Index("ix_rate_limit_counters_by_end", "ends_at"), {"prefixes": ["UNLOGGED"]})
    AUDIT = NotAudited("it counts requests, for minutes")

    bucket: Mapped[bytes] = mapped_column(primary_key=True)
    ends_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    number: Mapped[int]


COUNTERS = Model.metadata.tables[RateLimitCounter.__tablename__]
PRIMARY_KEY = (COUNTERS.c.bucket, COUNTERS.c.ends_at)


class PostgresCounters:
    """Counters in PostgreSQL."""

    def add(self, bucket: bytes, ends_at: dt.datetime, number: int, now: dt.datetime) -> int:
        """Add to the counter of a window, and return its new value."""
        with autocommit_connection() as connection:
            values = {"bucket": bucket, "ends_at": ends_at, "number": number, "now": now}
            return int(connection.execute(_INCREMENT, values).scalar_one())

    def clear(self, bucket: bytes, ends_at: dt.datetime) -> None:
        """Delete the counter in the request's transaction, so that a failed request does not reset it."""
        db.session.execute(sa.delete(COUNTERS).where(COUNTERS.c.bucket == bucket, COUNTERS.c.ends_at == ends_at))


def _increment() -> sa.Executable:
    """Return the statement that increments a counter, and deletes some of the expired ones."""
    values: dict[str, Any] = {name: sa.bindparam(name) for name in ("bucket", "ends_at", "number")}
    insert = postgresql.insert(COUNTERS).values(values)
    total = {"number": COUNTERS.c.number + insert.excluded.number}
    increment = insert.on_conflict_do_update(index_elements=PRIMARY_KEY, set_=total)
    expired = sa.select(*PRIMARY_KEY).where(COUNTERS.c.ends_at <= sa.bindparam("now")).limit(MAX_EXPIRED_DELETED)
    # Locked counters are being deleted by another request.
    delete = sa.delete(COUNTERS).where(sa.tuple_(*PRIMARY_KEY).in_(expired.with_for_update(skip_locked=True)))
    return increment.add_cte(delete.returning(COUNTERS.c.bucket).cte("deleted")).returning(COUNTERS.c.number)


_INCREMENT = _increment()


class RedisCounters(PostgresCounters):
    """Counters in Redis, and in PostgreSQL while Redis is unavailable, so that limits always apply."""

    def __init__(self, url: str) -> None:
        # Imported here, so that services without Redis do not load its client.
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._redis = redis.Redis.from_url(
            url,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._error: type[Exception] = redis.RedisError
        self._retry_at = 0.0

    def add(self, bucket: bytes, ends_at: dt.datetime, number: int, now: dt.datetime) -> int:
        if time.monotonic() >= self._retry_at:
            try:
                with self._redis.pipeline(transaction=True) as pipeline:
                    pipeline.incrby(_key(bucket, ends_at), number)
                    # A duration, because the clock of Redis may differ.
                    pipeline.pexpire(_key(bucket, ends_at), ends_at - now)
                    return int(pipeline.execute()[0])
            except self._error as error:
                self._pause(error)
        return super().add(bucket, ends_at, number, now)

    def clear(self, bucket: bytes, ends_at: dt.datetime) -> None:
        super().clear(bucket, ends_at)
        if time.monotonic() >= self._retry_at:
            try:
                self._redis.delete(_key(bucket, ends_at))
            except self._error as error:
                self._pause(error)

    def _pause(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + REDIS_PAUSE_SECONDS
        current_app.logger.warning("Redis is unavailable; counting in PostgreSQL: %s", type(error).__name__)


def _key(bucket: bytes, ends_at: dt.datetime) -> str:
    return f"carbonapi:rate-limit:{bucket.hex()}:{int(ends_at.timestamp())}"

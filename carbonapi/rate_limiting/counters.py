"""The counts that all workers share: in PostgreSQL, or in Redis if there is one.

A count is added to by a statement of its own, which is committed at once: what the request does afterwards, or that it
fails, undoes nothing. It is added to before it is looked at, so that of many at once no two see the same number.
"""

import datetime as dt
import time
from typing import Any, Protocol

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, mapped_column

from ..db import Model, NotAudited, autocommit_connection, db

MOST_FORGOTTEN = 10  # Counts of windows that have ended, which go with each statement that counts.
REDIS_SECONDS = 0.5  # For which Redis is waited for.
REDIS_PAUSE_SECONDS = 5  # For which it is not asked again, once it was away.


class RateLimitCounter(Model):
    """How often something was done within the window of time that ends then.

    A bucket is a keyed hash: of whom it is, nobody can read here. The table is not logged: to count waits for no disk,
    and all that a crash of PostgreSQL takes are counts of minutes. It holds nothing of any organization.
    """

    __tablename__ = "rate_limit_counters"
    __table_args__ = (sa.Index("ix_rate_limit_counters_by_end", "ends_at"), {"prefixes": ["UNLOGGED"]})
    AUDIT = NotAudited("it counts requests, for minutes")

    bucket: Mapped[bytes] = mapped_column(primary_key=True)
    ends_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    number: Mapped[int]


COUNTS = Model.metadata.tables[RateLimitCounter.__tablename__]
KEY = (COUNTS.c.bucket, COUNTS.c.ends_at)


class Counters(Protocol):
    def add(self, bucket: bytes, ends_at: dt.datetime, number: int, now: dt.datetime) -> int:
        """How many there are in the window, these included."""

    def clear(self, bucket: bytes, ends_at: dt.datetime) -> None:
        """Let there be none in the window."""


class PostgresCounters:
    """The counts in PostgreSQL."""

    def add(self, bucket: bytes, ends_at: dt.datetime, number: int, now: dt.datetime) -> int:
        with autocommit_connection() as connection:
            values = {"bucket": bucket, "ends_at": ends_at, "number": number, "now": now}
            return int(connection.execute(_ADDING, values).scalar_one())

    def clear(self, bucket: bytes, ends_at: dt.datetime) -> None:
        """In the transaction of what went well, so that it is none if that is not."""
        db.session.execute(sa.delete(COUNTS).where(COUNTS.c.bucket == bucket, COUNTS.c.ends_at == ends_at))


def _adding() -> sa.Executable:
    """The statement that counts, and forgets some of the windows that have ended."""
    given: dict[str, Any] = {name: sa.bindparam(name) for name in ("bucket", "ends_at", "number")}
    adding = postgresql.insert(COUNTS).values(given)
    more = {"number": COUNTS.c.number + adding.excluded.number}
    adding = adding.on_conflict_do_update(index_elements=KEY, set_=more)
    ended = sa.select(*KEY).where(COUNTS.c.ends_at <= sa.bindparam("now")).limit(MOST_FORGOTTEN)
    # One that somebody else is forgetting is theirs.
    forgetting = sa.delete(COUNTS).where(sa.tuple_(*KEY).in_(ended.with_for_update(skip_locked=True)))
    return adding.add_cte(forgetting.returning(COUNTS.c.bucket).cte("forgotten")).returning(COUNTS.c.number)


_ADDING = _adding()


class RedisCounters:
    """The counts in Redis; in PostgreSQL while Redis is away, so that nobody waits, and nobody guesses unthrottled."""

    def __init__(self, url: str) -> None:
        # Whoever has no Redis need not load its client.
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._redis = redis.Redis.from_url(
            url,
            socket_connect_timeout=REDIS_SECONDS,
            socket_timeout=REDIS_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._is_away: type[Exception] = redis.RedisError
        self._asked_again_at = 0.0
        self._meanwhile = PostgresCounters()

    def add(self, bucket: bytes, ends_at: dt.datetime, number: int, now: dt.datetime) -> int:
        if time.monotonic() >= self._asked_again_at:
            try:
                with self._redis.pipeline(transaction=True) as pipeline:
                    pipeline.incrby(_key(bucket, ends_at), number)
                    # By our clock: Redis may have another.
                    pipeline.pexpire(_key(bucket, ends_at), ends_at - now)
                    return int(pipeline.execute()[0])
            except self._is_away as error:
                self._note_away(error)
        return self._meanwhile.add(bucket, ends_at, number, now)

    def clear(self, bucket: bytes, ends_at: dt.datetime) -> None:
        self._meanwhile.clear(bucket, ends_at)
        if time.monotonic() >= self._asked_again_at:
            try:
                self._redis.delete(_key(bucket, ends_at))
            except self._is_away as error:
                self._note_away(error)

    def _note_away(self, error: Exception) -> None:
        self._asked_again_at = time.monotonic() + REDIS_PAUSE_SECONDS
        current_app.logger.warning("Redis is away, PostgreSQL counts: %s", type(error).__name__)


def _key(bucket: bytes, ends_at: dt.datetime) -> str:
    return f"carbonapi:throttle:{bucket.hex()}:{int(ends_at.timestamp())}"

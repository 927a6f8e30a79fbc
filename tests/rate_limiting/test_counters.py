"""Counters in Redis, and in PostgreSQL while Redis is unavailable."""

import contextlib
import socket
import subprocess
import time
from collections import Counter

import pytest
import redis
import sqlalchemy as sa

from carbonapi.db import db
from carbonapi.rate_limiting.counters import RateLimitCounter
from carbonapi.settings import Limit
from tests.support.logins import RIGHT, log_in, statuses
from tests.support.servers import free_port
from tests.support.threads import at_once


class Redis:
    """A Redis server that can be stopped and started again."""

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = folder
        self.client = redis.Redis.from_url(self.url)
        self.process = None

    def start(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.ConnectionError):
                return self.client.ping()
            time.sleep(0.05)
        raise AssertionError("Redis did not start.")

    def stop(self):
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def own_redis(tmp_path):
    """A running Redis server."""
    server = Redis(tmp_path)
    server.start()
    yield server
    server.client.close()
    server.stop()


def postgresql_counts(worker):
    with worker.http.application.app_context():
        numbers = db.session.scalars(sa.select(RateLimitCounter.number).order_by(RateLimitCounter.number)).all()
        db.session.remove()
    return numbers


def test_postgresql_counts_while_redis_is_unavailable(workers):
    one, other = workers(2, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    assert statuses(one, 5) + statuses(other, 6) == [401] * 10 + [429]
    assert postgresql_counts(one) == [11, 11]
    assert log_in(one, RIGHT | {"email": "grace@example.org"}).status_code == 401


def test_silent_redis_is_waited_for_once(workers):
    """The server accepts connections and never answers."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        (worker,) = workers(1, REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        started_at = time.monotonic()
        assert statuses(worker, 3) == [401] * 3
        assert time.monotonic() - started_at < 2.5


@pytest.mark.redis
def test_redis_lets_10_of_25_concurrent_guesses_through(workers, own_redis):
    pair = workers(2, REDIS_URL=own_redis.url)

    answers = at_once(25, lambda index: log_in(pair[index % 2], address=f"192.0.2.{index}"))

    assert Counter(answer.status_code for answer in answers) == {401: 10, 429: 15}
    assert postgresql_counts(pair[0]) == []
    keys = own_redis.client.keys()
    assert len(keys) == 26
    assert not any(personal in key for key in keys for personal in (b"ada@", b"example", b"192.0.2"))
    assert all(290 <= own_redis.client.ttl(key) <= 300 for key in keys)


@pytest.mark.redis
def test_successful_login_resets_counter_in_redis(workers, own_redis):
    (worker,) = workers(1, REDIS_URL=own_redis.url)
    assert statuses(worker, 9) == [401] * 9

    assert log_in(worker, RIGHT).status_code == 200

    assert statuses(worker, 11) == [401] * 10 + [429]


@pytest.mark.redis
def test_writes_are_leased_from_redis(workers, own_redis):
    one, other = workers(2, REDIS_URL=own_redis.url, RATE_LIMIT_WRITES_PER_ACCOUNT=Limit(100, 60))

    answers = [client.post("/usages", json={}).status_code for _ in range(60) for client in (one, other)]

    assert Counter(answers) == {422: 100, 429: 20}


@pytest.mark.redis
def test_redis_can_fail_and_recover(workers, own_redis, monkeypatch):
    (worker,) = workers(1, REDIS_URL=own_redis.url)
    skipped = [0.0]
    monotonic = time.monotonic
    monkeypatch.setattr("carbonapi.rate_limiting.counters.time.monotonic", lambda: monotonic() + skipped[0])
    assert statuses(worker, 3) == [401] * 3

    own_redis.stop()
    assert statuses(worker, 11) == [401] * 10 + [429]
    own_redis.start()
    assert statuses(worker, 1) == [429]  # Redis is not tried again yet.
    skipped[0] += 5

    assert statuses(worker, 11) == [401] * 10 + [429]

"""Redis that counts, and PostgreSQL that counts while Redis is away."""

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
    """A Redis of our own, to be stopped and started."""

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = folder
        self.client = redis.Redis.from_url(self.url)
        self.process = None

    def start(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        given_up_at = time.monotonic() + 10
        while time.monotonic() < given_up_at:
            with contextlib.suppress(redis.ConnectionError):
                return self.client.ping()
            time.sleep(0.05)
        raise AssertionError("Redis did not start.")

    def stop(self):
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def own_redis(tmp_path):
    """A Redis that runs."""
    own = Redis(tmp_path)
    own.start()
    yield own
    own.client.close()
    own.stop()


def counted_by_postgresql(worker):
    with worker.http.application.app_context():
        numbers = db.session.scalars(sa.select(RateLimitCounter.number).order_by(RateLimitCounter.number)).all()
        db.session.remove()
    return numbers


def test_while_redis_is_away_postgresql_counts(workers):
    one, other = workers(2, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")

    assert statuses(one, 5) + statuses(other, 6) == [401] * 10 + [429]
    assert counted_by_postgresql(one) == [11, 11]
    assert log_in(one, RIGHT | {"email": "grace@example.org"}).status_code == 401


def test_a_redis_that_does_not_answer_is_waited_for_once_and_not_for_long(workers):
    """It takes what it is sent, and says nothing."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        (worker,) = workers(1, REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        begun_at = time.monotonic()
        assert statuses(worker, 3) == [401] * 3
        assert time.monotonic() - begun_at < 2.5


@pytest.mark.redis
def test_of_25_guesses_at_the_same_time_redis_lets_ten_through(workers, own_redis):
    pair = workers(2, REDIS_URL=own_redis.url)

    answers = at_once(25, lambda place: log_in(pair[place % 2], address=f"192.0.2.{place}"))

    assert Counter(answer.status_code for answer in answers) == {401: 10, 429: 15}
    assert counted_by_postgresql(pair[0]) == []
    keys = own_redis.client.keys()
    assert len(keys) == 26 and all(b"ada" not in key for key in keys)
    assert all(290 <= own_redis.client.ttl(key) <= 300 for key in keys)


@pytest.mark.redis
def test_signing_in_well_clears_what_redis_has_counted(workers, own_redis):
    (worker,) = workers(1, REDIS_URL=own_redis.url)
    assert statuses(worker, 9) == [401] * 9

    assert log_in(worker, RIGHT).status_code == 200

    assert statuses(worker, 11) == [401] * 10 + [429]


@pytest.mark.redis
def test_writes_are_leased_of_redis_too(workers, own_redis):
    one, other = workers(2, REDIS_URL=own_redis.url, RATE_LIMIT_WRITES_PER_ACCOUNT=Limit(100, 60))

    answers = [client.post("/usages", json={}).status_code for _ in range(60) for client in (one, other)]

    assert Counter(answers) == {422: 100, 429: 20}


@pytest.mark.redis
def test_redis_may_come_and_go(workers, own_redis, monkeypatch):
    (worker,) = workers(1, REDIS_URL=own_redis.url)
    passing = [0.0]
    real = time.monotonic
    monkeypatch.setattr("carbonapi.rate_limiting.counters.time.monotonic", lambda: real() + passing[0])
    assert statuses(worker, 3) == [401] * 3

    own_redis.stop()
    assert statuses(worker, 11) == [401] * 10 + [429]
    own_redis.start()
    assert statuses(worker, 1) == [429]  # It is not asked again so soon.
    passing[0] += 5

    assert statuses(worker, 11) == [401] * 10 + [429]

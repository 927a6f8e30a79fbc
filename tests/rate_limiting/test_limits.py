"""Rate limits over HTTP: per account and address, across workers, and per window."""

import datetime as dt
from collections import Counter

import pytest
import sqlalchemy as sa

from carbonapi.audit.models import AuditEntry
from carbonapi.db import db
from carbonapi.rate_limiting.counters import PostgresCounters, RateLimitCounter
from carbonapi.rate_limiting.leases import Leases
from carbonapi.settings import Limit
from tests.support import factories
from tests.support.apps import operator_context
from tests.support.client import Client
from tests.support.logins import GUESS, RIGHT, log_in, statuses
from tests.support.threads import at_once


@pytest.fixture
def ada(organization):
    return factories.user(organization, "manager", email="ada@example.org")


def test_10_of_25_concurrent_guesses_are_checked(workers, monkeypatch):
    (worker,) = workers(1)
    monkeypatch.setattr("carbonapi.accounts.passwords.SLOT_TIMEOUT_SECONDS", 60)  # Slow hashing must not cause 503.

    answers = at_once(25, lambda index: log_in(worker, address=f"192.0.2.{index}"))

    assert Counter(answer.status_code for answer in answers) == {401: 10, 429: 15}
    for answer in answers:
        if answer.status_code == 429:
            assert answer.mimetype == "application/problem+json"
            assert answer.json["type"] == "urn:carbonapi:problem:rate-limited"
            assert answer.json["detail"] == (
                "The limit of login is 10 in 300 seconds per account. Try again in 300 seconds."
            )
            assert answer.headers["Retry-After"] == "300"
    assert log_in(worker, RIGHT).status_code == 429
    other = {"email": "grace@example.org", "password": "x"}
    assert log_in(worker, other).status_code == 401


def test_workers_share_counters(workers):
    one, other = workers(2)

    assert statuses(one, 5) + statuses(other, 5) == [401] * 10
    assert statuses(one, 1) + statuses(other, 1) == [429, 429]


def test_unknown_address_and_wrong_password_get_same_answers(stranger, ada, clock):
    by_email = {}
    for index, email in enumerate(("ada@example.org", "nobody@example.org")):
        answers = [log_in(stranger, GUESS | {"email": email}, f"192.0.2.{index}") for _ in range(11)]
        by_email[email] = [
            (
                answer.status_code,
                {**answer.json, "request_id": None},
                {name: value for name, value in answer.headers.items() if name != "X-Request-ID"},
            )
            for answer in answers
        ]

    known = by_email["ada@example.org"]
    assert known == by_email["nobody@example.org"]
    assert [status for status, _, _ in known] == [401] * 10 + [429]
    for index, (_, _, headers) in enumerate(known):
        remaining = (max(9 - index, 0), 99 - index)
        assert headers["RateLimit-Policy"] == '"login-per-ip";q=100;w=300, "login";q=10;w=300'
        assert headers["RateLimit"] == '"login-per-ip";r={1};t=300, "login";r={0};t=300'.format(*remaining)


def test_login_resets_limit_of_account_but_not_of_address(stranger, ada, clock):
    assert statuses(stranger, 9) == [401] * 9

    answer = log_in(stranger, RIGHT)

    assert answer.status_code == 200
    assert answer.headers["RateLimit"] == '"login-per-ip";r=90;t=300, "login";r=10;t=300'
    assert statuses(stranger, 11) == [401] * 10 + [429]


def test_lockout_ends_with_the_window(stranger, ada, clock):
    clock[0] += dt.timedelta(seconds=100)
    assert statuses(stranger, 10) == [401] * 10
    for later, seconds in ((0, "200"), (199.5, "1")):
        clock[0] += dt.timedelta(seconds=later)
        answer = log_in(stranger, RIGHT)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, seconds)

    clock[0] += dt.timedelta(seconds=0.5)

    assert log_in(stranger, RIGHT).status_code == 200


def test_limit_ignores_case_of_email_address(stranger, ada, clock):
    for _ in range(5):
        assert log_in(stranger, GUESS | {"email": "ADA@example.org"}).status_code == 401
        assert log_in(stranger, GUESS | {"email": "ada@Example.ORG"}).status_code == 401

    assert log_in(stranger, RIGHT).status_code == 429


def test_address_over_its_limit_uses_no_limit_of_accounts(app, stranger, ada, clock, monkeypatch):
    monkeypatch.setitem(app.config, "RATE_LIMIT_LOGIN_PER_IP", Limit(3, 300))
    for number in range(3):
        assert log_in(stranger, GUESS | {"email": f"{number}@example.org"}).status_code == 401

    rejected = [log_in(stranger) for _ in range(12)]

    assert {answer.status_code for answer in rejected} == {429}
    assert "per IP address" in rejected[0].json["detail"]
    assert log_in(stranger, RIGHT, "192.0.2.2").headers["RateLimit"].endswith('"login";r=10;t=300')


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ("2001:db8:1:2:ffff::9", 429),
        ("2001:0DB8:1:2::", 429),
        ("2001:db8:1:3::1", 401),
        ("192.0.2.1", 401),
    ],
)
def test_ipv6_network_counts_as_one_address(app, stranger, clock, monkeypatch, other, status):
    monkeypatch.setitem(app.config, "RATE_LIMIT_LOGIN_PER_IP", Limit(1, 300))
    assert log_in(stranger, address="2001:db8:1:2::1").status_code == 401

    assert log_in(stranger, address=other).status_code == status


def test_mapped_ipv4_address_counts_as_ipv4(app, stranger, clock, monkeypatch):
    monkeypatch.setitem(app.config, "RATE_LIMIT_LOGIN_PER_IP", Limit(1, 300))
    assert log_in(stranger, address="192.0.2.1").status_code == 401

    assert log_in(stranger, address="::ffff:192.0.2.1").status_code == 429
    assert log_in(stranger, address="::ffff:192.0.2.2").status_code == 401


@pytest.mark.parametrize(("one", "other"), [("192.0.2.1:80", "192.0.2.1:81"), ("[2001:db8::1]:80", "2001:db8::1")])
def test_port_of_address_is_ignored(app, stranger, clock, monkeypatch, one, other):
    monkeypatch.setitem(app.config, "RATE_LIMIT_LOGIN_PER_IP", Limit(1, 300))
    assert log_in(stranger, address=one).status_code == 401

    assert log_in(stranger, address=other).status_code == 429


def write(client):
    """Return the status of an invalid write, which counts."""
    return client.post("/usages", json={}).status_code


def test_leasing_workers_accept_writes_up_to_the_limit(workers):
    one, other = workers(2, RATE_LIMIT_WRITES_PER_ACCOUNT=Limit(100, 60))

    assert [write(one) for _ in range(51)] == [422] * 51  # It has leased 52.
    assert [write(other) for _ in range(50)] == [422] * 48 + [429] * 2
    assert [write(one) for _ in range(3)] == [422, 429, 429]


def test_concurrent_writes_do_not_exceed_the_limit(workers):
    one, other = workers(2, RATE_LIMIT_WRITES_PER_ACCOUNT=Limit(100, 60))

    answers = at_once(16, lambda index: [write((one, other)[index % 2]) for _ in range(10)])

    assert Counter(status for thread in answers for status in thread) == {422: 100, 429: 60}


def test_write_reports_limit_which_a_new_window_resets(app, as_manager, clock, monkeypatch):
    monkeypatch.setitem(app.config, "RATE_LIMIT_WRITES_PER_ACCOUNT", Limit(2, 60))
    monkeypatch.setitem(app.config, "RATE_LIMIT_WRITES_PER_IP", None)

    answers = [as_manager.post("/closed-periods", json={"until": "2020-01-01T00:00:00Z"}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 409, 429]
    assert [answer.headers["RateLimit-Policy"] for answer in answers] == ['"writes";q=2;w=60'] * 3
    assert [answer.headers["RateLimit"] for answer in answers] == [
        f'"writes";r={remaining};t=60' for remaining in (1, 0, 0)
    ]
    clock[0] += dt.timedelta(seconds=60)
    assert as_manager.post("/closed-periods", json={}).status_code == 422
    assert as_manager.get("/closed-periods").status_code == 200


def test_runaway_client_uses_no_limit_of_its_neighbors(app, as_manager, as_member, clock, monkeypatch):
    monkeypatch.setitem(app.config, "RATE_LIMIT_WRITES_PER_ACCOUNT", Limit(2, 60))
    monkeypatch.setitem(app.config, "RATE_LIMIT_WRITES_PER_IP", Limit(3, 60))
    # The leases of the address would reject the writes of other tests.
    monkeypatch.setitem(app.extensions, "rate_limiting", Leases(PostgresCounters()))
    assert [write(as_manager) for _ in range(9)] == [422] * 2 + [429] * 7

    assert [write(as_member) for _ in range(2)] == [422, 429]


def test_disabled_limit_sends_no_statements_and_headers(app, as_manager, no_rate_limits, statements, monkeypatch):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    as_manager.get("/auth/me")
    statements.clear()

    answer = as_manager.post("/usages", json={})

    assert answer.status_code == 422 and statements == []
    assert not {"RateLimit", "RateLimit-Policy"} & {*answer.headers.keys()}


def test_password_change_is_limited(as_member, clock):
    change = {"current_password": "not the password at all", "new_password": "quite other words for a change"}

    answers = [as_member.post("/auth/password", json=change) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [422] * 10 + [429]
    assert answers[-1].headers["RateLimit"] == '"password-change";r=0;t=300'


def test_change_of_own_email_is_limited_like_logins(as_member, as_other_manager, clock):
    taken = {"email": as_other_manager.user.email, "current_password": factories.PASSWORD}

    answers = [as_member.patch("/auth/me", json=taken) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [409] * 10 + [429]
    assert as_member.patch("/auth/me", json={"name": "Renamed"}).status_code == 200


@pytest.mark.parametrize("way", ["register", "add", "change", "replace"])
def test_email_addresses_of_others_cannot_be_probed(app, as_manager, as_member, organization, clock, monkeypatch, way):
    monkeypatch.setitem(app.config, "RATE_LIMIT_REGISTRATION_PER_IP", Limit(3, 300))
    addresses = [factories.user(factories.organization()).email for _ in range(4)] + ["free@example.org"]
    user = {"name": "Probe", "role": "member"}
    path = f"/users/{as_member.user.id}"

    def probe(address):
        if way == "register":
            body = {"name": "Probe", "email": address, "password": factories.PASSWORD}
            return Client(app).post("/auth/register", json=body)
        if way == "add":
            return as_manager.post("/users", json=user | {"email": address})
        if way == "change":
            return as_manager.patch(path, json={"email": address})
        return as_manager.put(path, json=user | {"email": address})

    assert [probe(address).status_code for address in addresses] == [409] * 3 + [429] * 2
    assert as_manager.patch(path, json={"name": "Renamed", "email": as_member.user.email}).status_code == 200


def test_addresses_are_counted_once_for_all_ways(app, as_manager, as_admin, clock, monkeypatch):
    monkeypatch.setitem(app.config, "RATE_LIMIT_REGISTRATION_PER_IP", Limit(1, 300))
    user = {"name": "New", "role": "member", "password": factories.PASSWORD}
    first = as_manager.post("/users", json=user | {"email": "one@example.org"}, headers={"Idempotency-Key": "one"})
    assert first.status_code == 201

    rejected = Client(app).post("/auth/register", json={"name": "x", "email": "two@example.org", "password": "x" * 20})

    assert rejected.status_code == 429
    admins = [as_admin.post("/users", json=user | {"email": f"{n}@example.org"}).status_code for n in range(3)]
    assert admins == [201] * 3


def test_counting_an_address_keeps_the_idempotency_key(as_manager, clock):
    body = {"email": "one@example.org", "name": "New", "role": "member", "password": factories.PASSWORD}

    first, again = (as_manager.post("/users", json=body, headers={"Idempotency-Key": "one"}) for _ in range(2))

    assert (first.status_code, again.status_code, again.json) == (201, 201, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"


def test_counters_are_anonymous_and_unlogged(stranger, ada, clock):
    log_in(stranger)

    counts = db.session.execute(sa.select(RateLimitCounter.bucket, RateLimitCounter.number)).all()
    assert [(len(bucket), number) for bucket, number in counts] == [(32, 1), (32, 1)]
    persistence = "SELECT relpersistence FROM pg_class WHERE relname = 'rate_limit_counters'"
    assert db.session.scalar(sa.text(persistence)) == "u"


def test_increment_deletes_ten_expired_counters(stranger, clock):
    long_ago = clock[0] - dt.timedelta(seconds=1)
    old = [{"bucket": bytes([number]), "ends_at": long_ago, "number": 1} for number in range(25)]
    db.session.execute(sa.insert(RateLimitCounter), old)
    db.session.commit()
    count = sa.select(sa.func.count()).where(RateLimitCounter.ends_at == long_ago)

    log_in(stranger)  # It increments two counters.

    assert db.session.scalar(count) == 5
    log_in(stranger)
    assert db.session.scalar(count) == 0


def test_request_holds_one_connection_at_a_time(workers):
    (worker,) = workers(1, DATABASE_POOL_SIZE=1)

    usage = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 1}
    answers = at_once(
        8,
        lambda _: worker.http.post(
            "/api/v1/usages", json=usage, headers={"Authorization": f"Bearer {worker.tokens['access_token']}"}
        ),
    )

    assert [answer.status_code for answer in answers] == [201] * 8
    assert log_in(worker, RIGHT).status_code == 200


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "198.51.100.7", "192.0.2.1"),
        (1, None, "192.0.2.1"),
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        (2, "203.0.113.9, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        (2, "198.51.100.7", "192.0.2.1"),  # It has not passed both proxies, so the header is not trusted.
    ],
)
def test_forwarded_address_is_trusted_from_proxies_only(workers, proxies, forwarded, address):
    (worker,) = workers(1, TRUSTED_PROXIES=proxies, RATE_LIMIT_LOGIN_PER_IP=Limit(1, 300))
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}

    def guess(headers):
        client = Client(worker.http.application)
        return client.post("/auth/login", json=GUESS, headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.1"})

    assert guess(headers).status_code == 401
    # Earlier addresses in the header may be forged and are ignored.
    forged = {"X-Forwarded-For": f"203.0.113.77, {forwarded}"} if forwarded and address in forwarded else headers
    assert guess(forged).status_code == 429
    with operator_context(worker.http.application):
        addresses = sa.select(AuditEntry.address).where(AuditEntry.action == "login_failed")
        assert db.session.scalars(addresses).all() == [address]
        db.session.remove()

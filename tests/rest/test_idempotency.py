"""Repeated requests with an `Idempotency-Key`."""

import datetime as dt
import io
import time

import pytest
import sqlalchemy as sa

from carbonapi.accounts import sessions
from carbonapi.accounts.models import User
from carbonapi.audit.models import AuditEntry
from carbonapi.db import db
from carbonapi.imports.models import Import
from carbonapi.rest.idempotency import IdempotencyRecord
from carbonapi.usages.models import Usage
from tests.support import factories
from tests.support.apps import operator_context
from tests.support.client import Client
from tests.support.threads import at_once

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 12.5}
FILE = "usage_at,amount\n2024-01-01T00:00:00Z,1\n2024-01-02T00:00:00Z,2\n"
KEY = {"Idempotency-Key": "7f9c2ba4-e88f-11ee"}
# Headers that differ between a response and its replay.
OF_THE_REQUEST = {"X-Request-ID", "Date", "RateLimit"}


def count(model):
    return db.session.scalar(sa.select(sa.func.count()).select_from(model))


def content_of(answer):
    """Return status, headers and body, without the headers of the individual request."""
    headers = {name: value for name, value in answer.headers.items() if name not in OF_THE_REQUEST}
    return answer.status_code, headers, answer.data


def assert_replayed(again, first):
    """Assert that a response is a replay of the first one."""
    status, headers, body = content_of(again)
    assert headers.pop("Idempotency-Replayed") == "true"
    assert (status, headers, body) == content_of(first)
    assert "Idempotency-Replayed" not in first.headers


def age(**by):
    """Make the stored responses older."""
    db.session.execute(
        sa.update(IdempotencyRecord).values(claimed_at=IdempotencyRecord.claimed_at - dt.timedelta(**by))
    )
    db.session.commit()


def test_repeated_usage_with_key_is_recorded_once(as_member):
    first = as_member.post("/usages", json=USAGE, headers=KEY)
    recorded = as_member.post("/usages", json=USAGE, headers=KEY)

    assert first.status_code == 201
    assert first.headers["Location"] == f"/api/v1/usages/{first.json['id']}" and first.headers["ETag"] == '"1"'
    assert_replayed(recorded, first)
    assert (count(Usage), count(IdempotencyRecord)) == (1, 1)
    entries = sa.select(AuditEntry.action, AuditEntry.subject_id).where(AuditEntry.subject == "usage")
    assert db.session.execute(entries).all() == [("recorded", first.json["id"])]


def test_repeated_usage_without_key_is_recorded_twice(as_member):
    ids = {as_member.post("/usages", json=USAGE).json["id"] for _ in range(2)}

    assert (len(ids), count(Usage), count(IdempotencyRecord)) == (2, 2, 0)


def test_replay_returns_the_first_response_after_a_change(as_member):
    first = as_member.post("/usages", json=USAGE, headers=KEY)
    as_member.patch(f"/usages/{first.json['id']}", json={"amount": 3})

    assert_replayed(as_member.post("/usages", json=USAGE, headers=KEY), first)


def test_trailing_slash_does_not_matter_for_a_key(as_member):
    first = as_member.post("/usages", json=USAGE, headers=KEY)

    assert_replayed(as_member.post("/usages/", json=USAGE, headers=KEY), first)


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        ("/usages", {"json": USAGE | {"amount": 13}}),
        ("/imports?usage_type_id=100", {"data": FILE, "content_type": "text/csv"}),
        ("/imports?usage_type_id=100&mode=dry-run", {"data": FILE, "content_type": "text/csv"}),
        ("/auth/logout", {}),
    ],
)
def test_key_of_another_request_is_422(as_member, path, request_):
    as_member.post("/usages", json=USAGE, headers=KEY)

    answer = as_member.post(path, headers=KEY, **request_)

    assert answer.status_code == 422
    assert answer.json["detail"] == (
        "The Idempotency-Key 7f9c2ba4-e88f-11ee belongs to another request. Use a new one for this request."
    )
    assert (count(Usage), count(Import)) == (1, 0)
    assert as_member.get("/auth/me").status_code == 200


def test_key_with_another_query_is_422(as_member):
    file = {"data": FILE, "content_type": "text/csv", "headers": KEY}
    assert as_member.post("/imports?usage_type_id=100&mode=dry-run", **file).status_code == 200

    assert as_member.post("/imports?usage_type_id=100", **file).status_code == 422
    assert count(Usage) == 0


def test_keys_belong_to_one_user(as_member, sign_in, organization, as_other_manager):
    clients = (as_member, sign_in(factories.user(organization)), as_other_manager)

    answers = [client.post("/usages", json=USAGE, headers=KEY) for client in clients]

    assert [answer.json["user_id"] for answer in answers] == [client.user.id for client in clients]
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [None, None, None]
    assert count(Usage) == 3


@pytest.mark.parametrize("bad", [{"amount": "much"}, {"usage_type_id": 987654321}, {"usage_at": "1899-12-31"}])
def test_error_is_not_stored_for_a_key(as_member, bad):
    assert as_member.post("/usages", json=USAGE | bad, headers=KEY).status_code == 422
    assert count(IdempotencyRecord) == 0

    fixed = as_member.post("/usages", json=USAGE, headers=KEY)

    assert fixed.status_code == 201 and "Idempotency-Replayed" not in fixed.headers


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "café", "tab\there"])
def test_invalid_key_is_422(as_member, key):
    answer = as_member.post("/usages", json=USAGE, headers={"Idempotency-Key": key})

    assert answer.status_code == 422
    assert answer.json["detail"] == "Idempotency-Key must be 1 to 255 visible ASCII characters, for example a UUID."
    assert count(Usage) == 0


@pytest.mark.parametrize("key", ["x" * 255, "!", '"quoted"~'])
def test_key_can_have_any_visible_ascii_characters(as_member, key):
    first, again = (as_member.post("/usages", json=USAGE, headers={"Idempotency-Key": key}) for _ in range(2))

    assert_replayed(again, first)


def test_key_expires_after_a_day(as_member):
    first = as_member.post("/usages", json=USAGE, headers=KEY)
    age(hours=23, minutes=59)
    assert_replayed(as_member.post("/usages", json=USAGE, headers=KEY), first)
    age(minutes=1)

    second = as_member.post("/usages", json=USAGE | {"amount": 13}, headers=KEY)

    assert (second.status_code, second.json["amount"]) == (201, 13)
    assert_replayed(as_member.post("/usages", json=USAGE | {"amount": 13}, headers=KEY), second)
    assert (count(Usage), count(IdempotencyRecord)) == (2, 1)


def test_storing_a_response_deletes_expired_records(as_member, as_other_manager):
    for client in (as_member, as_other_manager):
        for number in range(3):
            client.post("/usages", json=USAGE, headers={"Idempotency-Key": f"old-{number}"})
    age(hours=24)

    as_member.post("/usages", json=USAGE, headers=KEY)

    keys = db.session.scalars(sa.select(IdempotencyRecord.key).order_by(IdempotencyRecord.key)).all()
    assert keys == [KEY["Idempotency-Key"], "old-0", "old-1", "old-2"]  # Another organization's stay for its own.


@pytest.mark.parametrize("query", ["", "&mode=dry-run", "&mode=partial"])
def test_repeated_upload_with_key_is_imported_once(as_member, query):
    def send():
        path = f"/imports?usage_type_id=100{query}"
        return as_member.post(path, data=FILE, content_type="text/csv", headers=KEY)

    first, again = send(), send()

    assert first.status_code == (200 if "dry" in query else 201)
    assert_replayed(again, first)
    assert (count(Import), count(Usage)) == ((0, 0) if "dry" in query else (1, 2))


def test_verification_with_a_key_reads_the_whole_file(as_auditor):
    file = {"data": "id,version,co2e_kg\n1,1,1\n2,1,1\n", "content_type": "text/csv"}
    first, again = (as_auditor.post("/verify", headers=KEY, **file) for _ in range(2))

    assert first.json == as_auditor.post("/verify", **file).json
    assert first.json["lines"] == 2
    assert_replayed(again, first)


def test_upload_fingerprint_ignores_the_form_boundary(as_member, tmp_path):
    def send(content, boundary):
        form = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{boundary}.csv"\r\n\r\n'
        body = f"{form}{content}\r\n--{boundary}--\r\n"
        content_type = f"multipart/form-data; boundary={boundary}"
        return as_member.post("/imports?usage_type_id=100", data=body, content_type=content_type, headers=KEY)

    first, again, other = send(FILE, "one"), send(FILE, "two"), send(FILE + "2024-01-03T00:00:00Z,3\n", "three")

    assert (first.status_code, first.json["usage_count"]) == (201, 2)
    assert_replayed(again, first)
    assert other.status_code == 422
    assert count(Usage) == 2


def test_upload_fingerprint_covers_form_fields(as_member):
    def send(mode):
        form = {"file": (io.BytesIO(FILE.encode()), "a.csv"), "mode": mode, "usage_type_id": "100"}
        return as_member.post("/imports", data=form, content_type="multipart/form-data", headers=KEY)

    first, again, other = send("atomic"), send("atomic"), send("partial")

    assert first.status_code == 201
    assert_replayed(again, first)
    assert (other.status_code, "belongs to another request" in other.json["detail"]) == (422, True)


def test_large_upload_with_key_is_imported_once(as_member):
    lines = "".join(f"2024-01-01T00:00:00.{number:06}Z,{number},{'x' * 100}\n" for number in range(15_000))
    assert len(lines) > 2**20

    def send():
        path = "/imports?usage_type_id=100"
        return as_member.post(path, data=f"usage_at,amount,note\n{lines}", content_type="text/csv", headers=KEY)

    first, again = send(), send()

    assert (first.status_code, first.json["usage_count"]) == (201, 15_000)
    assert_replayed(again, first)


def test_repeated_async_upload_is_queued_once(as_member):
    def send():
        headers = KEY | {"Prefer": "respond-async"}
        return as_member.post("/imports?usage_type_id=100", data=FILE, content_type="text/csv", headers=headers)

    first, again = send(), send()

    assert (first.status_code, first.json["status"]) == (202, "queued")
    assert first.headers["Preference-Applied"] == "respond-async" and "Location" in first.headers
    assert_replayed(again, first)
    assert count(Import) == 1


def test_empty_response_is_replayed(as_member):
    change = {"current_password": factories.PASSWORD, "new_password": "quite other words for a change"}

    first, again = (as_member.post("/auth/password", json=change, headers=KEY) for _ in range(2))

    assert (first.status_code, first.data) == (204, b"")
    assert_replayed(again, first)


def test_repeated_user_creation_with_key_is_no_conflict(as_manager):
    user = {"email": "new@example.org", "name": "New", "role": "member", "password": factories.PASSWORD}

    first, again = (as_manager.post("/users", json=user, headers=KEY) for _ in range(2))

    assert first.status_code == 201
    assert_replayed(again, first)
    assert as_manager.post("/users", json=user, headers={"Idempotency-Key": "another"}).status_code == 409


def test_public_endpoints_ignore_keys(stranger, as_member):
    credentials = {"email": as_member.user.email, "password": factories.PASSWORD}

    first, again = (stranger.post("/auth/login", json=credentials, headers=KEY) for _ in range(2))

    assert (first.status_code, again.status_code, count(IdempotencyRecord)) == (200, 200, 0)
    assert first.json["refresh_token"] != again.json["refresh_token"]


def test_other_methods_ignore_keys(as_member):
    usage_id = as_member.post("/usages", json=USAGE).json["id"]

    for amount in (1, 2):
        assert as_member.patch(f"/usages/{usage_id}", json={"amount": amount}, headers=KEY).json["amount"] == amount
    assert count(IdempotencyRecord) == 0


def test_stored_fingerprint_is_keyed(app, as_manager, monkeypatch):
    user = {"email": "new@example.org", "name": "New", "role": "member", "password": factories.PASSWORD}
    as_manager.post("/users", json=user, headers=KEY)

    record = db.session.execute(sa.select(IdempotencyRecord)).scalar_one()

    assert factories.PASSWORD.encode() not in record.body and len(record.fingerprint) == 32
    # Without the service's own key, the fingerprint is another.
    monkeypatch.setitem(app.config, "JWT_SECRET_KEY", "another key for tests alone, of 32 bytes and more")
    tokens = sessions.create(db.session.get_one(User, as_manager.user.id), factories.now())
    assert Client(app, tokens).post("/users", json=user, headers=KEY).status_code == 422


def test_key_takes_two_statements_and_a_replay_one(app, as_member, statements, monkeypatch, no_rate_limits):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    as_member.post("/usages", json=USAGE)  # The first of a type chooses its valuation.
    sent = []
    for _ in range(2):
        statements.clear()
        as_member.post("/usages", json=USAGE, headers=KEY)
        sent.append([statement.split()[0] for statement in statements])

    assert sent == [["INSERT", "WITH", "WITH"], ["INSERT", "SELECT"]]


def send_at_once(client, number, body):
    """Return the responses to this usage, sent by several threads with one key."""
    app, tokens = client.http.application, client.tokens
    return at_once(number, lambda place: Client(app, tokens).post("/usages", json=body, headers=KEY))


def test_concurrent_requests_with_one_key_have_one_effect(committing):
    answers = send_at_once(committing, 8, USAGE)

    (first,) = [answer for answer in answers if "Idempotency-Replayed" not in answer.headers]
    for answer in answers:
        if answer is not first:
            assert_replayed(answer, first)
    assert [usage["id"] for usage in committing.get("/usages").json] == [first.json["id"]]
    entries = committing.get("/audit-entries?action=recorded").json
    assert [entry["subject_id"] for entry in entries] == [first.json["id"]]


def test_concurrent_errors_with_one_key_store_nothing(committing):
    answers = send_at_once(committing, 8, USAGE | {"usage_type_id": 987654321})

    assert [answer.status_code for answer in answers] == [422] * 8
    assert committing.post("/usages", json=USAGE, headers=KEY).status_code == 201


def test_key_of_a_running_request_is_409(committing):
    with operator_context(committing.http.application):
        running = {"organization_id": committing.user.organization_id, "user_id": committing.user.id}
        running |= {"key": KEY["Idempotency-Key"], "fingerprint": b"", "claimed_at": factories.now()}
        with db.engine.connect() as first:
            first.execute(sa.insert(IdempotencyRecord).values(running))
            begun_at = time.monotonic()
            answer = Client(committing.http.application, committing.tokens).post("/usages", json=USAGE, headers=KEY)
            waited = time.monotonic() - begun_at
            first.rollback()

    assert answer.status_code == 409
    assert answer.json["detail"] == (
        "The first request with the Idempotency-Key 7f9c2ba4-e88f-11ee is still running. Try again shortly."
    )
    assert 2 <= waited < 4
    assert committing.post("/usages", json=USAGE, headers=KEY).status_code == 201

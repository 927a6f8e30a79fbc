"""The ledger under several hands at once, on a database that really commits."""

import threading

import pytest
import sqlalchemy as sa

from carbonapi.db import db
from carbonapi.errors import Unauthenticated
from carbonapi.usages import service
from carbonapi.usages.models import Usage
from tests.support import factories
from tests.support.apps import operator_context
from tests.support.client import Client
from tests.support.threads import at_once


@pytest.fixture
def client(committing):
    """A function that makes a client of a manager who has recorded a usage."""
    app = committing.http.application
    with operator_context(app):
        factories.usage(committing.user)
        db.session.remove()
    return lambda: Client(app, committing.tokens, committing.user)


def test_concurrent_writes_with_one_etag_have_one_winner(client):
    path = f"/usages/{client().get('/usages').json[0]['id']}"
    for round_ in range(10):
        tag = client().get(path).headers["ETag"]

        answers = at_once(
            4,
            lambda place, tag=tag, round_=round_: client().patch(
                path, json={"amount": 100 * round_ + place + 2}, headers={"If-Match": tag}
            ),
        )

        assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
        winner = next(answer for answer in answers if answer.status_code == 200)
        assert client().get(path).json == winner.json
    assert client().get(path).headers["ETag"] == '"11"'


def test_concurrent_writes_without_etag_all_succeed(client):
    path = f"/usages/{client().get('/usages').json[0]['id']}"

    answers = at_once(6, lambda place: client().patch(path, json={"amount": place + 2}))

    assert [answer.status_code for answer in answers] == [200] * 6
    assert sorted(answer.json["version"] for answer in answers) == [2, 3, 4, 5, 6, 7]


def test_external_id_is_unique_under_concurrency(client):
    body = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1, "external_id": "one"}

    answers = at_once(6, lambda place: client().post("/usages", json=body))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    assert len(client().get("/usages?external_id=one").json) == 1


def test_concurrent_delete_and_correction_are_atomic(client):
    path = f"/usages/{client().get('/usages').json[0]['id']}"

    answers = at_once(2, lambda place: client().delete(path) if place else client().patch(path, json={"amount": 9}))

    assert sorted(answer.status_code for answer in answers) in ([200, 204], [204, 404])
    assert client().get(path).status_code == 404


def test_record_requires_an_actor(app, organization):
    user = factories.user(organization)
    errors = []

    def record():  # A new thread has no actor.
        with operator_context(app):
            try:
                service.record(user_id=user.id, usage_type_id=100, usage_at=factories.now(), amount=1)
            except Unauthenticated as error:
                errors.append(error)

    thread = threading.Thread(target=record)
    thread.start()
    thread.join()

    assert len(errors) == 1
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Usage)) == 0


def test_record_autocommits_and_correction_has_transaction(client, monkeypatch):
    monkeypatch.setitem(client().http.application.config, "SESSION_CACHE_SECONDS", 5)
    usage = client().get("/usages").json[0]
    moment = (
        factories.now()
    )  # A part of their limit of writes is leased, in a window that does not end during the test.
    monkeypatch.setattr("carbonapi.rest.rate_limit_headers.now", lambda: moment)
    client().post("/usages", json={})
    begun = []

    def note(connection, cursor, statement, parameters, context, executemany):
        begun.append(not cursor.connection.autocommit)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        body = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 1}
        assert client().post("/usages", json=body).status_code == 201
        assert begun == [False]
        assert client().patch(f"/usages/{usage['id']}", json={"amount": 3}).status_code == 200
        assert begun == [False, True, True, True, True]
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert client().get("/usages").headers["X-Pagination"].startswith('{"total": 2,')


def test_consecutive_actors_are_recorded_as_themselves(as_manager, as_other_manager):
    moments = {"2024-01-01T00:00:00Z": "one", "2024-02-01T00:00:00Z": "another"}
    for client, (usage_at, request_id) in zip((as_manager, as_other_manager), moments.items(), strict=True):
        body = {"usage_type_id": 100, "usage_at": usage_at, "amount": 1}
        address = {"REMOTE_ADDR": f"192.0.2.{len(request_id)}"}
        usage = client.post("/usages", json=body, headers={"X-Request-ID": request_id}, environ_overrides=address).json

        user = client.user
        assert [usage[name] for name in ("organization_id", "user_id", "recorded_by")] == [
            user.organization_id, user.id, user.id,
        ]  # fmt: skip
        (entry,) = client.get("/audit-entries?action=recorded").json
        names = ("organization_id", "actor_id", "actor_role", "address", "request_id", "subject_id", "reason")
        assert [entry[name] for name in names] == [
            user.organization_id, user.id, "manager", address["REMOTE_ADDR"], request_id, usage["id"], None,
        ]  # fmt: skip
        assert entry["new"]["usage_at"] == usage_at

"""API keys through HTTP: permissions, expiry, and that only the response to their creation contains them."""

import datetime as dt
import re
import time

import pytest
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.accounts.api_keys.models import ApiKey
from carbonapi.accounts.opaque_tokens import OpaqueToken, new_token, parse_token
from carbonapi.audit.models import AuditEntry
from carbonapi.db import db
from carbonapi.rest.idempotency import IdempotencyRecord
from tests.support import factories
from tests.support.apps import operator_context, settings_for
from tests.support.client import Client

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 0.3}
CHANGE = {"current_password": factories.PASSWORD, "new_password": "quite other words for a change"}


def made(client, scope="write", **fields):
    answer = client.post("/api-keys", json={"name": "A meter", "scope": scope} | fields)
    assert answer.status_code == 201, answer.text
    return answer.json


def machine(client, scope="write", app=None, **fields):
    """Return a client that uses a new key of this client."""
    return Client(app or client.http.application, {"access_token": made(client, scope, **fields)["key"]})


def later(**duration):
    return (factories.now() + dt.timedelta(**duration)).isoformat()


def test_key_is_shown_once_and_acts_as_its_user(as_member):
    answer = as_member.post("/api-keys", json={"name": " Cellar ", "scope": "write"})

    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    shown = answer.json
    key = shown.pop("key")
    organization_id, user_id = as_member.user.organization_id, as_member.user.id
    assert re.fullmatch(rf"carbonapi_{organization_id}_{shown['id']}_[A-Za-z0-9_-]{{43}}[0-9a-f]{{8}}", key)
    assert shown.pop("created_at").endswith("Z")
    assert shown == {
        "id": shown["id"],
        "organization_id": organization_id,
        "user_id": user_id,
        "name": "Cellar",
        "scope": "write",
        "prefix": key[: len(shown["prefix"])],
        "expires_at": None,
        "last_used_at": None,
    }
    assert len(shown["prefix"]) == len(f"carbonapi_{organization_id}_{shown['id']}_") + 4
    acting = Client(as_member.http.application, {"access_token": key})
    assert acting.get("/auth/me").json["id"] == user_id
    recorded = acting.post("/usages", json=USAGE).json
    assert (recorded["user_id"], recorded["recorded_by"]) == (user_id, user_id)
    for read in (as_member.get("/api-keys"), as_member.get(answer.headers["Location"]), acting.get("/api-keys")):
        assert read.status_code == 200
        assert key not in read.text and "digest" not in read.text


def test_stored_key_cannot_authenticate(app, as_member):
    shown = made(as_member)
    secret = shown["key"].removeprefix(f"carbonapi_{shown['organization_id']}_{shown['id']}_")[:43]

    stored = db.session.execute(sa.text("SELECT * FROM api_keys")).one()._mapping
    entries = db.session.execute(sa.text("SELECT audit_entries::text FROM audit_entries")).scalars().all()

    assert secret not in str(dict(stored)) and not [entry for entry in entries if secret in entry]
    assert (len(stored["digest"]), stored["beginning"]) == (32, secret[:4])
    app.config["SESSION_CACHE_SECONDS"] = 5
    try:
        Client(app, {"access_token": shown["key"]}).get("/auth/me")
    finally:
        app.config["SESSION_CACHE_SECONDS"] = 0
    assert secret not in str(app.extensions["carbonapi"].actors)
    assert secret not in str(app.extensions["carbonapi"].claims)


def test_read_key_cannot_write(as_manager):
    reader = machine(as_manager, "read")
    usage = as_manager.post("/usages", json=USAGE).json
    export = as_manager.get("/usages/export").data

    assert reader.get("/usages").json == [usage]
    assert reader.open("/usages", "HEAD").status_code == 200
    assert reader.post("/verify", data=export, content_type="text/csv").json["reproduced"] == 1
    for answer in (
        reader.post("/usages", json=USAGE),
        reader.patch(f"/usages/{usage['id']}", json={"amount": 1}),
        reader.delete(f"/usages/{usage['id']}"),
        reader.post("/imports?usage_type_id=100", data="usage_at,amount\n", content_type="text/csv"),
    ):
        assert (answer.status_code, answer.json["detail"]) == (
            403,
            "This API key has the scope read. Use one with the scope write.",
        )


def test_key_has_current_role_of_its_user(as_manager, as_auditor, sign_in, organization):
    assert machine(as_auditor).post("/usages", json=USAGE).status_code == 403
    colleague = sign_in(factories.user(organization, "manager"))
    acting = machine(colleague)
    assert acting.post("/closed-periods", json={"until": "2020-01-01T00:00:00Z"}).status_code == 201

    as_manager.patch(f"/users/{colleague.user.id}", json={"role": "member"})

    assert acting.post("/closed-periods", json={"until": "2021-01-01T00:00:00Z"}).status_code == 403
    assert acting.get("/users").json == [acting.get("/auth/me").json]


def test_key_expires_despite_the_cache(app, as_member, monkeypatch):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    expiring = machine(as_member, expires_at=later(seconds=1.2))

    assert expiring.get("/usages").status_code == 200
    time.sleep(0.3)
    assert expiring.get("/usages").status_code == 200
    time.sleep(1)
    rejected = expiring.get("/usages")

    challenge = 'Bearer realm="carbonapi", error="invalid_token"'
    assert (rejected.status_code, rejected.headers["WWW-Authenticate"]) == (401, challenge)
    assert rejected.json["detail"] == "Invalid API key: it is unknown, deleted or expired, or its user is deactivated."
    past = as_member.post("/api-keys", json={"name": "x", "scope": "read", "expires_at": "2024-01-01T00:00:00Z"})
    assert (past.status_code, list(past.json["errors"]["json"])) == (422, ["expires_at"])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"scope": "admin"}, "scope"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"user_id": 1}, "user_id"),
        ({"key": "of my own"}, "key"),
    ],
)
def test_invalid_key_fields_are_422_by_field(as_member, changes, field):
    answer = as_member.post("/api-keys", json={"name": "x", "scope": "read"} | changes)

    assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, [field])


def test_malformed_key_is_401_without_a_query(stranger, as_member, statements):
    key = made(as_member)["key"]
    largest = OpaqueToken("carbonapi", 2**63, 1, new_token())
    other_purpose = OpaqueToken("carbonapi-password", 1, 1, new_token())
    statements.clear()
    for text in (
        key[:-1],
        key + "0",
        key.swapcase(),
        key[:-9] + ("A" if key[-9] != "A" else "B") + key[-8:],
        key.replace("carbonapi_", "carbonapi_1"),
        f"{key} {key}",
        "carbonapi_",
        "carbonapi_é",
        f"carbonapi_1_1_{'A' * 43}00000000",
        str(largest),
        str(other_purpose),
    ):
        assert stranger.get("/auth/me", headers={"Authorization": f"Bearer {text}"}).status_code == 401, text
    assert stranger.post("/auth/refresh", headers={"Authorization": f"Bearer {key}"}).status_code == 401
    assert statements == []


def test_secret_works_only_with_its_own_key(stranger, as_member, as_other_manager):
    mine, theirs = (parse_token("carbonapi", made(client)["key"]) for client in (as_member, as_other_manager))
    for forged in (
        OpaqueToken("carbonapi", mine.organization_id, mine.id, new_token()),
        OpaqueToken("carbonapi", mine.organization_id, mine.id, theirs.secret),
        OpaqueToken("carbonapi", theirs.organization_id, mine.id, mine.secret),
        OpaqueToken("carbonapi", mine.organization_id, 10**15, mine.secret),
    ):
        assert stranger.get("/auth/me", headers={"Authorization": f"Bearer {forged}"}).status_code == 401
    assert stranger.get("/auth/me", headers={"Authorization": f"Bearer {mine}"}).status_code == 200


def test_key_can_be_deleted_by_those_who_see_it(
    as_member, as_auditor, as_manager, as_admin, as_other_manager, sign_in, organization
):
    keys = {client: made(client)["id"] for client in (as_member, as_auditor, as_manager)}
    other_member = sign_in(factories.user(organization, "member"))

    def seen(client):
        return [key["id"] for key in client.get("/api-keys").json]

    assert seen(as_member) == [keys[as_member]]
    assert seen(as_auditor) == [keys[as_auditor]]
    assert seen(as_manager) == sorted(keys.values())
    assert set(keys.values()) <= set(seen(as_admin))
    assert as_manager.get(f"/api-keys?user_id={as_auditor.user.id}&scope=write").json[0]["id"] == keys[as_auditor]
    for client in (as_auditor, other_member, as_other_manager):
        assert client.delete(f"/api-keys/{keys[as_member]}").status_code == 404
    acting = machine(as_member)
    for client, key_id in ((as_member, keys[as_member]), (as_manager, keys[as_auditor]), (as_admin, keys[as_manager])):
        assert client.delete(f"/api-keys/{key_id}").status_code == 204
        assert client.delete(f"/api-keys/{key_id}").status_code == 404
    assert acting.get("/usages").status_code == 200


def test_manager_cannot_delete_admins_key(as_manager, sign_in, organization):
    admin = sign_in(factories.user(organization, "admin"))
    path = f"/api-keys/{made(admin)['id']}"

    assert as_manager.delete(path).status_code == 403
    assert admin.delete(path).status_code == 204


def test_key_follows_deactivation_and_erasure_of_user(as_manager, as_member):
    acting, path = machine(as_member), f"/users/{as_member.user.id}"

    as_manager.patch(path, json={"active": False})
    assert acting.get("/usages").status_code == 401
    as_manager.patch(path, json={"active": True})
    assert acting.get("/usages").status_code == 200
    as_manager.delete(path)

    assert acting.get("/usages").status_code == 401
    assert db.session.scalars(sa.select(ApiKey)).all() == []


def test_password_change_keeps_keys(as_member):
    acting = machine(as_member)

    assert as_member.post("/auth/password", json=CHANGE).status_code == 204

    assert acting.get("/auth/me").status_code == 200


def test_organization_with_erased_key_owners_can_be_deleted(as_admin, sign_in):
    owner = sign_in(factories.user(factories.organization(), "admin"))
    made(owner)

    assert as_admin.delete(f"/users/{owner.user.id}").status_code == 204
    assert as_admin.delete(f"/organizations/{owner.user.organization_id}").status_code == 204


def test_last_use_is_written_once_a_minute(app, as_member, statements, monkeypatch):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    key = made(as_member)
    acting = Client(app, {"access_token": key["key"]})
    path = f"/api-keys/{key['id']}"
    sent = []
    for _ in range(3):
        statements.clear()
        assert acting.get("/usages").status_code == 200
        sent.append([statement.split()[0] for statement in statements])
        if len(sent) == 2:
            app.extensions["carbonapi"].actors.clear()

    assert sent == [["SELECT", "UPDATE", "SELECT"], ["SELECT"], ["SELECT", "SELECT"]]
    first = as_member.get(path).json["last_used_at"]
    assert abs(factories.at(first) - factories.now()) < dt.timedelta(minutes=1)
    db.session.execute(sa.update(ApiKey).values(last_used_at=ApiKey.last_used_at - dt.timedelta(seconds=60)))
    app.extensions["carbonapi"].actors.clear()
    assert acting.get("/usages").status_code == 200
    assert as_member.get(path).json["last_used_at"] > first


def test_last_use_is_committed_by_reads(committing):
    key = made(committing, "read")

    assert Client(committing.http.application, {"access_token": key["key"]}).get("/usages").status_code == 200

    assert committing.get(f"/api-keys/{key['id']}").json["last_used_at"] is not None


def test_failed_write_with_key_is_rolled_back(as_member):
    """Committing `last_used_at` must not commit the request."""
    acting = machine(as_member)
    rejected = [USAGE | {"external_id": "a"}, USAGE | {"external_id": "a"}]

    assert [acting.post("/usages", json=usage).status_code for usage in rejected] == [201, 409]
    file = "usage_at,amount\n2024-01-01T00:00:00Z,1\n2024-01-01T00:00:00Z,x\n"
    assert machine(as_member).post("/imports?usage_type_id=100", data=file, content_type="text/csv").status_code == 422

    assert len(as_member.get("/usages").json) == 1


def test_repeated_key_creation_omits_the_key(as_member):
    once = {"json": {"name": "x", "scope": "read"}, "headers": {"Idempotency-Key": "one"}}
    first, again = (as_member.post("/api-keys", **once) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 201)
    key = first.json["key"]
    assert again.json == {name: value for name, value in first.json.items() if name != "key"}
    assert (again.headers["Location"], again.headers["Idempotency-Replayed"]) == (first.headers["Location"], "true")
    stored = db.session.execute(sa.select(IdempotencyRecord.body, IdempotencyRecord.headers)).one()
    assert key[-51:] not in str(tuple(stored))
    assert len(as_member.get("/api-keys").json) == 1


def test_key_creation_and_deletion_are_audited(as_member, as_manager):
    key = made(as_member, "read", expires_at="2199-01-01T00:00:00Z")
    as_manager.delete(f"/api-keys/{key['id']}")

    columns = (AuditEntry.action, AuditEntry.actor_id, AuditEntry.subject_id, AuditEntry.old, AuditEntry.new)
    entries = sa.select(*columns).where(AuditEntry.subject == "api key").order_by(AuditEntry.id)
    whole = {"user_id": as_member.user.id, "name": "A meter", "scope": "read", "expires_at": "2199-01-01T00:00:00Z"}
    assert [tuple(row) for row in db.session.execute(entries)] == [
        ("created", as_member.user.id, key["id"], None, whole),
        ("deleted", as_manager.user.id, key["id"], whole, None),
    ]


def test_audit_entries_name_the_key(as_member, as_manager):
    key = made(as_member)
    acting = Client(as_member.http.application, {"access_token": key["key"]})
    usage_id = acting.post("/usages", json=USAGE).json["id"]
    acting.patch(f"/usages/{usage_id}", json={"amount": 1})
    as_member.delete(f"/usages/{usage_id}")
    file = "usage_at,amount\n2024-01-01T00:00:00Z,1\n"
    acting.post("/imports?usage_type_id=100", data=file, content_type="text/csv")

    entries = as_manager.get(f"/audit-entries?actor_id={as_member.user.id}&subject=usage&subject=import&sort=id").json
    assert [(entry["action"], entry["api_key_id"]) for entry in entries] == [
        ("recorded", key["id"]),
        ("corrected", key["id"]),
        ("deleted", None),
        ("imported", key["id"]),
    ]
    with_key = as_manager.get(f"/audit-entries?api_key_id={key['id']}&sort=id").json
    assert with_key == [entry for entry in entries if entry["api_key_id"]]


@pytest.fixture(params=[0, 1])
def workers(fresh_database_url, request):
    """Return a second worker, a manager and a member at the first one, and the seconds to wait for both caches."""
    apps = [create_app(settings_for(fresh_database_url, SESSION_CACHE_SECONDS=request.param)) for _ in range(2)]
    people = []
    with operator_context(apps[0]):
        organization = factories.organization()
        for role in ("manager", "member"):
            user = factories.user(organization, role)
            credentials = {"email": user.email, "password": factories.PASSWORD}
            people.append(Client(apps[0], Client(apps[0]).post("/auth/login", json=credentials).json, user))
    yield apps[1], *people, request.param + 0.1
    for app in apps:
        with app.app_context():
            db.engine.dispose()


def test_user_changes_reach_other_workers_in_time(workers):
    other, manager, member, seconds = workers
    path = f"/users/{member.user.id}"
    credentials = {"email": member.user.email, "password": factories.PASSWORD}
    session, ended = (Client(other, Client(other).post("/auth/login", json=credentials).json) for _ in range(2))
    key, deleted = (Client(other, {"access_token": made(member)["key"]}) for _ in range(2))
    everything = (session, ended, key, deleted)
    assert [client.get("/users").status_code for client in everything] == [200] * 4

    (first, second) = [each["id"] for each in member.get("/api-keys").json]
    assert first < second
    assert member.delete(f"/api-keys/{second}").status_code == 204
    assert ended.post("/auth/logout").status_code == 204
    assert manager.patch(path, json={"role": "auditor"}).status_code == 200
    time.sleep(seconds)
    assert [client.get("/users").status_code for client in everything] == [200, 401, 200, 401]
    assert [len(client.get("/users").json) for client in (session, key)] == [2, 2]  # An auditor sees all of them.

    assert member.post("/auth/password", json=CHANGE).status_code == 204
    time.sleep(seconds)
    assert [client.get("/users").status_code for client in (member, session, key)] == [200, 401, 200]

    assert manager.patch(path, json={"active": False}).status_code == 200
    time.sleep(seconds)
    assert [client.get("/users").status_code for client in (member, key)] == [401, 401]

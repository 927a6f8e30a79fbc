"""Access to every operation by role and credentials."""

import pytest

from carbonapi.db import db
from tests.support import factories
from tests.support.canaries import CANARY, PUBLIC, WRITES, plant, requests_for_all_operations
from tests.support.client import Client

# Writes that every role may do: to the user's own account.
OWN = {
    "/api/v1/auth/logout",
    "/api/v1/auth/password",
    "/api/v1/auth/me",
    "/api/v1/auth/refresh",
    "/api/v1/auth/sessions/<int:session_id>",
    "/api/v1/api-keys",
    "/api/v1/api-keys/<int:api_key_id>",
}
# Requests by POST that write nothing, so that auditors may send them.
READS = {"/api/v1/verify"}
# Operations that change users or credentials. They take a login with a password; API keys get 403.
LOGIN_ONLY = {
    ("POST", "/api/v1/auth/logout"),
    ("POST", "/api/v1/auth/password"),
    ("PATCH", "/api/v1/auth/me"),
    ("GET", "/api/v1/auth/sessions"),
    ("DELETE", "/api/v1/auth/sessions/<int:session_id>"),
    ("POST", "/api/v1/api-keys"),
    ("DELETE", "/api/v1/api-keys/<int:api_key_id>"),
    ("POST", "/api/v1/users"),
    ("DELETE", "/api/v1/users"),
    ("PUT", "/api/v1/users/<int:user_id>"),
    ("PATCH", "/api/v1/users/<int:user_id>"),
    ("DELETE", "/api/v1/users/<int:user_id>"),
    ("POST", "/api/v1/users/<int:user_id>/reset"),
    ("PUT", "/api/v1/users/<int:user_id>/sites"),
}


@pytest.fixture
def ids(app, sign_in):
    return plant(sign_in)


def test_operations_require_authentication(app, stranger, ids):
    reached = 0
    for rule, method, path, body in requests_for_all_operations(app, ids):
        if rule not in PUBLIC:
            answer = stranger.http.open(path, method=method, **body)
            assert answer.status_code == 401, (method, path)
            assert CANARY not in answer.text
            reached += 1
    assert reached >= 40


def test_auditor_writes_nothing(app, sign_in, ids):
    organization = db.session.get_one(factories.Organization, ids["organization_id"])
    auditor = sign_in(factories.user(organization, "auditor"))
    reached = 0
    for rule, method, path, body in requests_for_all_operations(app, ids):
        if method in WRITES and rule not in PUBLIC | OWN | READS:
            assert auditor.open(path, method, **body).status_code == 403, (method, path)
            reached += 1
    assert reached >= 20
    assert auditor.get(f"/usages/{ids['usage_id']}").json["note"] == f"{CANARY} note"


def test_member_manages_no_users_or_catalogue(app, sign_in, ids):
    organization = db.session.get_one(factories.Organization, ids["organization_id"])
    member = sign_in(factories.user(organization, "member"))
    for rule, method, path, body in requests_for_all_operations(app, ids):
        if method in WRITES and rule.startswith(("/api/v1/users", "/api/v1/organizations", "/api/v1/usage-types")):
            assert member.open(path, method, **body).status_code == 403, (method, path)
    assert member.get(f"/usages/{ids['usage_id']}").status_code == 404
    assert member.get("/usages").json == []


def test_api_keys_are_limited_to_their_scope(app, as_admin, ids):
    own = {"api_key_id": as_admin.post("/api-keys", json={"name": "Own", "scope": "write"}).json["id"]}
    keys = [as_admin.post("/api-keys", json={"name": "x", "scope": scope}).json["key"] for scope in ("write", "read")]
    writer, reader = (Client(app, {"access_token": key}) for key in keys)
    forbidden, reached = set(), 0
    for rule, method, path, body in requests_for_all_operations(app, ids | own):
        if rule in PUBLIC | {"/api/v1/auth/refresh"}:
            continue
        if method in WRITES and rule not in READS:
            assert reader.open(path, method, **body).status_code == 403, (method, path)
            reached += 1
        answer = writer.open(path, method, **body)
        if answer.status_code == 403:
            assert answer.json["detail"] == "API keys may not do this. Log in with a password instead."
            forbidden.add((method, rule))
    assert forbidden == LOGIN_ONLY
    assert reached >= 30
    assert as_admin.get("/auth/me").status_code == 200


def test_admin_sees_every_organization(as_admin, ids):
    for path in (f"/usages/{ids['usage_id']}", f"/users/{ids['user_id']}", f"/imports/{ids['import_id']}"):
        assert as_admin.get(path).status_code == 200
    assert ids["usage_id"] in [usage["id"] for usage in as_admin.get("/usages").json]
    groups = as_admin.get("/emissions/trend?group_by=organization").json[0]["groups"]
    assert ids["organization_id"] in [group["id"] for group in groups]

"""Who gets in where: made from the URL map and the OpenAPI document, so that no new route can be forgotten."""

import pytest

from carbonapi.accounts.models import Session
from carbonapi.catalogue.models import EmissionFactor
from carbonapi.db import db
from tests.conftest import Client
from tests.support import factories

# Beside these, the pages are for everybody: they are documents, and hold no rows.
PUBLIC = {
    "/postman.json",
    "/health/live",
    "/health/ready",
    "/api/v1/auth/register",
    "/api/v1/auth/login",
    "/api/v1/auth/accept",
}
# What one does to oneself, whoever one is; and what is read of the catalogue, which everybody shares.
OWN = {
    "/api/v1/auth/logout",
    "/api/v1/auth/password",
    "/api/v1/auth/me",
    "/api/v1/auth/refresh",
    "/api/v1/auth/sessions/<int:session_id>",
    "/api/v1/api-keys",
    "/api/v1/api-keys/<int:api_key_id>",
}
# What an auditor may do by POST: it writes nothing.
READS = {"/api/v1/verify"}
# What takes a password: it changes who may sign in, or with what.
IN_PERSON = {
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
}
CANARY = "canary-5d1f"
WRITES = {"POST", "PUT", "PATCH", "DELETE"}


@pytest.fixture
def nest(app, sign_in):
    """An organization full of canaries; returns the ids that paths, queries and bodies can name."""
    organization = factories.organization(f"{CANARY} ltd")
    manager = sign_in(factories.user(organization, "manager", f"{CANARY}@example.org", f"{CANARY} person"))
    member = factories.user(organization, name=f"{CANARY} member")
    usage = factories.usage(manager.user, note=f"{CANARY} note", external_id=f"{CANARY} id")
    file = f"usage_at,amount,note\n2024-01-01T00:00:00Z,1,{CANARY}\n"
    imported = manager.post("/imports?usage_type_id=100", data=file, content_type="text/csv").json
    own_type = factories.usage_type(factor=1)
    factories.usage(manager.user, usage_type_id=own_type.id)
    factories.emission_factor(own_type, 2, organization_id=organization.id)
    restatement = {"usage_type_id": own_type.id, "reason": CANARY, "mode": "apply"}
    restated = manager.post("/restatements", json=restatement).json
    return {
        "usage_id": usage.id,
        "user_id": member.id,
        "session_id": db.session.scalar(db.select(Session.id).where(Session.user_id == manager.user.id)),
        "api_key_id": manager.post("/api-keys", json={"name": CANARY, "scope": "read"}).json["id"],
        "organization_id": organization.id,
        "import_id": imported["id"],
        "restatement_id": restated["id"],
        "closed_period_id": manager.post("/closed-periods", json={"until": "2020-01-01T00:00:00Z", "note": CANARY}).json["id"],
        "usage_type_id": 100,
        "factor_id": db.session.scalar(db.select(EmissionFactor.id).where(EmissionFactor.usage_type_id == 100)),
    }


def operations(app, ids):
    """Every method of every route but the pages: the rule, the method, the path with its ids, and a right body."""
    document = app.extensions["carbonapi"].api.document
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith(("pages.", "dashboard.")):
            continue
        _, path = rule.build({name: ids[name] for name in rule.arguments})
        template = rule.rule.replace("<int:", "{").replace("<", "{").replace(">", "}")
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            operation = document["paths"].get(template, {}).get(method.lower(), {})
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            yield rule.rule, method, path, {"json": content["example"]} if content else {}


def test_a_stranger_gets_nowhere(app, stranger, nest):
    reached = 0
    for rule, method, path, body in operations(app, nest):
        if rule not in PUBLIC:
            answer = stranger.http.open(path, method=method, **body)
            assert answer.status_code == 401, (method, path)
            assert CANARY not in answer.text
            reached += 1
    assert reached >= 40


def test_another_organizations_manager_finds_nothing(app, as_other_manager, nest):
    reached = 0
    for rule, method, path, body in operations(app, nest):
        own_rows = set(_arguments(app, rule)) - {"usage_type_id", "factor_id"}
        if not own_rows:
            continue
        answer = as_other_manager.open(path, method, **body)
        # Deleting an organization takes an admin: that is said before anything is looked up.
        expected = 403 if (rule.endswith("<int:organization_id>") and method == "DELETE") else 404
        assert answer.status_code == expected, (method, path, answer.text)
        unknown = as_other_manager.open(path.replace(str(nest[own_rows.pop()]), "987654321"), method, **body)
        assert (answer.status_code, answer.json["type"]) == (unknown.status_code, unknown.json["type"])
        reached += 1
    assert reached >= 14


def test_nothing_of_another_organization_is_in_any_list(app, as_other_manager, nest):
    reached = 0
    for rule, method, path, _ in operations(app, nest):
        if method == "GET" and not _arguments(app, rule):
            assert CANARY not in as_other_manager.open(path).text, path
            reached += 1
    for path in (
        f"/usages?user_id={nest['user_id']}",
        f"/usages?import_id={nest['import_id']}",
        f"/usages?external_id={CANARY}%20id",
        f"/users?organization_id={nest['organization_id']}",
        "/emissions/trend?group_by=user&start=2023-01-01&end=2025-01-01",
        "/emissions/trend?group_by=organization",
        f"/emissions/summary?user_id={nest['user_id']}",
        f"/imports?recorded_by={nest['user_id']}",
    ):
        answer = as_other_manager.get(path)
        assert answer.status_code == 200
        assert CANARY not in answer.text
    assert reached >= 10


def test_another_organizations_ids_in_queries_and_bodies_are_of_nobody(as_other_manager, nest):
    usage = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}
    file = "usage_at,amount\n2024-01-01T00:00:00Z,1\n"
    for answer, status, field in (
        (as_other_manager.post("/usages", json=usage | {"user_id": nest["user_id"]}), 422, "user_id"),
        (as_other_manager.delete(f"/usages?id={nest['usage_id']}"), 404, None),
        (as_other_manager.delete(f"/users?id={nest['user_id']}"), 404, None),
        (
            as_other_manager.post(
                f"/imports?usage_type_id=100&user_id={nest['user_id']}", data=file, content_type="text/csv"
            ),
            422,
            "user_id",
        ),
    ):
        assert answer.status_code == status
        assert CANARY not in answer.text
        if field:
            assert field in str(answer.json["errors"])


def test_an_auditor_writes_nothing(app, sign_in, nest):
    organization = db.session.get_one(factories.Organization, nest["organization_id"])
    auditor = sign_in(factories.user(organization, "auditor"))
    reached = 0
    for rule, method, path, body in operations(app, nest):
        if method in WRITES and rule not in PUBLIC | OWN | READS:
            assert auditor.open(path, method, **body).status_code == 403, (method, path)
            reached += 1
    assert reached >= 20
    assert auditor.get(f"/usages/{nest['usage_id']}").json["note"] == f"{CANARY} note"


def test_a_member_manages_nobody(app, sign_in, nest):
    organization = db.session.get_one(factories.Organization, nest["organization_id"])
    member = sign_in(factories.user(organization, "member"))
    for rule, method, path, body in operations(app, nest):
        if method in WRITES and rule.startswith(("/api/v1/users", "/api/v1/organizations", "/api/v1/usage-types")):
            assert member.open(path, method, **body).status_code == 403, (method, path)
    assert member.get(f"/usages/{nest['usage_id']}").status_code == 404
    assert member.get("/usages").json == []


def test_an_admins_key_does_not_do_what_takes_a_password_and_one_that_reads_writes_nothing(app, as_admin, nest):
    own = {"api_key_id": as_admin.post("/api-keys", json={"name": "Own", "scope": "write"}).json["id"]}
    keys = [as_admin.post("/api-keys", json={"name": "x", "scope": scope}).json["key"] for scope in ("write", "read")]
    writer, reader = (Client(app, {"access_token": key}) for key in keys)
    refused, reached = set(), 0
    for rule, method, path, body in operations(app, nest | own):
        if rule in PUBLIC | {"/api/v1/auth/refresh"}:
            continue
        if method in WRITES and rule not in READS:
            assert reader.open(path, method, **body).status_code == 403, (method, path)
            reached += 1
        answer = writer.open(path, method, **body)
        if answer.status_code == 403:
            assert answer.json["detail"] == "API keys may not do this. Log in with a password instead."
            refused.add((method, rule))
    assert refused == IN_PERSON
    assert reached >= 30
    assert as_admin.get("/auth/me").status_code == 200


def test_an_admin_sees_every_organization(as_admin, nest):
    for path in (f"/usages/{nest['usage_id']}", f"/users/{nest['user_id']}", f"/imports/{nest['import_id']}"):
        assert as_admin.get(path).status_code == 200
    assert nest["usage_id"] in [usage["id"] for usage in as_admin.get("/usages").json]
    groups = as_admin.get("/emissions/trend?group_by=organization").json[0]["groups"]
    assert nest["organization_id"] in [group["id"] for group in groups]


def _arguments(app, rule):
    return next(found.arguments for found in app.url_map.iter_rules() if found.rule == rule)

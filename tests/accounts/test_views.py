"""Registration, organizations and users through HTTP."""

import pytest
import sqlalchemy as sa

from carbonapi.accounts.models import User
from carbonapi.db import db
from tests.support import factories

REGISTRATION = {
    "email": "ada@example.org",
    "password": "unrelated words make good ones",
    "name": "Ada Lovelace",
    "organization": "Analytical Engines",
}


def new_user(**changes):
    return {
        "email": "new@example.org",
        "name": "Newcomer",
        "role": "member",
        "password": "unrelated words make good ones",
    } | changes


def test_registration_creates_organization_and_manager(stranger):
    answer = stranger.post("/auth/register", json=REGISTRATION)

    assert answer.status_code == 201
    user = answer.json
    assert user.pop("created_at").endswith("Z")
    assert user == {
        "id": user["id"],
        "organization_id": user["organization_id"],
        "email": "ada@example.org",
        "name": "Ada Lovelace",
        "role": "manager",
        "active": True,
    }
    assert answer.headers["Location"] == f"/api/v1/users/{user['id']}"
    stranger.tokens = stranger.post(
        "/auth/login", json={name: REGISTRATION[name] for name in ("email", "password")}
    ).json
    assert stranger.get(answer.headers["Location"]).status_code == 200
    organization = stranger.get(f"/organizations/{user['organization_id']}").json
    assert (organization["name"], organization["timezone"], organization["region"]) == (
        "Analytical Engines",
        "UTC",
        None,
    )


def test_passwords_are_stored_as_argon2id_of_19_mib(stranger):
    stranger.post("/auth/register", json=REGISTRATION)

    stored = db.session.scalar(sa.select(User.password_hash).where(User.email == "ada@example.org"))
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"password": "short"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"password": "password1234"}, "password"),
        ({"password": "aaaaaaaaaaaaaaaaaaaa"}, "password"),
        ({"password": "my ada@example.org password"}, "password"),
        ({"email": "no address"}, "email"),
        ({"email": f"{'a' * 250}@example.org"}, "email"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"role": "admin"}, "role"),
        ({"organization_id": 1}, "organization_id"),
    ],
)
def test_invalid_registration_is_422_by_field(stranger, changes, field):
    answer = stranger.post("/auth/register", json=REGISTRATION | changes)

    assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, [field])


def test_long_password_is_not_truncated(stranger):
    password = "many unrelated words, more than seventy-two characters of them, " * 2
    assert len(password) == 128
    assert stranger.post("/auth/register", json=REGISTRATION | {"password": password}).status_code == 201
    credentials = {"email": "ada@example.org", "password": password}
    assert stranger.post("/auth/login", json=credentials).status_code == 200
    assert stranger.post("/auth/login", json=credentials | {"password": password[:-1]}).status_code == 401


def test_email_is_unique_ignoring_case(stranger):
    stranger.post("/auth/register", json=REGISTRATION)

    answer = stranger.post("/auth/register", json=REGISTRATION | {"email": "ADA@example.ORG"})

    assert answer.status_code == 409
    assert answer.json["errors"] == {"json": {"email": ["This e-mail address is taken."]}}


def test_registration_can_be_closed(app, stranger, monkeypatch):
    monkeypatch.setitem(app.config, "REGISTRATION", "closed")

    assert stranger.post("/auth/register", json=REGISTRATION).status_code == 403


def test_user_changes_own_name_but_not_role(as_auditor):
    changed = as_auditor.patch("/auth/me", json={"name": "Another Name"})
    assert (changed.status_code, changed.json["name"]) == (200, "Another Name")
    assert as_auditor.patch("/auth/me", json={"role": "admin"}).status_code == 422


@pytest.mark.parametrize("role", ["member", "manager", "admin"])
def test_own_new_email_requires_the_current_password(sign_in, organization, stranger, role):
    client = sign_in(factories.user(organization, role))
    new, old = {"email": "mine@example.org"}, client.user.email

    for wrong in ({}, {"current_password": "not the password at all"}):
        answer = client.patch("/auth/me", json=new | wrong)
        assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, ["current_password"])
    assert client.patch("/auth/me", json={"email": old, "name": "Renamed"}).status_code == 200
    changed = client.patch("/auth/me", json=new | {"current_password": factories.PASSWORD})

    assert (changed.status_code, changed.json["email"], changed.json["name"]) == (200, "mine@example.org", "Renamed")
    assert stranger.post("/auth/login", json=new | {"password": factories.PASSWORD}).status_code == 200
    assert "current_password" not in changed.json


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_own_email_cannot_be_changed_as_a_manager(as_manager, as_member, as_admin, method):
    for client, user, status in (
        (as_manager, as_manager.user, 403),
        (as_admin, as_admin.user, 403),
        (as_manager, as_member.user, 200),
    ):
        same = {"email": user.email, "name": "Somebody", "role": user.role}
        path = f"/users/{user.id}"
        assert client.open(path, method, json=same).status_code == 200

        answer = client.open(path, method, json=same | {"email": f"new-{user.email}"})

        assert answer.status_code == status
        assert status == 200 or "`PATCH /auth/me`" in answer.json["detail"]


def test_manager_adds_users_of_every_role_except_admin(as_manager, stranger):
    for role in ("member", "auditor", "manager"):
        answer = as_manager.post("/users", json=new_user(role=role, email=f"{role}@example.org"))
        assert answer.status_code == 201
        assert answer.json["organization_id"] == as_manager.user.organization_id
        credentials = {"email": f"{role}@example.org", "password": factories.PASSWORD}
        assert stranger.post("/auth/login", json=credentials).status_code == 200
    assert as_manager.post("/users", json=new_user(role="admin")).status_code == 403
    assert as_manager.post("/users", json=new_user(role="king")).status_code == 422
    me = as_manager.user
    assert as_manager.patch(f"/users/{me.id}", json={"role": "admin"}).status_code == 403


def test_manager_adds_users_only_to_own_organization(as_manager, as_other_manager, as_admin):
    theirs = as_other_manager.user.organization_id

    rejected = as_manager.post("/users", json=new_user(organization_id=theirs))
    assert (rejected.status_code, list(rejected.json["errors"]["json"])) == (422, ["organization_id"])
    by_admin = as_admin.post("/users", json=new_user(organization_id=theirs))
    assert (by_admin.status_code, by_admin.json["organization_id"]) == (201, theirs)


def test_user_list_depends_on_role(as_member, as_auditor, as_manager, as_admin, as_other_manager):
    colleagues = [as_member.user.id, as_auditor.user.id, as_manager.user.id]

    def seen(client):
        return [user["id"] for user in client.get("/users?sort=id").json]

    assert seen(as_member) == [as_member.user.id]
    assert seen(as_auditor) == sorted(colleagues)
    assert seen(as_manager) == sorted(colleagues)
    assert seen(as_other_manager) == [as_other_manager.user.id]
    assert {*colleagues, as_admin.user.id, as_other_manager.user.id} <= set(seen(as_admin))
    assert as_member.get(f"/users/{as_manager.user.id}").status_code == 404
    assert as_manager.get("/users?role=auditor&active=true&sort=-email").json[0]["id"] == as_auditor.user.id


def test_put_replaces_a_user(as_manager, as_member):
    path = f"/users/{as_member.user.id}"
    as_manager.patch(path, json={"active": False})

    replaced = as_manager.put(path, json={"email": "m@example.org", "name": "M", "role": "auditor"})

    assert replaced.status_code == 200
    assert {name: replaced.json[name] for name in ("email", "name", "role", "active")} == {
        "email": "m@example.org",
        "name": "M",
        "role": "auditor",
        "active": True,
    }
    assert as_manager.put(path, json={"name": "M"}).status_code == 422
    assert (
        as_manager.put(path, json={"email": "x@example.org", "name": "M", "role": "member", "id": 1}).status_code == 422
    )


def test_deleting_a_user_erases_personal_data_and_keeps_usages(as_manager, as_member, stranger):
    usage = factories.usage(as_member.user, "2")
    email = as_member.user.email

    assert as_manager.delete(f"/users/{as_member.user.id}").status_code == 204

    row = db.session.execute(
        sa.select(User.email, User.name, User.password_hash, User.active).where(User.id == as_member.user.id)
    ).one()
    assert tuple(row) == (None, None, None, False)
    assert as_member.get("/auth/me").status_code == 401
    assert as_manager.get(f"/users/{as_member.user.id}").status_code == 404
    assert as_manager.get(f"/users/{as_member.user.id}/usages").status_code == 404
    stored = as_manager.get(f"/usages/{usage.id}").json
    assert (stored["user_id"], stored["co2e_kg"]) == (as_member.user.id, 3)
    assert as_manager.get(f"/usages?user_id={as_member.user.id}").json == [stored]
    assert as_manager.post("/users", json=new_user(email=email)).status_code == 201


def test_deleting_several_users_is_atomic(as_manager, as_member, as_auditor, as_other_manager):
    ids = (as_member.user.id, as_auditor.user.id, as_other_manager.user.id)

    assert as_manager.delete("/users?" + "&".join(f"id={id_}" for id_ in ids)).status_code == 404
    assert len(as_manager.get("/users").json) == 3
    assert as_manager.delete(f"/users?id={ids[0]}&id={ids[1]}").status_code == 204
    assert [user["id"] for user in as_manager.get("/users").json] == [as_manager.user.id]


def test_last_manager_cannot_leave(as_manager, organization):
    path = f"/users/{as_manager.user.id}"
    for rejected in (
        as_manager.delete(path),
        as_manager.patch(path, json={"active": False}),
        as_manager.patch(path, json={"role": "member"}),
    ):
        assert (rejected.status_code, rejected.json["title"]) == (409, "Conflict")
    second = factories.user(organization, "manager")
    both = f"/users?id={as_manager.user.id}&id={second.id}"
    assert as_manager.delete(both).status_code == 409
    assert as_manager.delete(path).status_code == 204


def test_manager_cannot_change_admin(as_manager, organization):
    admin = factories.user(organization, "admin")

    for rejected in (
        as_manager.delete(f"/users/{admin.id}"),
        as_manager.patch(f"/users/{admin.id}", json={"email": "mine@example.org"}),
        as_manager.patch(f"/users/{admin.id}", json={"active": False}),
    ):
        assert rejected.status_code == 403


def test_new_time_zone_applies_to_the_next_request(as_manager, app, monkeypatch):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 60)
    trend = "/emissions/trend?start=2026-01-01&end=2026-02-01"
    assert as_manager.get(trend).json[0]["bucket_start"] == "2026-01-01T00:00:00Z"

    as_manager.patch(f"/organizations/{as_manager.user.organization_id}", json={"timezone": "America/New_York"})

    assert as_manager.get(trend).json[0]["bucket_start"] == "2026-01-01T05:00:00Z"


def test_organization_writes_require_manager_or_admin(as_manager, as_admin):
    path = f"/organizations/{as_manager.user.organization_id}"
    assert as_manager.patch(path, json={"timezone": "Europe/London"}).json["timezone"] == "Europe/London"
    replaced = as_manager.put(path, json={"name": "New name"}).json
    assert (replaced["name"], replaced["timezone"], replaced["region"]) == ("New name", "UTC", None)
    for body, field in (({"timezone": "Mars"}, "timezone"), ({"region": "Britain"}, "region"), ({"name": ""}, "name")):
        assert list(as_manager.patch(path, json=body).json["errors"]["json"]) == [field]
    assert as_manager.post("/organizations", json={"name": "Another"}).status_code == 403
    assert as_manager.delete(path).status_code == 403

    made = as_admin.post("/organizations", json={"name": "Another", "region": "US-CAMX"})
    assert (made.status_code, made.json["region"]) == (201, "US-CAMX")
    assert as_admin.delete(made.headers["Location"]).status_code == 204
    assert as_admin.get(made.headers["Location"]).status_code == 404
    assert as_admin.delete(path).status_code == 409


def test_organization_with_usages_cannot_be_deleted(as_admin, sign_in):
    owner = sign_in(factories.user(factories.organization(), "admin"))
    path = f"/organizations/{owner.user.organization_id}"
    factories.usage(owner.user)

    assert as_admin.delete(f"/users/{owner.user.id}").status_code == 204
    rejected = as_admin.delete(path)
    assert (rejected.status_code, rejected.json["title"]) == (409, "Conflict")
    assert as_admin.get(path).status_code == 200


def test_organization_with_erased_users_can_be_deleted(as_admin, sign_in):
    owner = sign_in(factories.user(factories.organization(), "admin"))

    assert as_admin.delete(f"/users/{owner.user.id}").status_code == 204
    assert as_admin.delete(f"/organizations/{owner.user.organization_id}").status_code == 204

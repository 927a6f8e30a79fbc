"""Invitations and resets through HTTP: a token works once, only for its user, and for a day."""

import datetime as dt

import flask_migrate
import pytest
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.accounts import passwords
from carbonapi.accounts.models import PasswordToken, User
from carbonapi.accounts.opaque_tokens import OpaqueToken, new_token, parse_token
from carbonapi.audit.models import AuditEntry
from carbonapi.db import db, roles, row_security
from carbonapi.rest.idempotency import IdempotencyRecord
from tests.support import factories
from tests.support.apps import operator_context, settings_for
from tests.support.client import Client
from tests.support.databases import ROLE, as_owner
from tests.support.threads import at_once

GRACE = {"email": "grace@example.org", "name": "Grace", "role": "member"}
NEW_PASSWORD = "quite other words for a change"


def accept(stranger, token, password=NEW_PASSWORD):
    return stranger.post("/auth/accept", json={"token": token, "password": password})


def log_in(stranger, email, password=NEW_PASSWORD):
    return stranger.post("/auth/login", json={"email": email, "password": password})


def reset(client, user):
    answer = client.post(f"/users/{user.id}/reset")
    assert answer.status_code == 200, answer.text
    return answer.json["token"]


def rejected(answer):
    assert answer.status_code == 422
    return {**answer.json, "request_id": None}


@pytest.fixture
def wrong(stranger):
    """Return the response for a token that was never created."""
    answer = rejected(accept(stranger, "x"))
    assert answer["errors"] == {"json": {"token": ["This token is unknown, used or expired. Ask for a new one."]}}
    return answer


def test_invited_user_sets_a_password(as_manager, stranger):
    answer = as_manager.post("/users", json=GRACE)

    assert answer.status_code == 201
    invited = answer.json
    expires_at = factories.at(invited.pop("invitation_expires_at"))
    assert abs(expires_at - factories.now() - dt.timedelta(hours=24)) < dt.timedelta(minutes=1)
    token = invited.pop("invitation_token")
    assert invited == as_manager.get(answer.headers["Location"]).json
    assert log_in(stranger, "grace@example.org").status_code == 401

    accepted = accept(stranger, token)

    assert (accepted.status_code, accepted.data) == (204, b"")
    assert log_in(stranger, "grace@example.org").status_code == 200


def test_login_without_password_looks_like_wrong_password(as_manager, stranger, hashes_checked):
    as_manager.post("/users", json=GRACE)
    answers = [log_in(stranger, email) for email in ("grace@example.org", as_manager.user.email, "nobody@example.org")]

    assert [answer.status_code for answer in answers] == [401] * 3
    assert len({str({**answer.json, "request_id": None}) for answer in answers}) == 1
    assert hashes_checked == ["m=19456,t=2,p=1"] * 3


def test_accepting_a_reset_ends_all_sessions(as_manager, as_member, stranger):
    token = reset(as_manager, as_member.user)
    again = log_in(stranger, as_member.user.email, factories.PASSWORD)
    assert again.status_code == 200

    assert accept(stranger, token).status_code == 204

    signed = {"Authorization": f"Bearer {again.json['access_token']}"}
    assert stranger.get("/auth/me", headers=signed).status_code == 401
    assert log_in(stranger, as_member.user.email, factories.PASSWORD).status_code == 401
    assert log_in(stranger, as_member.user.email).status_code == 200


def test_reset_ends_all_sessions_of_the_user(as_manager, as_member, as_auditor, stranger):
    refresh = {"Authorization": f"Bearer {as_member.tokens['refresh_token']}"}

    reset(as_manager, as_member.user)

    assert as_member.get("/auth/me").status_code == 401
    assert stranger.post("/auth/refresh", headers=refresh).status_code == 401
    assert [client.get("/auth/me").status_code for client in (as_manager, as_auditor)] == [200, 200]


def test_own_password_cannot_be_reset(as_manager, as_admin, stranger):
    for client in (as_manager, as_admin):
        answer = client.post(f"/users/{client.user.id}/reset")

        assert (answer.status_code, "`POST /auth/password`" in answer.json["detail"]) == (403, True)
        assert client.get("/auth/me").status_code == 200
    assert db.session.scalar(sa.select(sa.func.count()).select_from(PasswordToken)) == 0


def test_only_the_newest_token_works_and_only_once(as_manager, as_member, stranger, wrong):
    first, second = (reset(as_manager, as_member.user) for _ in range(2))

    assert rejected(accept(stranger, first)) == wrong
    assert accept(stranger, second).status_code == 204
    assert rejected(accept(stranger, second)) == wrong


def test_token_expires_after_a_day(as_manager, as_member, stranger, wrong):
    token = reset(as_manager, as_member.user)
    db.session.execute(sa.update(PasswordToken).values(expires_at=factories.now()))

    assert rejected(accept(stranger, token)) == wrong


@pytest.mark.parametrize("change", ["deactivated", "back again", "another address", "another password", "deleted"])
def test_change_of_user_revokes_token(as_manager, as_member, stranger, wrong, change):
    token, path = reset(as_manager, as_member.user), f"/users/{as_member.user.id}"
    if change == "another password":
        as_member.tokens = log_in(stranger, as_member.user.email, factories.PASSWORD).json
        passwords_ = {"current_password": factories.PASSWORD, "new_password": "a third set of words for this"}
        assert as_member.post("/auth/password", json=passwords_).status_code == 204
    elif change == "another address":
        assert as_manager.patch(path, json={"email": "mine@example.org"}).status_code == 200
    elif change == "deleted":
        assert as_manager.delete(path).status_code == 204
    else:
        assert as_manager.patch(path, json={"active": False}).status_code == 200
    if change == "back again":
        assert as_manager.patch(path, json={"active": True}).status_code == 200

    assert rejected(accept(stranger, token)) == wrong
    assert db.session.scalar(sa.select(sa.func.count()).select_from(PasswordToken)) == 0


def test_new_name_keeps_token_valid(as_manager, as_member, stranger):
    token = reset(as_manager, as_member.user)
    assert as_manager.patch(f"/users/{as_member.user.id}", json={"name": "Renamed"}).status_code == 200

    assert accept(stranger, token).status_code == 204


def test_token_works_only_for_its_user(as_manager, as_member, as_other_manager, as_admin, stranger, wrong):
    key = as_member.post("/api-keys", json={"name": "x", "scope": "write"}).json["key"]
    mine = parse_token("carbonapi-password", reset(as_manager, as_member.user))
    theirs = parse_token("carbonapi-password", reset(as_admin, as_other_manager.user))
    for forged in (
        OpaqueToken(mine.purpose, mine.organization_id, mine.id, new_token()),
        OpaqueToken(mine.purpose, mine.organization_id, mine.id, theirs.secret),
        OpaqueToken(mine.purpose, theirs.organization_id, mine.id, mine.secret),
        OpaqueToken(mine.purpose, mine.organization_id, 10**15, mine.secret),
        OpaqueToken("carbonapi", mine.organization_id, mine.id, mine.secret),
        key,
    ):
        assert rejected(accept(stranger, str(forged))) == wrong
    assert accept(stranger, str(mine)).status_code == 204
    signed = {"Authorization": f"Bearer {theirs}"}
    assert stranger.get("/auth/me", headers=signed).status_code == 401


@pytest.mark.parametrize("password", ["password1234", "aaaaaaaaaaaaaaaaaaaa", "short", "about grace@example.org it"])
def test_weak_password_keeps_token_valid(as_manager, stranger, password):
    token = as_manager.post("/users", json=GRACE).json["invitation_token"]

    answer = accept(stranger, token, password)

    assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, ["password"])
    assert accept(stranger, token).status_code == 204


def test_concurrent_acceptance_succeeds_once(committing):
    user = committing.post("/users", json=GRACE).json
    app = committing.http.application
    words = [f"{number} unrelated words make good ones" for number in range(4)]

    answers = at_once(4, lambda place: (place, accept(Client(app), user["invitation_token"], words[place]).status_code))

    assert sorted(status for _, status in answers) == [204, 422, 422, 422]
    (winner,) = [place for place, status in answers if status == 204]
    assert log_in(Client(app), "grace@example.org", words[winner]).status_code == 200


def test_reset_requires_manager_of_same_organization(
    as_manager, as_member, as_auditor, as_admin, as_other_manager, sign_in, organization
):
    admin = sign_in(factories.user(organization, "admin"))
    path = f"/users/{as_member.user.id}/reset"

    assert [client.post(path).status_code for client in (as_member, as_auditor)] == [403, 403]
    assert [client.post(path).status_code for client in (as_other_manager, as_admin, as_manager)] == [404, 200, 200]
    assert as_manager.post(f"/users/{admin.user.id}/reset").status_code == 403
    assert as_admin.post(f"/users/{admin.user.id}/reset").status_code == 200


def test_reset_of_deactivated_user_is_409(as_manager, organization):
    user = factories.user(organization, active=False)

    answer = as_manager.post(f"/users/{user.id}/reset")

    assert (answer.status_code, answer.json["title"]) == (409, "Conflict")


def test_invited_manager_does_not_count_as_manager(as_manager, stranger):
    invited = as_manager.post("/users", json=GRACE | {"role": "manager"}).json
    path = f"/users/{as_manager.user.id}"

    assert as_manager.patch(path, json={"role": "member"}).status_code == 409
    assert as_manager.delete(f"/users/{invited['id']}").status_code == 204
    again = as_manager.post("/users", json=GRACE | {"role": "manager"}).json
    accept(stranger, again["invitation_token"])
    assert as_manager.patch(path, json={"role": "member"}).status_code == 200


def test_invited_user_can_be_erased(as_manager):
    invited = as_manager.post("/users", json=GRACE).json

    assert as_manager.delete(f"/users/{invited['id']}").status_code == 204

    assert db.session.scalar(sa.select(User.erased_at).where(User.id == invited["id"])) is not None


def test_repeated_response_omits_token(as_manager, as_member):
    headers = {"Idempotency-Key": "one"}
    first, again = (as_manager.post("/users", json=GRACE, headers=headers) for _ in range(2))
    headers = {"Idempotency-Key": "two"}
    path = f"/users/{as_member.user.id}/reset"
    reset_first, reset_again = (as_manager.post(path, headers=headers) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json == {name: value for name, value in first.json.items() if name != "invitation_token"}
    assert reset_again.json == {"expires_at": reset_first.json["expires_at"]}
    stored = str(db.session.execute(sa.select(IdempotencyRecord.body, IdempotencyRecord.headers)).all())
    for token in (first.json["invitation_token"], reset_first.json["token"]):
        assert token[-51:] not in stored


def test_invitations_and_resets_are_audited_without_secrets(as_manager, stranger, as_admin):
    invited = as_manager.post("/users", json=GRACE).json
    tokens = [invited["invitation_token"]]
    accept(stranger, tokens[0])
    answer = as_manager.post(f"/users/{invited['id']}/reset").json
    tokens.append(answer["token"])

    columns = (AuditEntry.action, AuditEntry.actor_id, AuditEntry.new)
    entries = sa.select(*columns).where(AuditEntry.subject == "user", AuditEntry.subject_id == invited["id"])
    manager = as_manager.user.id
    assert [tuple(row) for row in db.session.execute(entries.order_by(AuditEntry.id))] == [
        ("created", manager, {"email": "grace@example.org", "name": "Grace", "role": "member", "active": True}),
        ("invited", manager, {"expires_at": invited["invitation_expires_at"]}),
        ("password_changed", None, None),
        ("accepted", None, None),
        ("reset", manager, {"expires_at": answer["expires_at"]}),
    ]
    everything = as_admin.get("/audit-entries?page_size=1000").text
    for secret in (*(token[-51:] for token in tokens), NEW_PASSWORD, "argon2"):
        assert secret not in everything


def test_downgrade_gives_invited_users_no_valid_password(fresh_database_url):
    app = create_app(settings_for(as_owner(fresh_database_url)), as_owner=True)
    with operator_context(app):
        user = factories.user(factories.organization(), "manager")
        db.session.execute(sa.text("UPDATE users SET password_hash = NULL"))
        db.session.commit()
        flask_migrate.downgrade(revision="row_level_security")
        with row_security.without_scope():  # The function that sets the scope is younger.
            setting = "SET LOCAL carbonapi.organization_id = '*'"
            stored = db.session.scalar(sa.text(f"{setting}; SELECT password_hash FROM users"))
        assert not passwords.password_matches(factories.PASSWORD, stored)
        db.session.remove()
        flask_migrate.upgrade()
        with row_security.for_no_organization(), db.engine.begin() as connection:
            roles.grant_privileges(connection, ROLE)
        assert log_in(Client(app), user.email, factories.PASSWORD).status_code == 401
        db.session.remove()
        db.engine.dispose()

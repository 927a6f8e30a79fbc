"""Login, logout and token refresh through HTTP."""

import datetime as dt
import hmac
import itertools
import json

import jwt
import pytest
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.accounts.models import Session
from carbonapi.audit.models import AuditEntry
from carbonapi.db import db
from tests.support import factories
from tests.support.apps import SECRET_KEY, operator_context, settings_for
from tests.support.client import Client, bearer
from tests.support.threads import at_once

CREDENTIALS = {"email": "ada@example.org", "password": factories.PASSWORD}


def claims_of(token):
    return jwt.decode(token, SECRET_KEY, ["HS256"], audience="carbonapi")


def forged(token, key=SECRET_KEY, algorithm="HS256", without=(), **changes):
    claims = {name: value for name, value in (claims_of(token) | changes).items() if name not in without}
    return jwt.encode(claims, key, algorithm)


def signed_as(algorithm, body):
    """Return a token signed with our key by another algorithm, for which PyJWT rejects the key as too short."""
    head = jwt.utils.base64url_encode(f'{{"alg":"{algorithm}","typ":"JWT"}}'.encode()).decode()
    signature = hmac.digest(SECRET_KEY.encode(), f"{head}.{body}".encode(), algorithm.replace("HS", "sha"))
    return f"{head}.{body}.{jwt.utils.base64url_encode(signature).decode()}"


@pytest.fixture
def ada(organization):
    return factories.user(organization, "member", email="ada@example.org")


@pytest.fixture
def tokens(stranger, ada):
    return stranger.post("/auth/login", json=CREDENTIALS).json


def test_login_returns_two_tokens(stranger, ada):
    answer = stranger.post("/auth/login", json=CREDENTIALS | {"email": "ADA@example.org"})

    assert answer.status_code == 200
    assert {name: answer.json[name] for name in ("token_type", "expires_in")} == {
        "token_type": "Bearer",
        "expires_in": 900,
    }
    access, refresh = (claims_of(answer.json[name]) for name in ("access_token", "refresh_token"))
    assert (access["sub"], access["type"], access["exp"] - access["iat"]) == (str(ada.id), "access", 900)
    assert (refresh["type"], refresh["exp"] - refresh["iat"]) == ("refresh", 30 * 24 * 3600)
    assert stranger.get("/auth/me", headers=bearer(answer.json["access_token"])).json["id"] == ada.id
    # RFC 9110: the scheme is case-insensitive.
    lower_case = {"Authorization": f"bearer  {answer.json['access_token']}"}
    assert stranger.get("/auth/me", headers=lower_case).status_code == 200


def test_failed_logins_are_indistinguishable(stranger, ada, organization):
    factories.user(organization, email="gone@example.org", active=False)
    answers = [
        stranger.post("/auth/login", json=credentials)
        for credentials in (
            CREDENTIALS | {"password": "not the password at all"},
            CREDENTIALS | {"email": "nobody@example.org"},
            CREDENTIALS | {"email": "gone@example.org"},
        )
    ]
    bodies = [{**answer.json, "request_id": None} for answer in answers]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert bodies[0] == bodies[1] == bodies[2]
    assert answers[0].headers["WWW-Authenticate"] == 'Bearer realm="carbonapi"'


def test_login_with_unknown_address_verifies_a_hash(stranger, ada, hashes_checked):
    """The password is verified against a hash in both cases, so both take the same time."""
    for email in ("ada@example.org", "nobody@example.org"):
        stranger.post("/auth/login", json={"email": email, "password": "not the password at all"})
    assert hashes_checked == ["m=19456,t=2,p=1"] * 2


def test_refresh_token_works_once(stranger, tokens):
    second = stranger.post("/auth/refresh", headers=bearer(tokens["refresh_token"]))
    assert second.status_code == 200
    assert stranger.get("/auth/me", headers=bearer(second.json["access_token"])).status_code == 200
    third = stranger.post("/auth/refresh", headers=bearer(second.json["refresh_token"]))
    assert third.status_code == 200

    reused = stranger.post("/auth/refresh", headers=bearer(tokens["refresh_token"]))

    assert (reused.status_code, "used before" in reused.json["detail"]) == (401, True)
    for token in (third.json["refresh_token"], second.json["refresh_token"]):
        assert stranger.post("/auth/refresh", headers=bearer(token)).status_code == 401
    assert stranger.get("/auth/me", headers=bearer(third.json["access_token"])).status_code == 401


def test_late_refresh_retry_ends_session(stranger, tokens):
    first, again = (stranger.post("/auth/refresh", headers=bearer(tokens["refresh_token"])) for _ in range(2))
    assert first.json["refresh_token"] == again.json["refresh_token"]

    db.session.execute(sa.update(Session).values(refreshed_at=Session.refreshed_at - dt.timedelta(seconds=31)))
    assert stranger.post("/auth/refresh", headers=bearer(tokens["refresh_token"])).status_code == 401
    assert stranger.post("/auth/refresh", headers=bearer(first.json["refresh_token"])).status_code == 401


def test_expired_session_cannot_be_refreshed(stranger, tokens):
    db.session.execute(sa.update(Session).values(expires_at=factories.now()))

    assert stranger.post("/auth/refresh", headers=bearer(tokens["refresh_token"])).status_code == 401


def test_concurrent_refreshes_return_the_same_token(fresh_database_url, monkeypatch):
    app = create_app(settings_for(fresh_database_url))
    with operator_context(app):
        factories.user(factories.organization(), email="ada@example.org")
    token = Client(app).post("/auth/login", json=CREDENTIALS).json["refresh_token"]

    seconds, began_at = itertools.count(), factories.now()
    # Each refresh has its own second, so one that does not wait for the first would create another token.
    monkeypatch.setattr("carbonapi.accounts.views.now", lambda: began_at + dt.timedelta(seconds=next(seconds)))
    answers = at_once(8, lambda place: Client(app).post("/auth/refresh", headers=bearer(token)))

    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({answer.json["refresh_token"] for answer in answers}) == 1
    with operator_context(app):
        assert db.session.scalars(sa.select(Session.generation)).all() == [2]
        db.session.remove()
        db.engine.dispose()


def test_logout_ends_session(stranger, tokens):
    other = stranger.post("/auth/login", json=CREDENTIALS).json

    assert stranger.post("/auth/logout", headers=bearer(tokens["access_token"])).status_code == 204

    assert stranger.get("/auth/me", headers=bearer(tokens["access_token"])).status_code == 401
    assert stranger.post("/auth/refresh", headers=bearer(tokens["refresh_token"])).status_code == 401
    assert stranger.get("/auth/me", headers=bearer(other["access_token"])).status_code == 200


def session_of(token):
    return claims_of(token["access_token"])["sid"]


def test_session_list_has_own_active_sessions_newest_first(stranger, tokens, as_manager, as_admin):
    ended, expired, newer = (stranger.post("/auth/login", json=CREDENTIALS).json for _ in range(3))
    stranger.post("/auth/logout", headers=bearer(ended["access_token"]))
    old = {"started_at": dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "refreshed_at": dt.datetime(2024, 1, 2, tzinfo=dt.UTC)}
    later = {"expires_at": dt.datetime(2200, 1, 1, tzinfo=dt.UTC)}
    for token, values in ((tokens, old | later), (expired, {"expires_at": factories.now()})):
        db.session.execute(sa.update(Session).where(Session.id == session_of(token)).values(values))

    answer = stranger.get("/auth/sessions", headers=bearer(tokens["access_token"]))

    assert answer.status_code == 200
    assert [session["id"] for session in answer.json] == [session_of(newer), session_of(tokens)]
    assert [session["current"] for session in answer.json] == [False, True]
    assert answer.json[1] == {
        "id": session_of(tokens),
        "started_at": "2024-01-01T00:00:00Z",
        "refreshed_at": "2024-01-02T00:00:00Z",
        "expires_at": "2200-01-01T00:00:00Z",
        "current": True,
    }
    page = stranger.get("/auth/sessions?sort=started_at&page_size=1", headers=bearer(newer["access_token"]))
    assert [(session["id"], session["current"]) for session in page.json] == [(session_of(tokens), False)]
    assert json.loads(page.headers["X-Pagination"])["total"] == 2
    # Managers and admins see the user, but none of their sessions.
    for other in (as_manager, as_admin):
        assert [session["id"] for session in other.get("/auth/sessions").json] == [session_of(other.tokens)]


def test_ending_a_session_ends_its_tokens_and_is_audited(stranger, tokens, ada):
    other = stranger.post("/auth/login", json=CREDENTIALS).json

    answer = stranger.delete(f"/auth/sessions/{session_of(other)}", headers=bearer(tokens["access_token"]))

    assert (answer.status_code, answer.data) == (204, b"")
    assert stranger.get("/auth/me", headers=bearer(other["access_token"])).status_code == 401
    assert stranger.post("/auth/refresh", headers=bearer(other["refresh_token"])).status_code == 401
    assert stranger.get("/auth/me", headers=bearer(tokens["access_token"])).status_code == 200
    entries = sa.select(AuditEntry.subject, AuditEntry.subject_id, AuditEntry.actor_id)
    assert db.session.execute(entries.where(AuditEntry.action == "logged_out")).all() == [
        ("session", session_of(other), ada.id)
    ]
    assert stranger.delete(f"/auth/sessions/{session_of(tokens)}", headers=bearer(tokens["access_token"])).data == b""
    assert stranger.get("/auth/me", headers=bearer(tokens["access_token"])).status_code == 401


def test_ending_a_foreign_or_ended_session_is_404(stranger, tokens, as_manager, as_admin):
    ended, expired = (stranger.post("/auth/login", json=CREDENTIALS).json for _ in range(2))
    stranger.post("/auth/logout", headers=bearer(ended["access_token"]))
    over = sa.update(Session).where(Session.id == session_of(expired)).values(expires_at=factories.now())
    db.session.execute(over)

    for client, session_id in (
        (as_manager, session_of(tokens)),
        (as_admin, session_of(tokens)),
        (as_manager, session_of(ended)),
        (as_manager, 987654321),
    ):
        answer = client.delete(f"/auth/sessions/{session_id}")
        assert (answer.status_code, answer.json["detail"]) == (404, f"There is no session {session_id}.")
    for token in (ended, expired):
        path = f"/auth/sessions/{session_of(token)}"
        assert stranger.delete(path, headers=bearer(tokens["access_token"])).status_code == 404
    assert stranger.get("/auth/me", headers=bearer(tokens["access_token"])).status_code == 200


def test_password_change_ends_other_sessions(stranger, tokens):
    other = stranger.post("/auth/login", json=CREDENTIALS).json
    change = {"current_password": factories.PASSWORD, "new_password": "quite other words for a change"}

    wrong = stranger.post(
        "/auth/password", json=change | {"current_password": "x"}, headers=bearer(tokens["access_token"])
    )
    assert (wrong.status_code, list(wrong.json["errors"]["json"])) == (422, ["current_password"])
    assert stranger.post("/auth/password", json=change, headers=bearer(tokens["access_token"])).status_code == 204

    assert stranger.get("/auth/me", headers=bearer(tokens["access_token"])).status_code == 200
    assert stranger.get("/auth/me", headers=bearer(other["access_token"])).status_code == 401
    assert stranger.post("/auth/refresh", headers=bearer(other["refresh_token"])).status_code == 401
    assert stranger.post("/auth/login", json=CREDENTIALS).status_code == 401
    assert stranger.post("/auth/login", json=CREDENTIALS | {"password": change["new_password"]}).status_code == 200


def test_deactivated_user_is_logged_out_and_cannot_log_in(stranger, tokens, ada, as_manager):
    assert as_manager.patch(f"/users/{ada.id}", json={"active": False}).json["active"] is False

    assert stranger.get("/auth/me", headers=bearer(tokens["access_token"])).status_code == 401
    assert stranger.post("/auth/refresh", headers=bearer(tokens["refresh_token"])).status_code == 401
    assert stranger.post("/auth/login", json=CREDENTIALS).status_code == 401
    as_manager.patch(f"/users/{ada.id}", json={"active": True})
    assert stranger.post("/auth/login", json=CREDENTIALS).status_code == 200


def test_session_cache_expires_after_five_seconds(app, stranger, tokens, monkeypatch, statements):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    clock = [1000.0]
    monkeypatch.setattr("carbonapi.auth.tokens.time.monotonic", lambda: clock[0])
    signed = {"headers": bearer(tokens["access_token"])}

    assert stranger.get("/usage-types", **signed).status_code == 200
    statements.clear()
    assert stranger.get("/usage-types", **signed).status_code == 200
    assert len(statements) == 1  # Only the list: the session was cached.
    # As another worker ends it.
    db.session.execute(sa.update(Session).values(ended_at=factories.now(), end_reason="logged out"))
    db.session.commit()
    clock[0] += 4.9
    assert stranger.get("/usage-types", **signed).status_code == 200
    clock[0] += 0.2
    assert stranger.get("/usage-types", **signed).status_code == 401


@pytest.mark.parametrize("end", ["log out", "end by id", "new password", "reset", "deactivate", "delete"])
def test_worker_forgets_an_ended_session_at_once(app, stranger, tokens, ada, as_manager, monkeypatch, end):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    signed = {"headers": bearer(tokens["access_token"])}
    other = {"headers": bearer(stranger.post("/auth/login", json=CREDENTIALS).json["access_token"])}
    assert [stranger.get("/auth/me", **each).status_code for each in (signed, other)] == [200, 200]

    answer = {
        "log out": lambda: stranger.post("/auth/logout", **signed),
        "end by id": lambda: stranger.delete(f"/auth/sessions/{session_of(tokens)}", **other),
        "new password": lambda: stranger.post(
            "/auth/password",
            json={"current_password": factories.PASSWORD, "new_password": "quite other words for a change"},
            **other,
        ),
        "reset": lambda: as_manager.post(f"/users/{ada.id}/reset"),
        "deactivate": lambda: as_manager.patch(f"/users/{ada.id}", json={"active": False}),
        "delete": lambda: as_manager.delete(f"/users/{ada.id}"),
    }[end]()

    assert answer.status_code < 300, answer.text
    assert stranger.get("/auth/me", **signed).status_code == 401
    is_other_active = end in ("log out", "end by id", "new password")
    assert stranger.get("/auth/me", **other).status_code == (200 if is_other_active else 401)


def test_worker_forgets_a_deleted_key_and_a_role_at_once(app, as_member, as_manager, stranger, monkeypatch):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    key = as_member.post("/api-keys", json={"name": "x", "scope": "write"}).json
    signed = {"headers": bearer(key["key"])}
    assert as_member.get("/audit-entries").status_code == 403
    assert stranger.get("/audit-entries", **signed).status_code == 403

    assert as_manager.patch(f"/users/{as_member.user.id}", json={"role": "auditor"}).status_code == 200

    assert as_member.get("/audit-entries").status_code == 200
    assert stranger.get("/audit-entries", **signed).status_code == 200
    assert as_member.delete(f"/api-keys/{key['id']}").status_code == 204
    assert stranger.get("/audit-entries", **signed).status_code == 401


def test_tokens_are_not_stored_by_caches(stranger, ada, as_manager, as_member):
    login = stranger.post("/auth/login", json=CREDENTIALS)
    answers = [
        login,
        stranger.post("/auth/refresh", headers=bearer(login.json["refresh_token"])),
        as_manager.post("/users", json={"email": "grace@example.org", "name": "Grace", "role": "member"}),
        as_manager.post(f"/users/{as_member.user.id}/reset"),
        as_manager.post("/api-keys", json={"name": "x", "scope": "read"}),
    ]

    assert [answer.headers["Cache-Control"] for answer in answers] == ["no-store"] * 5


@pytest.mark.parametrize(("seconds", "status"), [(29, 200), (31, 401)])
def test_clocks_may_differ_by_30_seconds(stranger, tokens, seconds, status):
    access, now = tokens["access_token"], int(factories.now().timestamp())
    ahead = forged(access, iat=now + seconds, nbf=now + seconds)
    behind = forged(access, exp=now - seconds)

    assert [stranger.get("/auth/me", headers=bearer(token)).status_code for token in (ahead, behind)] == [status] * 2
    # The claims are cached now.
    assert [stranger.get("/auth/me", headers=bearer(token)).status_code for token in (ahead, behind)] == [status] * 2


def test_401_names_an_invalid_token_only_if_there_is_one(stranger):
    answers = [
        stranger.get("/auth/me"),
        stranger.post("/auth/login", json=CREDENTIALS),
        stranger.get("/auth/me", headers=bearer("nonsense")),
        stranger.get("/auth/me", headers=bearer("carbonapi_1_1_nonsense")),
    ]

    challenge = 'Bearer realm="carbonapi"'
    assert [answer.headers["WWW-Authenticate"] for answer in answers] == [
        challenge, challenge, f'{challenge}, error="invalid_token"', f'{challenge}, error="invalid_token"',
    ]  # fmt: skip


def test_invalid_tokens_are_401_without_a_query(stranger, tokens, statements):
    access, refresh = tokens["access_token"], tokens["refresh_token"]
    head, body, signature = access.split(".")
    past = int(factories.now().timestamp()) - 60
    statements.clear()
    invalid = {
        "no header": {},
        "empty": bearer(""),
        "no scheme": {"Authorization": access},
        "another scheme": {"Authorization": f"Basic {access}"},
        "nonsense": bearer("nonsense"),
        "two": bearer(f"{access} {access}"),
        "not ASCII": bearer("é"),
        "a refresh token": bearer(refresh),
        "tampered body": bearer(f"{head}.{body[:-2]}AA.{signature}"),
        "tampered signature": bearer(f"{head}.{body}.{'A' * len(signature)}"),
        "no signature": bearer(f"{head}.{body}."),
        "truncated": bearer(access[:-1]),
        "another key": bearer(forged(access, key="another key, also of 32 bytes or more")),
        **{f"signed as {name}": bearer(signed_as(name, body)) for name in ("HS384", "HS512")},
        **{
            f"alg {algorithm}": bearer(
                jwt.utils.base64url_encode(f'{{"alg":"{algorithm}","typ":"JWT"}}'.encode()).decode() + f".{body}."
            )
            for algorithm in ("none", "None", "NONE", "nOnE")
        },
        "expired": bearer(forged(access, exp=past)),
        "not yet valid": bearer(forged(access, nbf=past + 600)),
        "another audience": bearer(forged(access, aud="another")),
        "another issuer": bearer(forged(access, iss="another")),
        **{
            f"without {claim}": bearer(forged(access, without=[claim]))
            for claim in ("exp", "sub", "jti", "type", "aud", "iss", "sid", "org")
        },
        **{
            f"{claim} {value!r}": bearer(forged(access, **{claim: value}))
            for claim, values in {
                "sub": ("0", "-1", "x", "\u0661", "", str(2**63)),
                "sid": (0, 2**63, "1", True, [], None),
                "org": (0, 2**63, "1", "*", True, [], None),
            }.items()
            for value in values
        },
    }
    for what, headers in invalid.items():
        answer = stranger.get("/auth/me", headers=headers)
        assert answer.status_code == 401, what
        assert answer.content_type == "application/problem+json"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert stranger.post("/auth/refresh", headers=bearer(access)).status_code == 401
    assert statements == []
    # Valid signature, but the session does not exist or belongs to another user.
    for changes in ({"sid": 10**15}, {"org": 10**15}, {"sub": "1000000000000000"}):
        assert stranger.get("/auth/me", headers=bearer(forged(access, **changes))).status_code == 401


def test_cached_session_is_bound_to_user_and_organization(app, stranger, tokens, monkeypatch):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    access = tokens["access_token"]
    assert stranger.get("/auth/me", headers=bearer(access)).status_code == 200

    for changes in ({"sid": 10**15}, {"org": 10**15}, {"sub": "1000000000000000"}):
        assert stranger.get("/auth/me", headers=bearer(forged(access, **changes))).status_code == 401


def test_cached_token_expires(stranger, tokens, monkeypatch):
    signed = {"headers": bearer(tokens["access_token"])}
    assert stranger.get("/auth/me", **signed).status_code == 200
    expires_at = jwt.decode(tokens["access_token"], options={"verify_signature": False})["exp"]

    monkeypatch.setattr("time.time", lambda: float(expires_at) + 29)
    assert stranger.get("/auth/me", **signed).status_code == 200
    monkeypatch.setattr("time.time", lambda: float(expires_at) + 30)
    # The cached claims are not used any more. PyJWT uses the real clock, so replace it.
    decoded = []
    monkeypatch.setattr("jwt.decode", lambda *args, **kwargs: decoded.append(args) or raise_expired())
    assert stranger.get("/auth/me", **signed).status_code == 401
    assert len(decoded) == 1


def raise_expired():
    raise jwt.ExpiredSignatureError


def test_token_in_query_is_ignored(stranger, tokens):
    assert stranger.get(f"/auth/me?access_token={tokens['access_token']}").status_code == 401

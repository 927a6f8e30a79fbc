"""Tokens by mail: they are sent only to the user, and nothing changes if sending fails."""

import re
import socket

import pytest
import sqlalchemy as sa

from carbonapi.accounts import mail
from carbonapi.accounts.models import PasswordToken, User
from carbonapi.db import db
from tests.support import factories
from tests.support.mail_server import receiving
from tests.support.servers import free_port

GRACE = {"email": "grace@example.org", "name": "Grace", "role": "member"}
NEW_PASSWORD = "quite other words for a change"


@pytest.fixture
def sending(app, monkeypatch):
    """Return a function that configures the mail server."""

    def by(url, page=None):
        monkeypatch.setitem(app.config, "SMTP_URL", url)
        monkeypatch.setitem(app.config, "MAIL_FROM", "accounts@carbon.example")
        monkeypatch.setitem(app.config, "PASSWORD_PAGE_URL", page)

    return by


@pytest.fixture
def letters(sending):
    """Return the list of sent messages."""
    with receiving() as (port, letters):
        sending(f"smtp://127.0.0.1:{port}")
        yield letters


def token_in(letter):
    return re.search(r"carbonapi-password_\S+", "\n".join(letter["lines"]))[0]


def row_counts():
    """Return the numbers of users and tokens."""
    return [db.session.scalar(sa.select(sa.func.count()).select_from(model)) for model in (User, PasswordToken)]


def test_invitation_is_sent_to_the_user_only(as_manager, stranger, letters):
    answer = as_manager.post("/users", json=GRACE)

    assert answer.status_code == 201
    assert "invitation_token" not in answer.json and "invitation_expires_at" in answer.json
    (letter,) = letters
    assert (letter["from"], letter["to"]) == ("<accounts@carbon.example>", ["<grace@example.org>"])
    head, body = "\n".join(letter["lines"]).split("\n\n", 1)
    headers = dict(line.split(": ", 1) for line in head.split("\n"))
    assert {name: headers[name] for name in ("From", "To", "Subject", "Auto-Submitted")} == {
        "From": "accounts@carbon.example",
        "To": "grace@example.org",
        "Subject": "Set your password",
        "Auto-Submitted": "auto-generated",
    }
    assert headers["Message-ID"].endswith("@carbon.example>") and "Date" in headers
    token = token_in(letter)
    assert f"\n{token}\n" in body and answer.json["invitation_expires_at"] in body
    assert token not in answer.text
    accepted = stranger.post("/auth/accept", json={"token": token, "password": NEW_PASSWORD})
    assert accepted.status_code == 204
    login = {"email": "grace@example.org", "password": NEW_PASSWORD}
    assert stranger.post("/auth/login", json=login).status_code == 200


def test_reset_link_ignores_the_host_header(as_manager, as_member, sending):
    with receiving() as (port, letters):
        sending(f"smtp://127.0.0.1:{port}", "https://carbon.example/password")
        answer = as_manager.post(f"/users/{as_member.user.id}/reset", headers={"Host": "evil.example"})

    assert (answer.status_code, list(answer.json)) == (200, ["expires_at"])
    (letter,) = letters
    assert f"https://carbon.example/password#token={token_in(letter)}" in letter["lines"]
    assert "evil" not in str(letter)


@pytest.mark.parametrize(
    ("replies", "status"),
    [
        ({"MAIL": "451 later"}, 503),
        ({"DATA": "554 no"}, 503),
        ({"RCPT": "451 later"}, 503),
        ({"RCPT": "550 unknown user"}, 422),
    ],
)
def test_failed_mail_changes_nothing(as_manager, as_member, sending, replies, status):
    before = row_counts()
    with receiving(replies) as (port, _):
        sending(f"smtp://127.0.0.1:{port}")
        for answer in (as_manager.post("/users", json=GRACE), as_manager.post(f"/users/{as_member.user.id}/reset")):
            assert answer.status_code == status
            assert "Nothing was changed" in answer.json["detail"]
            assert ("Retry-After" in answer.headers) == (status == 503)
    assert row_counts() == before
    assert as_manager.get("/audit-entries?action=invited&action=reset").json == []


def test_silent_mail_server_times_out(as_manager, sending, monkeypatch):
    monkeypatch.setattr(mail, "TIMEOUT_SECONDS", 0.2)
    before = row_counts()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (silent.getsockname()[1], free_port()):
            sending(f"smtp://127.0.0.1:{port}")
            assert as_manager.post("/users", json=GRACE).status_code == 503
    assert row_counts() == before


def test_existing_user_gets_no_mail(as_manager, as_member, letters):
    assert as_manager.post("/users", json=GRACE | {"email": as_member.user.email}).status_code == 409

    assert letters == []


def test_mail_to_another_host_requires_tls(as_manager, sending):
    """A server that does not offer STARTTLS may be an attacker between the service and the real one."""
    elsewhere = socket.gethostname()  # Not a loopback name, so the machine counts as another host.
    with receiving() as (port, letters):
        sending(f"smtp://{elsewhere}:{port}")
        assert as_manager.post("/users", json=GRACE).status_code == 503
    assert letters == []


@pytest.mark.parametrize(
    "address",
    [
        "grace@example.org\r\nBcc: victim@example.org",
        "grace@example.org\nX: y",
        "grace@example.org\r\n\r\nBuy this",
        "grace@example.org, victim@example.org",
        "Grace <grace@example.org>",
    ],
)
def test_address_cannot_inject_headers(as_manager, letters, address):
    answer = as_manager.post("/users", json=GRACE | {"email": address})

    assert (answer.status_code, list(answer.json["errors"]["json"])) == (422, ["email"])
    assert letters == []


@pytest.mark.parametrize("name", ["Grace https://evil.example", "Grace\u2028Bcc: x@example.org", "Gräce"])
def test_mail_contains_no_text_of_the_caller(as_manager, letters, name):
    assert as_manager.post("/users", json=GRACE | {"name": name}).status_code == 201

    text = "\n".join(letters[0]["lines"])
    # Shorter strings could occur in the random token.
    assert not [part for part in ("Grace", "Gräce", "Gr=C3", "evil.example", "Bcc:") if part in text]


def test_long_address_is_not_folded(as_manager, letters):
    address = f"{'a' * 60}.{'b' * 60}@{'c' * 60}.{'d' * 60}.example"

    assert as_manager.post("/users", json=GRACE | {"email": address}).status_code == 201

    assert letters[0]["to"] == [f"<{address}>"]
    assert f"To: {address}" in letters[0]["lines"]


def test_mail_server_login_uses_credentials_of_the_url(sending, as_manager):
    with receiving({"EHLO": "250-here\r\n250 AUTH PLAIN", "AUTH": "535 no"}) as (port, letters):
        sending(f"smtp://us%40er:pass@127.0.0.1:{port}")
        assert as_manager.post("/users", json=GRACE).status_code == 503
    assert letters == []


def test_user_with_password_gets_no_mail(as_manager, letters):
    answer = as_manager.post("/users", json=GRACE | {"password": factories.PASSWORD})

    assert (answer.status_code, letters) == (201, [])
    assert not [name for name in answer.json if name.startswith("invitation")]

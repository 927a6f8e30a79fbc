"""Who signs in and out, and that no table, column or writer can be forgotten."""

import ast
import datetime as dt
from pathlib import Path

import sqlalchemy as sa

from carbonapi import audit
from carbonapi.accounts.models import Session
from carbonapi.audit.models import AuditEntry
from carbonapi.db import Base, db
from tests.support import factories
from tests.support.client import bearer

PACKAGE = Path(audit.__file__).parents[1]
# Their writers tell the log themselves: sessions.py, ledger/, booking.py and restating.py.
TOLD_BY_THEIR_WRITERS = {"sessions", "usages", "imports", "restatements"}
# Columns that are not told: what an entry has already, what the database counts, and what nobody may read.
NOT_TOLD = {
    "id",
    "version",
    "created_at",
    "closed_at",
    "closed_by",
    "reopened_by",
    "reopen_reason",
    "erased_at",
    "email_key",
    "last_used_at",
}
SECRET = {"password_hash", "beginning", "digest"}


def told_of(subject=None):
    """Action, organization, actor, role, subject's id, new values and reason of the entries, the oldest first."""
    entry = AuditEntry
    columns = (entry.action, entry.organization_id, entry.actor_id, entry.actor_role, entry.subject_id, entry.new)
    statement = sa.select(*columns, entry.reason).order_by(entry.id)
    return [
        tuple(row) for row in db.session.execute(statement.where(entry.subject == subject) if subject else statement)
    ]


def log_in(stranger, email="ada@example.org", password=factories.PASSWORD):
    return stranger.post("/auth/login", json={"email": email, "password": password})


def test_signing_in_and_out_is_told_once(stranger, organization):
    ada = factories.user(organization, "manager", email="ada@example.org")
    tokens = log_in(stranger).json
    assert stranger.post("/auth/refresh", headers=bearer(tokens["refresh_token"])).status_code == 200
    for status in (204, 401):
        assert stranger.post("/auth/logout", headers=bearer(tokens["access_token"])).status_code == status

    session_id = db.session.scalar(sa.select(Session.id))
    assert told_of("session") == [
        ("logged_in", organization.id, ada.id, "manager", session_id, None, None),
        ("logged_out", organization.id, ada.id, "manager", session_id, None, None),
    ]


def test_a_refused_sign_in_is_kept_and_tells_us_what_it_does_not_tell_the_stranger(stranger, organization):
    ada = factories.user(organization, email="ada@example.org")
    gone = factories.user(organization, email="gone@example.org", active=False)
    before = len(told_of("user"))
    for email, password in (
        ("ada@example.org", "not the password at all"),
        ("gone@example.org", factories.PASSWORD),
        ("nobody@example.org", "not the password at all"),
        ("my secret, in the wrong field", "x"),
    ):
        assert log_in(stranger, email, password).status_code == 401

    def refused(organization_id, user_id, new, reason):
        return ("login_failed", organization_id, None, None, user_id, new, reason)

    assert told_of("user")[before:] == [
        refused(organization.id, ada.id, None, "wrong password"),
        refused(organization.id, gone.id, None, "deactivated"),
        refused(0, None, {"email": "nobody@example.org"}, "unknown e-mail address"),
        refused(0, None, {"email": None}, "unknown e-mail address"),
    ]


def test_a_refused_sign_in_costs_the_same_whether_there_is_such_a_user_or_not(stranger, organization, statements):
    factories.user(organization, email="ada@example.org")
    sent = []
    for email in ("ada@example.org", "nobody@example.org"):
        statements.clear()
        log_in(stranger, email, "not the password at all")
        sent.append([statement.partition("VALUES")[0] for statement in statements])

    assert sent[0] == sent[1]
    assert [statement.split()[:3] for statement in sent[0]] == [
        ["WITH", "forgotten", "AS"],  # It is counted by address,
        ["WITH", "forgotten", "AS"],  # and by account.
        ["SELECT", "users.id,", "users.version,"],
        ["INSERT", "INTO", "audit_entries"],
    ]


def test_a_stranger_is_told_of_to_admins_alone(stranger, as_admin, as_manager):
    log_in(stranger, "nobody@example.org")

    path = "/audit-entries?action=login_failed"
    assert [entry["organization_id"] for entry in as_admin.get(path).json] == [0]
    assert as_manager.get(path).json == as_manager.get(f"{path}&organization_id=0").json == []


def test_a_session_that_ends_because_its_token_was_used_twice_is_told(stranger, organization):
    factories.user(organization, email="ada@example.org")
    token = log_in(stranger).json["refresh_token"]
    stranger.post("/auth/refresh", headers=bearer(token))
    db.session.execute(sa.update(Session).values(refreshed_at=Session.refreshed_at - dt.timedelta(seconds=31)))

    assert stranger.post("/auth/refresh", headers=bearer(token)).status_code == 401

    session_id = db.session.scalar(sa.select(Session.id))
    ended = ("session_ended", organization.id, None, None, session_id, None, "a refresh token was used twice")
    assert told_of("session")[1:] == [ended]


def test_a_new_password_is_told_and_neither_it_nor_its_hash(stranger, as_member, as_admin):
    change = {"current_password": factories.PASSWORD, "new_password": "quite other words for a change"}
    assert as_member.post("/auth/password", json=change).status_code == 204
    tokens = log_in(stranger, as_member.user.email, change["new_password"]).json

    changed = as_admin.get("/audit-entries?action=password_changed")
    assert [(entry["subject_id"], entry["old"], entry["new"]) for entry in changed.json] == [
        (as_member.user.id, None, None)
    ]
    everything = as_admin.get("/audit-entries?page_size=1000").text
    for secret in (factories.PASSWORD, change["new_password"], "argon2", *tokens.values()):
        assert str(secret) not in everything or secret in ("Bearer", 900)


def test_registering_is_told_to_the_new_organization(stranger):
    fields = {"email": "ada@example.org", "password": factories.PASSWORD, "name": "Ada", "organization": "Engines"}
    ada = stranger.post("/auth/register", json=fields).json

    assert [entry[:5] for entry in told_of()] == [
        ("created", ada["organization_id"], None, None, ada["organization_id"]),
        ("created", ada["organization_id"], None, None, ada["id"]),
    ]


def test_an_entry_goes_with_the_change_that_it_tells_of(app, organization):
    factories.organization("kept")
    with db.session.begin_nested() as change:
        db.session.add(factories.Organization(name="undone"))
        db.session.flush()
        assert [entry[5]["name"] for entry in told_of("organization")][-2:] == ["kept", "undone"]
        change.rollback()

    assert [entry[5]["name"] for entry in told_of("organization")][-1] == "kept"


def test_every_table_is_told_of():
    audited = {mapper.local_table.name for mapper in Base.registry.mappers if hasattr(mapper.class_, "AUDIT")}

    assert set(Base.metadata.tables) - audited == TOLD_BY_THEIR_WRITERS | {
        "daily_totals",
        "usage_versions",
        "audit_entries",
        "import_row_errors",
        "import_uploads",
        "import_chunks",
        "idempotency_records",
        "rate_limit_counters",
        "password_tokens",
    }


def test_every_column_is_told_unless_it_is_named_here_and_no_secret_is():
    reached = 0
    for mapper in Base.registry.mappers:
        audited = getattr(mapper.class_, "AUDIT", None)
        if audited is None:
            continue
        columns = set(mapper.columns.keys()) & set(mapper.local_table.columns.keys())
        untold = columns - {*audited.columns} - NOT_TOLD - SECRET
        assert untold <= {"organization_id"}, mapper
        assert {*audited.columns, *audited.acts, *audited.personal, audited.organization} - {
            "organization_id"
        } <= columns
        assert not [name for name in audited.columns if name in SECRET or "password" in name or "token" in name]
        reached += 1
    assert reached == 6


def test_no_writer_goes_past_the_session():
    """What is written in bulk leaves no entry by itself: these writers take theirs along, or need none."""
    audited = {mapper.class_.__name__ for mapper in Base.registry.mappers if hasattr(mapper.class_, "AUDIT")}
    writers = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("sa.insert", "sa.update", "sa.delete"):
                model = ast.unparse(node.args[0])
                if model in audited:
                    writers.add((str(path.relative_to(PACKAGE)), ast.unparse(node.func), model))
    assert writers == {
        ("accounts/api_keys.py", "sa.update", "ApiKey"),  # When it was used last.
        ("accounts/people.py", "sa.delete", "User"),  # Of people who were erased before.
        ("catalogue/upkeep.py", "sa.delete", "EmissionFactor"),
    }

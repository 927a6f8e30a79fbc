"""Entries of logins and logouts, and completeness: no table, column or writer lacks its audit mechanism."""

import ast
import datetime as dt
from pathlib import Path

import pytest
import sqlalchemy as sa

from carbonapi import audit
from carbonapi.accounts.models import Session
from carbonapi.audit.models import AuditEntry
from carbonapi.db import AuditConfig, AuditedBy, Base, NotAudited, db
from tests.support import factories
from tests.support.client import bearer

PACKAGE = Path(audit.__file__).parents[1]
MECHANISMS = {
    "AuditConfig": {
        "organizations", "users", "api_keys", "usage_types", "emission_factors", "factor_sets", "closed_periods",
        "meters", "sites", "upstream_lines",
    },
    "SERVICE": {"sessions", "imports", "restatements", "site_shares", "user_sites"},
    "STATEMENT": {"usages"},
    "NotAudited": {
        "audit_entries", "daily_totals", "idempotency_records", "import_chunks", "import_row_errors", "import_uploads",
        "password_tokens", "rate_limit_counters", "usage_versions", "valuation_lines", "valuation_segments",
        "valuations",
    },
}  # fmt: skip
# Columns without values in entries: those that an entry has anyway, and those that the database computes.
NOT_LOGGED = {
    "id",
    "version",
    "created_at",
    "closed_at",
    "closed_by",
    "reopened_by",
    "reopen_reason",
    "superseded_by",
    "erased_at",
    "email_key",
    "last_used_at",
    "ancestor_ids",
    "path",
}
SECRET = {"password_hash", "beginning", "digest"}


def logged(subject=None):
    """Return action, organization, actor, role, subject id, new values and reason of the entries, the oldest first."""
    entry = AuditEntry
    columns = (entry.action, entry.organization_id, entry.actor_id, entry.actor_role, entry.subject_id, entry.new)
    statement = sa.select(*columns, entry.reason).order_by(entry.id)
    return [
        tuple(row) for row in db.session.execute(statement.where(entry.subject == subject) if subject else statement)
    ]


def log_in(stranger, email="ada@example.org", password=factories.PASSWORD):
    return stranger.post("/auth/login", json={"email": email, "password": password})


def test_login_and_logout_write_one_entry_each(stranger, organization):
    ada = factories.user(organization, "manager", email="ada@example.org")
    tokens = log_in(stranger).json
    assert stranger.post("/auth/refresh", headers=bearer(tokens["refresh_token"])).status_code == 200
    for status in (204, 401):
        assert stranger.post("/auth/logout", headers=bearer(tokens["access_token"])).status_code == status

    session_id = db.session.scalar(sa.select(Session.id))
    assert logged("session") == [
        ("logged_in", organization.id, ada.id, "manager", session_id, None, None),
        ("logged_out", organization.id, ada.id, "manager", session_id, None, None),
    ]


def test_failed_login_entry_has_the_reason(stranger, organization):
    ada = factories.user(organization, email="ada@example.org")
    gone = factories.user(organization, email="gone@example.org", active=False)
    before = len(logged("user"))
    for email, password in (
        ("ada@example.org", "not the password at all"),
        ("gone@example.org", factories.PASSWORD),
        ("nobody@example.org", "not the password at all"),
        ("my secret, in the wrong field", "x"),
    ):
        assert log_in(stranger, email, password).status_code == 401

    def failure(organization_id, user_id, new, reason):
        return ("login_failed", organization_id, None, None, user_id, new, reason)

    assert logged("user")[before:] == [
        failure(organization.id, ada.id, None, "wrong password"),
        failure(organization.id, gone.id, None, "deactivated"),
        failure(0, None, {"email": "nobody@example.org"}, "unknown e-mail address"),
        failure(0, None, {"email": None}, "unknown e-mail address"),
    ]


def test_failed_logins_send_the_same_statements(stranger, organization, statements):
    factories.user(organization, email="ada@example.org")
    sent = []
    for email in ("ada@example.org", "nobody@example.org"):
        statements.clear()
        log_in(stranger, email, "not the password at all")
        sent.append([statement.partition("VALUES")[0] for statement in statements])

    assert sent[0] == sent[1]
    assert [statement.split()[:3] for statement in sent[0]] == [
        ["WITH", "deleted", "AS"],  # The counter of the IP address,
        ["WITH", "deleted", "AS"],  # and that of the account.
        ["SELECT", "users.id,", "users.version,"],
        ["INSERT", "INTO", "audit_entries"],
    ]


def test_failed_login_with_unknown_email_is_for_admins(stranger, as_admin, as_manager):
    log_in(stranger, "nobody@example.org")

    path = "/audit-entries?action=login_failed"
    assert [entry["organization_id"] for entry in as_admin.get(path).json] == [0]
    assert as_manager.get(path).json == as_manager.get(f"{path}&organization_id=0").json == []


def test_session_ended_by_a_reused_token_is_audited(stranger, organization):
    factories.user(organization, email="ada@example.org")
    token = log_in(stranger).json["refresh_token"]
    stranger.post("/auth/refresh", headers=bearer(token))
    db.session.execute(sa.update(Session).values(refreshed_at=Session.refreshed_at - dt.timedelta(seconds=31)))

    assert stranger.post("/auth/refresh", headers=bearer(token)).status_code == 401

    session_id = db.session.scalar(sa.select(Session.id))
    ended = ("session_ended", organization.id, None, None, session_id, None, "a refresh token was used twice")
    assert logged("session")[1:] == [ended]


def test_password_change_entry_has_no_password_or_hash(stranger, as_member, as_admin):
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


def test_registration_is_audited_in_the_new_organization(stranger):
    fields = {"email": "ada@example.org", "password": factories.PASSWORD, "name": "Ada", "organization": "Engines"}
    ada = stranger.post("/auth/register", json=fields).json

    assert [entry[:5] for entry in logged()] == [
        ("created", ada["organization_id"], None, None, ada["organization_id"]),
        ("created", ada["organization_id"], None, None, ada["id"]),
    ]


def test_entry_is_rolled_back_with_its_change(app, organization):
    factories.organization("committed")
    with db.session.begin_nested() as change:
        db.session.add(factories.Organization(name="undone"))
        audit.flush()
        assert [entry[5]["name"] for entry in logged("organization")][-2:] == ["committed", "undone"]
        change.rollback()

    assert [entry[5]["name"] for entry in logged("organization")][-1] == "committed"


@pytest.mark.parametrize("change", ["create", "change", "delete"])
def test_audited_rows_cannot_be_written_without_an_entry(app, change):
    organization = factories.organization()
    if change == "create":
        db.session.add(factories.Organization(name="Unaudited"))
    elif change == "change":
        organization.name = "Unaudited"
    else:
        db.session.delete(organization)

    with pytest.raises(RuntimeError, match=r"Call audit.flush\(\) to write a row of organizations"):
        db.session.flush()

    db.session.rollback()


def test_unchanged_audited_rows_can_be_flushed(app):
    organization = factories.organization("Same")
    organization.name = "Same"

    db.session.flush()

    assert [entry[5]["name"] for entry in logged("organization")][-1:] == ["Same"]


def test_every_table_has_exactly_one_audit_mechanism():
    declared = {mapper.local_table.name: vars(mapper.class_)["AUDIT"] for mapper in Base.registry.mappers}

    def tables(matches):
        return {table for table, mechanism in declared.items() if matches(mechanism)}

    assert declared.keys() == set(Base.metadata.tables)
    assert {
        "AuditConfig": tables(lambda mechanism: isinstance(mechanism, AuditConfig)),
        "SERVICE": tables(lambda mechanism: mechanism is AuditedBy.SERVICE),
        "STATEMENT": tables(lambda mechanism: mechanism is AuditedBy.STATEMENT),
        "NotAudited": tables(lambda mechanism: isinstance(mechanism, NotAudited) and mechanism.reason),
    } == MECHANISMS


def test_models_have_no_write_listeners():
    """Code that writes rows is called by name, never by an event of another row."""
    for mapper in Base.registry.mappers:
        for event in (f"{when}_{write}" for when in ("before", "after") for write in ("insert", "update", "delete")):
            assert list(getattr(mapper.dispatch, event)) == [], mapper


def test_writers_use_the_declared_mechanism():
    declared = {mapper.class_.__name__: mapper.class_.AUDIT for mapper in Base.registry.mappers}
    used = {"audit.record": set(), "audit.entries_cte": set()}
    for _, called, call in calls():
        if called in used:
            used[called].add(ast.unparse(call.args[1]))

    # Services also record acts on users that change no row of users, such as failed logins.
    by_service = {model for model, mechanism in declared.items() if mechanism is AuditedBy.SERVICE}
    assert used["audit.record"] == by_service | {"User"}
    by_statement = {model for model, mechanism in declared.items() if mechanism is AuditedBy.STATEMENT}
    # An import creates its meters, with the entries of their configuration, in one statement.
    assert used["audit.entries_cte"] == by_statement | {"Meter"}


def test_entries_contain_all_columns_except_secrets():
    number = 0
    for mapper in Base.registry.mappers:
        config = mapper.class_.AUDIT
        if not isinstance(config, AuditConfig):
            continue
        columns = set(mapper.columns.keys()) & set(mapper.local_table.columns.keys())
        assert columns - {*config.columns} - NOT_LOGGED - SECRET <= {"organization_id"}, mapper
        used = {*config.columns, *config.actions, *config.personal, config.organization_column}
        assert used - {"organization_id"} <= columns
        assert not [name for name in config.columns if name in SECRET or "password" in name or "token" in name]
        number += 1
    assert number == 10


def test_bulk_statements_bypass_no_audit_config():
    """Such a statement writes no entry by itself, so these must not need one, or write it themselves."""
    audited = {
        mapper.class_.__name__ for mapper in Base.registry.mappers if isinstance(mapper.class_.AUDIT, AuditConfig)
    }

    assert {
        (path, called, ast.unparse(call.args[0]))
        for path, called, call in calls()
        if called in ("sa.insert", "sa.update", "sa.delete") and ast.unparse(call.args[0]) in audited
    } == {
        ("accounts/api_keys/service.py", "sa.update", "ApiKey"),  # Its last use.
        ("accounts/service.py", "sa.delete", "User"),  # Users who were erased before.
        ("imports/checks/place_lookup.py", "sa.insert", "Meter"),  # It writes the entries.
        ("sites/tree.py", "sa.update", "Site"),  # The paths of the sites below one that moves.
    }


def calls():
    """Yield the file, the name and the syntax tree of each call in the package."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield str(path.relative_to(PACKAGE)), ast.unparse(node.func), node

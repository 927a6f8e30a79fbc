"""Prepared statements: each connection parses and plans a frequent statement once, and no answer depends on it."""

import contextlib

import pytest
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.accounts import sessions
from carbonapi.accounts.models import Organization
from carbonapi.db import db, is_read_in_order, prepared
from carbonapi.usages.models import Usage
from tests.support import factories
from tests.support.apps import operator_context, settings_for
from tests.support.client import Client
from tests.support.databases import as_owner, execute
from tests.support.plans import plan_of

USAGE = {"usage_type_id": 100, "usage_at": "2026-01-01T00:00:00Z", "amount": 1}
READS = ("/usages", "/usages?sort=amount", "/usages?usage_type_id=100", "/emissions/summary", "/usage-types")


def on_connection(client, statement):
    """Execute a statement on the connection that the client's requests use, and return its rows."""
    with client.http.application.app_context(), contextlib.closing(db.engine.raw_connection()) as connection:
        connection.driver_connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def plans(client):
    """Return how many plans, generic and custom, each prepared statement of the connection has been executed with."""
    rows = on_connection(client, "SELECT name, generic_plans, custom_plans FROM pg_prepared_statements")
    return {name: counts for name, *counts in rows}


def test_frequent_statements_are_planned_once(committing):
    for number in range(3):
        assert committing.post("/usages", json=USAGE | {"amount": number}).status_code == 201
        for path in READS:
            assert committing.get(path).status_code == 200
        if number == 0:
            first = plans(committing)

    found = plans(committing)
    assert first and set(found) == set(first)
    assert {custom for _, custom in found.values()} == {0}
    assert all(generic >= 3 for generic, _ in found.values())


@pytest.mark.parametrize("lost", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_lost_statements_are_prepared_again(committing, lost):
    usage = committing.post("/usages", json=USAGE).headers["Location"]
    answers = [committing.get(path).json for path in (*READS, usage)]
    assert plans(committing)

    for path, answer in zip((*READS, usage), answers, strict=True):
        on_connection(committing, lost)
        assert committing.get(path).json == answer
    on_connection(committing, lost)
    assert committing.post("/usages", json=USAGE).status_code == 201
    on_connection(committing, lost)
    assert committing.patch(usage, json={"amount": 2}).status_code == 200
    on_connection(committing, lost)
    assert committing.delete(usage).status_code == 204
    assert len(committing.get("/usages").json) == 1
    assert plans(committing)


def test_migration_under_a_running_service_changes_no_answer(committing, fresh_database_url):
    usage = committing.post("/usages", json=USAGE).headers["Location"]
    paths = (*READS, usage, f"/organizations/{committing.user.organization_id}")
    answers = [committing.get(path).json for path in paths]

    for change in (
        "ALTER TABLE usages ALTER note TYPE varchar(4000)",
        "ALTER TABLE organizations ALTER name TYPE varchar(500)",
        "ALTER TABLE usages ADD COLUMN later text",
        "DROP INDEX ix_usages_provisional",
    ):
        execute(as_owner(fresh_database_url), change)
        assert [committing.get(path).json for path in paths] == answers
        assert committing.patch(usage, json={"note": change}).status_code == 200
        answers = [committing.get(path).json for path in paths]
        assert committing.get(usage).json["note"] == change


def test_each_role_sees_its_own_rows_on_one_connection(committing):
    app = committing.http.application
    with operator_context(app):
        users = [factories.user(factories.organization(), role) for role in ("manager", "admin", "member")]
        tokens = [sessions.create(user, factories.now()) for user in users]
        db.session.commit()
        db.session.remove()
    manager, admin, member = (Client(app, *each) for each in zip(tokens, users, strict=True))

    for number in range(1, 4):
        usage = committing.post("/usages", json=USAGE).headers["Location"]
        statuses = [client.get(usage).status_code for client in (committing, admin, manager, committing)]
        assert statuses == [200, 200, 404, 200]
        assert manager.post("/usages", json=USAGE).status_code == 201
        counts = [len(client.get("/usages").json) for client in (committing, admin, manager, member)]
        assert counts == [number, 2 * number, number, 0]
        for client, total in ((committing, number), (admin, 2 * number), (manager, number), (member, 0)):
            assert client.get("/emissions/summary").json["usage_count"] == total
    assert any(name.endswith("_all") for name in plans(committing))


def test_number_of_statements_of_a_connection_is_limited(committing, monkeypatch):
    monkeypatch.setattr(prepared, "MAX_STATEMENTS", 2)
    for _ in range(2):
        for path in READS:
            assert committing.get(path).status_code == 200

    assert len(plans(committing)) == 2


def test_statements_are_not_prepared_if_the_setting_is_off(fresh_database_url):
    app = create_app(settings_for(fresh_database_url, PREPARED_STATEMENTS="off"))
    with operator_context(app):
        user = factories.user(factories.organization(), "manager")
        tokens = sessions.create(user, factories.now())
        db.session.commit()
        db.session.remove()
    client = Client(app, tokens, user)

    assert client.post("/usages", json=USAGE).status_code == 201
    assert len(client.get("/usages").json) == 1
    assert plans(client) == {}
    with app.app_context():
        db.engine.dispose()


def test_prepared_statement_has_typed_parameters():
    statement = sa.select(sa.bindparam("a", type_=sa.BigInteger), sa.literal("100%"))
    compiled = statement.compile(dialect=sa.dialects.postgresql.dialect())
    types = {name: bind.type for bind, name in compiled.bind_names.items()}

    found = prepared.PreparedStatement(str(compiled), types)

    assert found.prepare("x").startswith("PREPARE x (BIGINT, ")
    assert found.execute("x").startswith("EXECUTE x(%(a)s, ")


def test_pages_are_read_in_the_order_of_an_index(app, many_usages, sign_in):
    """A generic plan knows no values, such as a user with most of the rows, or a usage type without any."""
    organization = db.session.get_one(Organization, many_usages.organization_id)
    manager = sign_in(factories.user(organization, "manager"))
    for query in ("", "?sort=usage_at", f"?user_id={many_usages.id}", "?usage_type_id=104", "?start=2024-01-02",
                  "?user_id=1&start=2024-01-01&end=2024-01-02", "?sort=-id", "?cursor="):  # fmt: skip
        assert manager.get(f"/usages{query}").status_code == 200

    connection = db.session.connection()
    found = connection.exec_driver_sql(
        "SELECT name, cardinality(parameter_types) AS count FROM pg_prepared_statements "
        "WHERE statement LIKE '%%AS nearest%%' AND statement LIKE '%%FROM usages%%'"
    ).all()
    assert len(found) >= 6
    for name, count in found:
        nodes = plan_of(f"EXECUTE {name}({', '.join(['NULL'] * count)})")
        # A Result checks a condition that is the same for all rows.
        assert [kind for kind, _ in nodes if kind != "Result"][-3:] == ["Limit", "Limit", "Index Scan"], nodes
        assert nodes[-1][1].startswith(("ix_usages", "pk_usages")), nodes


def test_two_values_of_a_column_are_in_the_order_of_no_index():
    of_user = sa.select(Usage).where(Usage.organization_id == 1, Usage.user_id == 2)
    order = (Usage.usage_at.asc(), Usage.id.asc())

    assert is_read_in_order(of_user, order)
    assert not is_read_in_order(of_user.where(Usage.user_id == 3), order)

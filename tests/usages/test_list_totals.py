"""How many usages a list has, and where its pages begin: from the days of the ledger, as if all were counted."""

import json
import random
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from carbonapi import audit
from carbonapi.accounts.models import User
from carbonapi.db import db, row_security
from carbonapi.rest import page_query, paging
from carbonapi.rest.fields import format_datetime
from carbonapi.usages import ledger
from tests.support import factories
from tests.support.random_ledger import record_at_random
from tests.support.scale import examples

TIMES = ["", "T00:00:00Z", "T09:30:00Z", "T23:00:00Z", "T23:59:59.999999Z"]


def total_of(answer):
    assert answer.status_code == 200, answer.text
    return json.loads(answer.headers["X-Pagination"])["total"]


@pytest.mark.parametrize("timezone", ["UTC", "Europe/London", "Australia/Lord_Howe"])
def test_totals_and_pages_equal_the_usages(sign_in, timezone, monkeypatch):
    monkeypatch.setattr(paging, "DEEP_OFFSET", 1)
    dice = random.Random(timezone)
    manager = sign_in(factories.user(factories.organization(timezone=timezone), "manager"))
    record_at_random(manager, dice, 150)
    # Some of one day, also in the hours around its ends.
    for hour in (0, 1, 9, 10, 11, 13, 14, 22, 23):
        factories.usage(manager.user, "1", f"2024-03-31T{hour:02}:{dice.randrange(60):02}")
    type_id = manager.get("/usages").json[0]["usage_type_id"]
    now = quote(format_datetime(factories.now()))
    days = [f"{dice.randrange(1960, 2030)}-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}" for _ in range(12)]
    moments = [day + time for day in (*days[:4], "2024-03-30", "2024-03-31", "2024-04-01") for time in TIMES]
    for _ in range(examples(6, 25)):
        start, end = sorted(dice.sample(moments, 2))
        bounds = dice.choice([f"start={start}&end={end}", f"start={start}", f"end={end}", ""])
        narrowed = dice.choice(["", "", f"&usage_type_id={type_id}", "&scope=1", "&scope=2"])
        order = dice.choice(["", "&sort=usage_at", "&sort=-usage_at,amount", "&sort=usage_at,-amount", "&sort=amount"])
        size = dice.choice([1, 7, 50])
        asked = f"/usages?{bounds}{narrowed}{order}&page_size={size}"
        counted = manager.get(f"{asked}&as_of={now}")
        total = total_of(counted)
        assert counted.status_code == 200
        for page in {1, 2, 3, total // size // 2 + 1, max(total // size, 1), total // size + 1, total // size + 2}:
            answer = manager.get(f"{asked}&page={page}")
            as_counted = manager.get(f"{asked}&page={page}&as_of={now}")
            assert total_of(answer) == total
            assert answer.json == as_counted.json, f"{asked}&page={page}"


def test_page_statement_returns_only_the_actors_rows(sign_in, monkeypatch):
    """The statement is compiled once for each role. A page by cursor is built for each request."""
    monkeypatch.setattr(paging, "DEEP_OFFSET", 2)
    monkeypatch.setattr(page_query, "_CACHED_PAGES", cached := {})
    clients = []
    for place in (1, 2):
        organization = factories.organization()
        people = [factories.user(organization, role) for role in ("manager", "auditor", "member", "member")]
        for number, user in enumerate(people):
            for day in range(1, 5 + place + number):
                factories.usage(user, str(10 * number + place), f"2024-01-{day:02}", 100 + day % 2)
        ledger.rebuild_daily_totals(organization.id)
        clients += map(sign_in, people)
    clients.append(sign_in(factories.user(factories.organization(), "admin")))
    users = [client.user.id for client in clients]
    asked = ["", "&start=2024-01-02&end=2024-01-06", "&start=2024-01-03&end=2024-01-05"]
    asked += [f"&usage_type_id={type_id}" for type_id in (100, 101)] + ["&usage_type_id=100&usage_type_id=101"]
    asked += [f"&user_id={user_id}" for user_id in (*users[:4], 2**62)] + ["&scope=1", "&scope=2", "&scope=3"]

    pages = ((1, 50), (2, 3), (90, 1), (1, 3), (3, 2))[: examples(3, 5)]
    seen = 0
    for narrowed in asked:
        for sort in ("usage_at", "-amount"):
            for client in clients:
                everything = client.get(f"/usages?cursor=&page_size=1000&sort={sort}{narrowed}").json
                for page, size in pages:
                    answer = client.get(f"/usages?page={page}&page_size={size}&sort={sort}{narrowed}")
                    assert total_of(answer) == len(everything)
                    assert answer.json == everything[(page - 1) * size : page * size]
                    seen += len(answer.json)

    assert seen > 1500
    # For three ways to see rows, six sets of filters, two orders, by number and by cursor. Other values share them.
    assert len(cached) == 3 * 6 * 2 * 2


@pytest.fixture
def read(app):
    """The number of rows of `usages` that each statement reads, as PostgreSQL counts them."""
    numbers = []

    def rows_of(node):
        mine = node["Actual Rows"] * node["Actual Loops"] if node.get("Relation Name") == "usages" else 0
        return mine + sum(map(rows_of, node.get("Plans", [])))

    def explain(connection, cursor, statement, parameters, context, executemany):
        if not statement.startswith(("SELECT", "WITH")) or "INSERT" in statement:
            return
        query = cursor.query.decode().removeprefix(f"{row_security.statement_of_current_scope()}; ")
        with cursor.connection.cursor() as another:
            another.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".encode())
            numbers.append(rows_of(another.fetchone()[0][0]["Plan"]))

    sa.event.listen(sa.Engine, "after_cursor_execute", explain)
    yield numbers
    sa.event.remove(sa.Engine, "after_cursor_execute", explain)


@pytest.mark.parametrize("sort", ["usage_at", "-usage_at"])
def test_total_and_deep_page_read_usages_of_few_days(app, sign_in, many_usages, read, sort, monkeypatch):
    """Of 192 usages a day, for 42 days."""
    manager = sign_in(db.session.get_one(User, many_usages.id))
    many_usages.role = "manager"
    audit.flush()
    ledger.rebuild_daily_totals(many_usages.organization_id)
    db.session.commit()
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    manager.get("/auth/me")
    read.clear()

    answer = manager.get(f"/usages?sort={sort}&page=26&page_size=100&start=2024-01-03T12:00:00Z&end=2024-02-10")

    assert total_of(answer) == 37 * 192 + 96
    assert len(read) == 1
    assert read[0] <= 96 + 2 * 192

"""The cost of a request for PostgreSQL: the number and the length of its statements, and their plans."""

import datetime as dt
import re

import pytest
import sqlalchemy as sa

from carbonapi.db import db
from carbonapi.settings import Limit
from tests.support import factories
from tests.support.plans import plan_nodes, plan_of

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-31T12:00:00Z", "amount": 12.5}
SUMMER = "start=2024-06-01&end=2024-09-01"
COUNTED = 2  # Statements by which an import is counted: by account and by address.


@pytest.fixture
def signed_in_before(app, as_member, monkeypatch):
    """Return the client of a member with a few usages, whose session the worker has cached.

    The worker has also leased a part of their limit of writes, in a window that does not end during the test.
    """
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    moment = factories.now()
    monkeypatch.setattr("carbonapi.rest.rate_limit_headers.now", lambda: moment)
    for month in (6, 7, 8):
        factories.usage(as_member.user, usage_at=f"2024-{month:02}-01")
    factories.usage(as_member.user, usage_at="2024-06-01", region="GB")  # The valuations exist that usages get below.
    as_member.post("/usages", json={})  # It is rejected, and counted.
    return as_member


@pytest.mark.parametrize(
    ("method", "path", "body", "number"),
    [
        ("GET", "/usages", None, 1),
        ("GET", f"/usages?{SUMMER}&sort=-amount&page_size=2&quality=measured", None, 1),
        ("GET", "/usages?page=7", None, 2),  # Past the end, no row brings the total.
        ("GET", f"/emissions/trend?{SUMMER}", None, 1),
        ("GET", f"/emissions/trend?{SUMMER}&group_by=usage_type", None, 1),
        ("GET", f"/emissions/trend?{SUMMER}&compare=previous_year&group_by=scope", None, 1),
        ("GET", "/emissions/trend", None, 2),  # From the first usage to the last: they are looked up.
        ("GET", "/emissions/summary", None, 1),
        ("GET", f"/emissions/bridge?{SUMMER}&compare_start=2023-06-01&compare_end=2023-09-01", None, 1),
        ("GET", "/usages?as_of=2024-01-01T00:00:00Z", None, 2),
        ("GET", f"/emissions/trend?{SUMMER}&as_of=2024-01-01T00:00:00Z", None, 2),
        ("GET", "/usage-types", None, 1),
        ("GET", "/auth/me", None, 1),
        ("POST", "/usages", USAGE, 1),
        ("POST", "/usages", USAGE | {"note": "x", "region": "GB", "quality": "estimated", "external_id": "x"}, 1),
        ("POST", "/usages", [USAGE, USAGE | {"region": "GB", "external_id": "x"}, USAGE | {"amount": 2}], 1),
    ],
)
def test_request_sends_a_fixed_number_of_statements(signed_in_before, statements, method, path, body, number):
    answer = signed_in_before.open(path, method, json=body)

    assert answer.status_code in (200, 201), answer.text
    assert len(statements) == number, statements


@pytest.mark.parametrize(("more", "before"), [({}, 0), ({"unit": "MWh"}, 1), ({"adjusts_closed_period_id": ...}, 1)])
def test_record_writes_by_a_single_statement(as_manager, signed_in_before, statements, more, before):
    if "adjusts_closed_period_id" in more:
        period = as_manager.post("/closed-periods", json={"until": "2023-01-01T00:00:00Z"}).json
        more = {"adjusts_closed_period_id": period["id"]}
    statements.clear()

    answer = signed_in_before.post("/usages", json=USAGE | more)

    assert answer.status_code == 201, answer.text
    assert [statement.split()[0] for statement in statements] == ["SELECT"] * before + ["WITH"]


def test_write_limit_is_leased_in_batches(app, signed_in_before, statements, monkeypatch):
    monkeypatch.setitem(app.config, "RATE_LIMIT_WRITES_PER_ACCOUNT", Limit(100, 60))
    monkeypatch.setitem(app.config, "RATE_LIMIT_WRITES_PER_IP", Limit(200, 61))
    moment = factories.now() + dt.timedelta(minutes=5)
    monkeypatch.setattr("carbonapi.rest.rate_limit_headers.now", lambda: moment)
    sent = []
    for _ in range(9):
        statements.clear()
        assert signed_in_before.post("/usages", json=USAGE).status_code == 201
        sent.append(len(statements))

    assert sent == [3, 1, 2, 1, 3, 1, 2, 1, 3]


def test_uncached_session_takes_one_more_statement(app, signed_in_before, statements, monkeypatch):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 0)
    app.extensions["carbonapi"].actors.clear()

    signed_in_before.get("/usages")

    assert len(statements) == 2


def test_correction_reads_archives_and_writes(signed_in_before, statements):
    usage_id = signed_in_before.get("/usages").json[0]["id"]
    statements.clear()

    assert signed_in_before.patch(f"/usages/{usage_id}", json={"amount": 3}).status_code == 200
    assert len(statements) == 4
    statements.clear()
    assert signed_in_before.delete(f"/usages/{usage_id}").status_code == 204
    assert len(statements) == 5  # A usage that leaves a day may leave an hour empty there.


def test_import_statements_do_not_depend_on_its_length(signed_in_before, statements):
    for lines in (10, 1000):
        file = "usage_at,amount\n" + "".join(f"2024-01-01T00:00:{lines % 60:02}.{n:06}Z,1\n" for n in range(lines))
        statements.clear()
        answer = signed_in_before.post("/imports?usage_type_id=100", data=file, content_type="text/csv")
        assert answer.status_code == 201
        assert len(statements) == COUNTED + 22


@pytest.mark.parametrize(
    ("query", "header", "line", "number"),
    [
        ("", "usage_at,amount,external_id\n", "2024-01-01T00:00:00Z,1,{n}\n", 25),
        ("", "usage_at,amount,unit\n", "{at},1,MWh\n", 26),
        ("", "usage_at,usage_until,amount\n", "{at},2024-01-02T00:00:00Z,1\n", 24),
        ("&on_conflict=replace", "usage_at,amount,external_id\n", "2024-01-01T00:00:00Z,1,{n}\n", 33),
        ("&mode=partial", "usage_at,amount,usage_type_id\n", "{at},1,999999\n", 31),
    ],
)
def test_import_checks_do_not_depend_on_its_length(signed_in_before, statements, query, header, line, number):
    for lines in (10, 1000):
        file = header + "".join(
            line.format(n=f"{lines}-{n}", at=f"2024-01-01T00:00:{lines % 60:02}.{n:06}Z") for n in range(lines)
        )
        statements.clear()
        path = f"/imports?usage_type_id=100{query}"
        assert signed_in_before.post(path, data=file, content_type="text/csv").status_code == 201
        assert len(statements) == COUNTED + number, [statement[:60] for statement in statements]


@pytest.mark.parametrize("query", ["", "&as_of=2024-01-01T00:00:00Z", "&sort=-amount&quality=measured"])
def test_export_sets_a_timeout_and_copies(signed_in_before, statements, query):
    answer = signed_in_before.get(f"/usages/export?format=csv{query}")

    assert answer.text.startswith("id,organization_id,")
    expected = ["SELECT", "SET"] if "as_of" in query else ["SET"]
    assert [statement.split()[0] for statement in statements] == expected  # COPY is sent by the driver itself.


def test_verification_sends_one_statement_per_5000_lines(signed_in_before, statements):
    for lines, number in ((1, 1), (5000, 1), (5001, 2)):
        file = "id,version,co2e_kg\n" + "1,1,1\n" * lines
        statements.clear()
        answer = signed_in_before.post("/verify", data=file, content_type="text/csv")
        assert answer.status_code == 200
        assert len(statements) == COUNTED + number


PAGE = 7_000
TREND = 15_300  # Each sum is location-based and market-based.
WRITE = 9_000  # One statement validates a usage, writes it, its audit entry and its daily totals.
ARRAY = 11_500  # It also counts the usages that can be recorded, and adds up their daily totals.
COMPARED = 29_200  # Both ranges are one statement; each may have whole days and two ends.
CUT = "start=2024-06-01T10:00:00Z&end=2024-09-01T03:00:00Z"
IMPORT = {"data": "usage_at,amount,external_id\n2024-06-01T00:00:00Z,1,a\n", "content_type": "text/csv"}
REPLACING = {"data": "usage_at,usage_until,amount,external_id\n2024-06-01T00:00:00Z,2024-06-02T00:00:00Z,2,a\n",
             "content_type": "text/csv"}  # fmt: skip


@pytest.mark.parametrize(
    ("longest", "method", "path", "body"),
    [
        (PAGE, "GET", "/usages", {}),
        (PAGE, "GET", f"/usages?{SUMMER}", {}),
        (7_500, "GET", f"/usages?{CUT}&usage_type_id=100&usage_type_id=101&outdated=true", {}),
        (PAGE, "GET", f"/usages?{SUMMER}&page=1001&page_size=1", {}),
        (PAGE, "GET", f"/usages?{SUMMER}&as_of=2024-01-01T00:00:00Z", {}),
        (PAGE, "GET", f"/usages?{SUMMER}&cursor=&sort=-amount&quality=measured", {}),
        (PAGE, "GET", "/usages/{usage_id}", {}),
        (PAGE, "GET", "/usages/{usage_id}/explain", {}),
        (10_300, "GET", "/usages/{usage_id}/versions", {}),  # The JSON of 30 columns, and the versions of two tables.
        (PAGE, "GET", "/users/{user_id}/usages", {}),
        (TREND, "GET", f"/emissions/trend?{SUMMER}", {}),
        (TREND, "GET", "/emissions/trend", {}),
        (TREND, "GET", "/emissions/trend?bucket=hour&start=2024-06-03&end=2024-06-10", {}),
        (TREND, "GET", f"/emissions/trend?{CUT}&group_by=usage_type", {}),
        (COMPARED, "GET", f"/emissions/trend?{SUMMER}&compare=previous_year&group_by=scope", {}),
        (COMPARED, "GET", f"/emissions/trend?{CUT}&compare=previous_year&group_by=scope", {}),
        (TREND, "GET", f"/emissions/summary?{SUMMER}", {}),
        (TREND, "GET", f"/emissions/summary?{CUT}&by=scope&by=usage_type", {}),  # Whole days and two ends.
        (TREND, "GET", f"/emissions/bridge?{SUMMER}&compare_start=2023-06-01&compare_end=2023-09-01", {}),
        (WRITE, "POST", "/usages", {"json": USAGE}),
        (WRITE, "POST", "/usages", {"json": USAGE | {"usage_until": "2024-02-03T00:00:00Z", "unit": "MWh"}}),
        (ARRAY, "POST", "/usages", {"json": [USAGE, USAGE | {"unit": "MWh"}]}),
        (WRITE, "PATCH", "/usages/{usage_id}", {"json": {"amount": 3}}),
        (WRITE, "PATCH", "/usages/{usage_id}", {"json": {"usage_at": "2024-01-01T00:00:00Z", "amount": 4}}),
        (WRITE, "PUT", "/usages/{usage_id}", {"json": USAGE}),
        (WRITE, "DELETE", "/usages/{usage_id}", {}),
        (WRITE, "POST", "/imports?usage_type_id=100", IMPORT),
        (TREND, "POST", "/imports?usage_type_id=100&on_conflict=replace", REPLACING),  # Archives and updates.
        (WRITE, "POST", "/restatements", {"json": {"usage_type_ids": [100], "reason": "x", "mode": "preview"}}),
    ],
)  # fmt: skip
def test_statements_of_a_request_are_short(as_manager, statements, longest, method, path, body):
    usage = factories.usage(as_manager.user, usage_at="2024-06-01", external_id="a" if "replace" in path else None)
    statements.clear()

    answer = as_manager.open(path.format(usage_id=usage.id, user_id=as_manager.user.id), method, **body)

    assert answer.status_code in (200, 201, 204), answer.text
    assert max(map(len, statements)) <= longest, f"{max(map(len, statements))}: {max(statements, key=len)}"


def test_statements_of_every_list_are_short(app, as_manager, statements):
    paths = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") and "GET" in rule.methods and not rule.arguments
    ]
    for path in paths:
        statements.clear()
        as_manager.get(path)
        longest = TREND if path.endswith(("/trend", "/summary")) else PAGE
        assert max(map(len, statements), default=0) <= longest, (path, max(statements, key=len))
    assert len(paths) >= 10


@pytest.mark.parametrize(
    ("criteria", "order", "index"),
    [
        ("user_id = {user_id}", "usage_at DESC, id DESC", "ix_usages_by_user"),
        ("user_id = {user_id} AND usage_at >= '2024-02-01'", "usage_at, id", "ix_usages_by_user"),
        ("usage_at >= '2024-02-01'", "usage_at DESC, id DESC", "ix_usages_by_time"),
        ("usage_type_id = 100 AND usage_at < '2024-01-05'", "usage_at, id", "ix_usages_by_type"),
        ("true", "id DESC", "pk_usages"),
    ],
)
def test_page_is_read_from_an_index_without_sorting(many_usages, criteria, order, index):
    plan = plan_of(
        f"SELECT * FROM usages WHERE organization_id = {many_usages.organization_id} "
        f"AND {criteria.format(user_id=many_usages.id)} ORDER BY {order} LIMIT 50"
    )

    assert plan == [("Limit", None), ("Index Scan", index)]


@pytest.fixture
def many_days(organization):
    """Three years of days, of two usage types, of the organization and of twenty others."""
    organizations = [organization, *(factories.organization() for _ in range(20))]
    ids = [factories.valuation(each.id, type_id) for each in organizations for type_id in (100, 101)]
    db.session.execute(
        sa.text(
            """
            INSERT INTO daily_totals (organization_id, usage_type_id, day, valuation_id, restatement_id, timezone,
                                      usage_count, carried_count, amount, estimated_amount, reading_hours, period_hours,
                                      hours_stale)
            SELECT o.id, v.usage_type_id, date '2022-01-01' + n, v.id, 0, o.timezone, 24, 0, 24, 0, 16777215, 0, false
            FROM valuations v JOIN organizations o ON o.id = v.organization_id CROSS JOIN generate_series(0, 1094) n
            WHERE v.id = ANY (:ids)
            """
        ),
        {"ids": ids},
    )
    db.session.execute(sa.text("ANALYZE daily_totals"))


@pytest.mark.parametrize(
    "question",
    [
        f"trend?bucket=month&{SUMMER}",
        f"trend?bucket=month&{SUMMER}&compare=previous_year&group_by=usage_type",
        f"summary?by=scope&by=usage_type&{SUMMER}",
    ],
)
def test_whole_days_are_read_from_daily_totals_by_key(app, as_manager, many_days, monkeypatch, question):
    monkeypatch.setitem(app.config, "SESSION_CACHE_SECONDS", 5)
    as_manager.get("/auth/me")
    sent = []

    def note(connection, cursor, statement, parameters, context, executemany):
        sent.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        answer = as_manager.get(f"/emissions/{question}")
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)

    figures = answer.json if "trend" in question else [answer.json]
    assert sum(figure["usage_count"] for figure in figures) == 2 * 24 * 92
    *_, (statement, parameters) = [
        each for each in sent if not each[0].startswith(("SAVEPOINT", "RELEASE", "ROLLBACK"))
    ]
    plan = plan_of(statement, parameters)
    read = {(kind, name) for kind, name in plan if name in ("daily_totals", "pk_usage_days") or "usages" in str(name)}
    assert read <= {
        ("Index Scan", "pk_usage_days"),
        ("Bitmap Index Scan", "pk_usage_days"),
        ("Bitmap Heap Scan", "daily_totals"),
    }
    assert read


@pytest.mark.parametrize("many", ["replaced", "restated"])
def test_bulk_writes_join_by_hash_with_stale_statistics(as_manager, many):
    usage_type = factories.usage_type(factor="1")
    times = [f"2024-01-{day:02}T{hour:02}:00:00Z" for day in range(1, 29) for hour in range(24)]

    def import_amounts(amount):
        file = "usage_at,external_id,amount\n" + "".join(f"{time},{time},{amount}\n" for time in times)
        path = f"/imports?usage_type_id={usage_type.id}&on_conflict=replace"
        return as_manager.post(path, data=file, content_type="text/csv")

    assert import_amounts(1).status_code == 201
    factor = {"factor": 2, "valid_from": "2024-01-01T00:00:00Z", "source": "Tests"}
    assert as_manager.post(f"/usage-types/{usage_type.id}/factors", json=factor).status_code == 201
    # As when it is looked at while many usages are recorded and not committed yet.
    statistics = "'schemaname', 'public', 'relname', 'usages', 'relpages', 100, 'reltuples', 0::real"
    db.session.execute(sa.text(f"SELECT pg_restore_relation_stats({statistics})"))
    filters = []

    def note(connection, cursor, statement, parameters, context, executemany):
        if "UPDATE usages" in statement:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            filters.extend(node.get("Join Filter", "") for node in plan_nodes(cursor.fetchone()[0][0]["Plan"]))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        if many == "replaced":
            answer = import_amounts(3).json
        else:
            body = {"usage_type_ids": [usage_type.id], "mode": "apply", "reason": "Tests"}
            answer = as_manager.post("/restatements", json=body).json
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)

    assert answer["usage_count"] == len(times)
    assert filters
    assert not [each for each in filters if re.search(r"\busages\w*\.id\b", each)]

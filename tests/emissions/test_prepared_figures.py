"""Generic plans of pages and figures: they know no values, and read little more than plans that know all of them."""

import pytest
import sqlalchemy as sa

from carbonapi.auth import state
from carbonapi.db import db, prepared
from carbonapi.rest.fields import format_datetime
from carbonapi.usages.ledger.daily_totals import rebuild_daily_totals
from tests.support import factories
from tests.support.plans import plan_nodes

COUNT = 25_000
MONTHS = ("2022-01", "2023-06", "2024-12")  # The first, one in the middle, and the last.
FACTOR = 3  # How much more may be read.
ALWAYS_READ = 150  # For tables that are small.
CUT_YEAR = "start=2024-01-01T10:00:00Z&end=2024-12-31T05:00:00Z"


@pytest.fixture
def skewed(request, organization):
    """Return three users: with 90 %, 1 % and 9 % of three years of usages. None is of the usage type 102."""
    users = [factories.user(organization, role) for role in ("member", "member", "manager")]
    for usage_type_id in (100, 101):
        factories.valuation(organization.id, usage_type_id)
    db.session.execute(
        sa.text(
            """
            INSERT INTO usages (organization_id, user_id, usage_type_id, usage_at, usage_until, amount, unit,
                                amount_in_type_unit, valuation_id, emission_factor_id, factor, market_factor,
                                recorded_by, version)
            SELECT :id, CASE WHEN n % 100 < 90 THEN :most WHEN n % 100 = 90 THEN :few ELSE :other END, v.usage_type_id,
                   t.usage_at, CASE WHEN :intervals THEN t.usage_at + interval '1 hour' END, 1, 'kwh', 1, v.id,
                   v.emission_factor_id, 1, 1, :other, 1
            FROM generate_series(1, :count) n
            CROSS JOIN LATERAL (SELECT '2022-01-01Z'::timestamptz + n * interval '1095 days' / :count) t (usage_at)
            JOIN valuations v ON v.organization_id = :id AND v.usage_type_id = 100 + (n % 10 = 3)::integer
            """
        ),
        dict(zip(("most", "few", "other"), (user.id for user in users), strict=True))
        | {"id": organization.id, "count": COUNT, "intervals": request.param == "intervals"},
    )
    rebuild_daily_totals(organization.id)
    db.session.execute(sa.text("ANALYZE usages, daily_totals"))
    return users


@pytest.fixture
def executed(app):
    """The prepared statements that the app executes, each with its parameters."""
    found = []

    def record(connection, cursor, statement, parameters, context, executemany):
        if (statement := prepared._prepared(context)) is not None:
            found.append((statement.execute(statement.name()), parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", record)
    yield found
    sa.event.remove(sa.Engine, "before_cursor_execute", record)


def pages_read(executed, mode):
    """Return how many pages of memory a prepared statement reads with a generic or a custom plan."""
    statement, parameters = executed
    connection = db.session.connection()
    connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = force_{mode}_plan")
    explain = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}"
    plan = connection.exec_driver_sql(explain, parameters).scalar()[0]["Plan"]
    connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def filters(user, users):
    if user.role == "member":
        return [""]
    return [f"user_id={users[0].id}", f"user_id={users[1].id}", "usage_type_id=100", "usage_type_id=102", ""]


def pages(*users):
    """Yield pages by cursor, which have no total. To count the usages of a user takes as long as there are many."""
    for which in filters(*users):
        yield f"/usages?cursor=&{which}"
        yield f"/usages?cursor=&sort=usage_at&{which}"
        for month in MONTHS:
            yield f"/usages?cursor=&start={month}-01T10:00:00Z&end={month}-28T03:00:00Z&{which}"


def figures(*users):
    for which in filters(*users):
        for month in MONTHS:
            cut = f"start={month}-01T10:00:00Z&end={month}-28T03:00:00Z&{which}"
            yield f"/emissions/trend?bucket=day&{cut}"
            yield f"/emissions/trend?bucket=hour&{cut}"
            yield f"/emissions/summary?by=scope&{cut}"
            before = f"compare_start={month}-01&compare_end={month}-10"
            yield f"/emissions/bridge?start={month}-10&end={month}-20&{before}&{which}"
    yield f"/emissions/trend?bucket=month&{CUT_YEAR}"


@pytest.mark.parametrize(
    ("skewed", "queries", "least"),
    # Most figures of intervals are not prepared.
    [("instants", pages, 25), ("instants", figures, 40), ("intervals", figures, 1)],
    indirect=["skewed"],
)
def test_generic_plans_read_little_more(skewed, sign_in, executed, queries, least):
    found = {}
    for user in (skewed[0], skewed[2]):
        client = sign_in(user)
        for query in queries(user, skewed):
            executed.clear()
            assert client.get(query).status_code == 200
            for each in executed[-1:]:
                found[user.role, query] = (pages_read(each, "generic"), pages_read(each, "custom"))

    bad = {key: read for key, read in found.items() if read[0] > FACTOR * read[1] + ALWAYS_READ}
    assert not bad
    assert len(found) >= least


def test_edges_are_read_once(as_manager, executed):
    """PostgreSQL would otherwise read the text of all edges again for each usage."""
    factories.usage(as_manager.user, usage_at="2024-01-01T01:30:00+00:00")
    as_manager.get("/emissions/trend?bucket=hour&start=2024-01-01&end=2024-01-08")

    statement, parameters = executed[-1]
    plan = db.session.connection().exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar()[0]["Plan"]

    assert "CTE edges" in {node.get("Subplan Name") for node in plan_nodes(plan)}


@pytest.mark.parametrize(("skewed", "has_intervals"), [("instants", False), ("intervals", True)], indirect=["skewed"])
def test_figures_of_intervals_are_not_prepared(skewed, sign_in, executed, has_intervals):
    client = sign_in(skewed[2])
    client.get(f"/emissions/trend?{CUT_YEAR}")
    executed.clear()

    answer = client.get(f"/emissions/trend?{CUT_YEAR}")

    assert (client.user.organization_id in state().organizations_with_intervals) == has_intervals
    assert sum(bucket["usage_count"] for bucket in answer.json) > COUNT / 4
    assert any("edges" in statement for statement, _ in executed) != has_intervals


def test_first_interval_of_an_organization_counts(as_manager):
    query = "/emissions/trend?bucket=hour&start=2024-01-01T00:00:00Z&end=2024-01-01T04:00:00Z"
    factories.usage(as_manager.user, usage_at="2024-01-01T01:30:00+00:00")
    assert [bucket["usage_count"] for bucket in as_manager.get(query).json] == [0, 1, 0, 0]

    until = factories.at("2024-01-01T03:00:00+00:00")
    factories.usage(as_manager.user, "2", usage_at="2024-01-01T02:00:00+00:00", usage_until=until)

    assert [bucket["usage_count"] for bucket in as_manager.get(query).json] == [0, 1, 1, 0]
    now = format_datetime(factories.now())
    assert as_manager.get(query).json == as_manager.get(f"{query}&as_of={now}").json

"""The jobs with single requests. Each is a function that returns its findings."""

import re
from collections.abc import Callable

from . import sampling
from .ledger import LARGE, MEMBER, Database
from .runner import FIELDS, Findings, Stage, Target
from .sampling import Run
from .servers import Server

USAGE = {"usage_type_id": 100, "usage_at": "2026-01-31T12:00:00Z", "amount": 12.5, "note": "Main meter"}
PAGE = "/api/v1/usages?page_size=100"
YEAR = ("2024-01-01", "2025-01-01")


def difference(database: Database, service: Server, peer: Server, token: str) -> str | None:
    """Return how the responses or the stored rows of the peer differ from those of carbonapi, or None."""
    pages = [server.send(PAGE, token) for server in (service, peer)]
    if pages[0][0] != pages[1][0]:
        return "The pages differ."
    totals = [headers["X-Pagination"].partition(",")[0] for _, headers in pages]
    if totals[0] != totals[1]:
        return f"The totals differ: {totals}."
    responses = [server.send("/api/v1/usages", token, USAGE)[0] for server in (service, peer)]
    rows = [database.rows("SELECT * FROM usages WHERE id = %s", (response["id"],))[0] for response in responses]
    for usage in (*responses, *rows):
        usage.pop("id")
        usage.pop("recorded_at")
    if responses[0] != responses[1]:
        return f"The responses to POST differ: {responses}."
    return None if rows[0] == rows[1] else f"The stored rows differ: {rows}."


def page_of_one_user(stage: Stage) -> Findings:
    page = (
        f"SELECT {FIELDS} FROM usages WHERE organization_id = {LARGE} AND user_id = {MEMBER} "
        "ORDER BY usage_at DESC, id DESC LIMIT 100"
    )
    total = f"SELECT count(*) FROM usages WHERE organization_id = {LARGE} AND user_id = {MEMBER}"

    def without_server(statement: str) -> Callable[[], Run]:
        pgbench = stage.programs / "pgbench"
        return lambda: sampling.with_cpu(
            lambda: sampling.pgbench(pgbench, stage.database.superuser_url, statement, stage.seconds),
            None,
            stage.database.pid,
        )

    runs = sampling.in_turn(
        {
            "carbonapi": stage.load_on(stage.service, PAGE, stage.member),
            "FastAPI": stage.load_on(stage.peer, PAGE, stage.member),
            "pgbench, the rows as JSON": without_server(f"SELECT json_agg(p) FROM ({page}) p"),
            "pgbench, the rows as JSON and their total": without_server(
                f"SELECT json_agg(p), ({total}) FROM ({page}) p"
            ),
        },
        stage.rounds,
    )
    ours, peers, rows = runs["carbonapi"], runs["FastAPI"], runs["pgbench, the rows as JSON"]
    cpu, rate = peers.application_us / ours.application_us, ours.rate / rows.rate
    return Findings(
        "GET page of 100, one user",
        runs,
        [f"This is {ours.rate / list(runs.values())[-1].rate:.3f} of the rate of pgbench with the total."],
        [
            Target(
                "GET page of 100, one user",
                "≥ 2 times less CPU than FastAPI",
                f"FastAPI takes {cpu:.2f} times as much",
                cpu / 2,
            ),
            Target("the same", "≥ 0.25 of pgbench's rate", f"{rate:.3f} of it", rate / 0.25),
        ],
    )


def pages_at_depth(stage: Stage) -> Findings:
    """Get the first page of an organization and a late one, by number and by cursor."""
    depth = min(1_000_000, stage.rows // 2) // 100 * 100
    number = depth // 100 + 1
    ways = [{"page 1": f"{PAGE}&page=1", f"page {number}": f"{PAGE}&page={number}"}]
    notes = []
    document, _ = stage.service.send("/openapi.json")
    parameters = {parameter.get("name") for parameter in document["paths"]["/api/v1/usages"]["get"]["parameters"]}
    if "cursor" in parameters:
        ways.append({"cursor at the beginning": f"{PAGE}&cursor=", "cursor there": cursor_at(stage, depth // 100)})
    else:
        notes.append("The service has no `cursor` yet.")
    runs, targets = {}, []
    for way in ways:
        way_runs = {name: stage.get(path, stage.manager) for name, path in way.items()}
        first, deep = (run.p50_ms for run in way_runs.values())
        runs |= way_runs
        job = f"GET page of all, at depth {depth:,}, by {' '.join(way).split()[0]}"
        targets.append(Target(job, "≤ 2 times depth 0", f"{deep / first:.2f} times it", 2 * first / deep))
    return Findings(f"GET page of 100 of all, at depth {depth:,}", runs, notes, targets)


def cursor_at(stage: Stage, pages: int) -> str:
    """Return the path of the page after `pages` pages, by following `Link: rel="next"`."""
    path = f"{PAGE}&cursor="
    for _ in range(pages):
        link = stage.service.send(path, stage.manager)[1]["Link"]
        path = re.search(r'<([^>]*)>; rel="next"', link)[1]
    return path


def post_one_usage(stage: Stage) -> Findings:
    runs = sampling.in_turn(
        {
            "carbonapi": stage.load_on(stage.service, "/api/v1/usages", stage.member, USAGE),
            "FastAPI": stage.load_on(stage.peer, "/api/v1/usages", stage.member, USAGE),
        },
        stage.rounds,
    )
    cpu = runs["FastAPI"].application_us / runs["carbonapi"].application_us
    return Findings(
        "POST one usage, stored durably",
        runs,
        ["carbonapi also writes an audit entry and checks for closed periods. The peer does not."],
        [
            Target(
                "POST one usage",
                "≥ 1.5 times less CPU than FastAPI",
                f"FastAPI takes {cpu:.2f} times as much",
                cpu / 1.5,
            )
        ],
    )


def trend_by_month(stage: Stage) -> Findings:
    run = stage.get("/api/v1/emissions/trend?bucket=month&start=2023-01-01&end=2026-01-01", stage.manager)
    in_database = run.database_us / 1000
    measured = f"{in_database:.1f} ms CPU of PostgreSQL, {run.p50_ms:.1f} ms the whole request"
    target = Target(f"trend by month, {stage.rows:,} usages", "≤ 10 ms in the database", measured, 10 / in_database)
    return Findings("Trend by month of the whole organization", {"carbonapi": run}, [], [target])


def total_of_a_year(stage: Stage) -> Findings:
    start, end = YEAR
    counting, adding = (
        f"SELECT {source} WHERE organization_id = {LARGE} AND {column} >= '{start}' AND {column} < '{end}'"
        for source, column in (("count(*) FROM usages", "usage_at"), ("sum(usage_count) FROM daily_totals", "day"))
    )
    runs = {
        "carbonapi, a list's X-Pagination": stage.get(
            f"/api/v1/usages?start={start}&end={end}&page_size=1", stage.manager
        ),
        "carbonapi, GET /emissions/summary": stage.get(
            f"/api/v1/emissions/summary?start={start}&end={end}&by=scope&by=usage_type", stage.manager
        ),
        "count(*)": stage.sql(counting),
        "sum of the daily totals": stage.sql(adding),
    }
    whole, _, counted, added = runs.values()
    ratio = counted.p50_ms / added.p50_ms
    measured = f"{ratio:.0f} times in the database, the whole request {counted.p50_ms / whole.p50_ms:.0f} times"
    target = Target("exact total over a year", "≥ 500 times as fast as count(*)", measured, ratio / 500)
    return Findings("Exact total over a year", runs, [], [target])

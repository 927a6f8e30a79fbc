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
TREND = "/api/v1/emissions/trend?bucket=month&start=2023-01-01&end=2026-01-01"
YEAR = ("2024-01-01", "2025-01-01")
MONTH = "start=2024-03-01&end=2024-04-01"
# Filters and sorts of a page of one user. Some select most of the rows, some few, one none.
NARROWED = (
    MONTH, "start=2024-03-01&end=2024-03-02", "usage_type_id=100", "usage_type_id=100&usage_type_id=103", "scope=2",
    "quality=measured", "quality=estimated", "region=DE", "provisional=true", "external_id=none",
    "sort=usage_at", "sort=-amount", "sort=-recorded_at", "sort=id",
)  # fmt: skip


def difference(database: Database, service: Server, peer: Server, token: str) -> str | None:
    """Return how the responses or the stored rows of the peer differ from those of carbonapi, or None."""
    pages = [server.send(PAGE, token) for server in (service, peer)]
    if pages[0][0] != pages[1][0]:
        return "The pages differ."
    totals = [headers["X-Pagination"].partition(",")[0] for _, headers in pages]
    if totals[0] != totals[1]:
        return f"The totals differ: {totals}."
    ours, peers = (record_alone(database, server, token) for server in (service, peer))
    for name, found in ours.items():
        if found != peers[name]:
            return f"The {name} of a POST differ: {found} and {peers[name]}."
    return None


def record_alone(database: Database, server: Server, token: str) -> dict[str, list[dict]]:
    """Record a usage as the only one of its day. Return the response, and the rows that it has stored, without ids."""
    with database.cursor() as cursor:
        for table, column in (("usages", "usage_at::date"), ("daily_totals", "day")):
            cursor.execute(f"DELETE FROM {table} WHERE {column} = %s", (USAGE["usage_at"],))
    response, _ = server.send("/api/v1/usages", token, USAGE)
    found = {
        "responses": [response],
        "usages": database.rows("SELECT * FROM usages WHERE id = %s", (response["id"],)),
        "daily totals": database.rows("SELECT * FROM daily_totals WHERE day = %s", (USAGE["usage_at"],)),
        "audit entries": database.rows("SELECT * FROM audit_entries WHERE subject_id = %s", (response["id"],)),
    }
    for row in (row for rows in found.values() for row in rows):
        for name in ("id", "subject_id", "recorded_at", "occurred_at", "request_id"):
            row.pop(name, None)
    return found


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
    ours, peers, rows = runs["carbonapi"], runs["FastAPI"], runs["pgbench, the rows as JSON and their total"]
    cpu, rate = peers.cpu_us / ours.cpu_us, ours.rate / rows.rate
    return Findings(
        "GET page of 100, one user",
        runs,
        [],
        [
            Target(
                "GET page of 100, one user",
                "≥ 2.5 times less CPU than FastAPI",
                f"FastAPI takes {cpu:.2f} times as much",
                cpu / 2.5,
            ),
            Target("the same", "≥ 0.30 of the rate of pgbench with the total", f"{rate:.3f} of it", rate / 0.3),
        ],
    )


def page_by_filter(stage: Stage) -> Findings:
    """Get a page of one user with each filter and sort, beside the page without."""
    paths = {"the page without": PAGE} | {narrowed: f"{PAGE}&{narrowed}" for narrowed in NARROWED}
    loads = {name: stage.load_on(stage.service, path, stage.member) for name, path in paths.items()}
    runs = sampling.in_turn(loads, stage.rounds)
    plain = runs["the page without"].cpu_us
    targets = [
        Target(
            f"the page with `{name}`",
            "≤ 1.3 times its CPU",
            f"{run.cpu_us / plain:.2f} times",
            1.3 * plain / run.cpu_us,
        )
        for name, run in runs.items()
        if name in NARROWED
    ]
    return Findings("GET page of 100, one user, by filter and sort", runs, [], targets)


def compressed_page(stage: Stage) -> Findings:
    """Get a page with gzip, beside the page without."""
    plain, gzip = ({}, {"Accept-Encoding": "gzip"})
    sizes = [stage.service.size_of(PAGE, stage.member, headers) for headers in (plain, gzip)]
    runs = sampling.in_turn(
        {
            "uncompressed": stage.load_on(stage.service, PAGE, stage.member),
            "gzip": stage.load_on(stage.service, PAGE, stage.member, headers=gzip),
        },
        stage.rounds,
    )
    share, cpu = sizes[1] / sizes[0], runs["gzip"].cpu_us / runs["uncompressed"].cpu_us
    return Findings(
        "GET page of 100, compressed",
        runs,
        [f"{sizes[0]:,} bytes, and {sizes[1]:,} with gzip."],
        [
            Target("page with gzip", "≤ 1/8 of the bytes", f"{share:.3f} of them", 0.125 / share),
            Target("page with gzip", "≤ 1.3 times the CPU", f"{cpu:.2f} times", 1.3 / cpu),
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
        limit = 1.1 if "cursor" in job else 1.5
        targets.append(Target(job, f"≤ {limit} times depth 0", f"{deep / first:.2f} times it", limit * first / deep))
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
    cpu = runs["FastAPI"].cpu_us / runs["carbonapi"].cpu_us
    return Findings(
        "POST one usage, stored durably, with its audit entry and daily total",
        runs,
        [],
        [
            Target(
                "POST one usage", "≥ 2 times less CPU than FastAPI", f"FastAPI takes {cpu:.2f} times as much", cpu / 2
            )
        ],
    )


def post_an_array(stage: Stage) -> Findings:
    """Record 100 usages in one request, beside one usage."""
    usages = [USAGE | {"usage_at": f"2026-01-{1 + n // 24:02}T{n % 24:02}:00:00Z"} for n in range(100)]
    runs = sampling.in_turn(
        {
            "one usage": stage.load_on(stage.service, "/api/v1/usages", stage.member, USAGE),
            "an array of 100": stage.load_on(stage.service, "/api/v1/usages", stage.member, usages),
        },
        stage.rounds,
    )
    times = 100 * runs["one usage"].cpu_us / runs["an array of 100"].cpu_us
    target = Target(
        "POST of 100 usages in an array", "≥ 20 times less CPU than 100 POSTs", f"{times:.1f} times", times / 20
    )
    return Findings("POST of an array of 100 usages", runs, [], [target])


def trend_of_the_organization(stage: Stage) -> Findings:
    runs = {
        bucket: stage.get(f"/api/v1/emissions/trend?bucket={bucket}&start={start}&end=2026-01-01", stage.manager)
        for bucket, start in (("month", "2023-01-01"), ("day", "2025-01-01"))
    }
    runs["month, by scope"] = stage.get(f"{TREND}&group_by=scope", stage.manager)
    runs["month, by category"] = stage.get(f"{TREND}&group_by=category", stage.manager)
    targets = [
        Target(
            f"trend by {name}, {stage.rows:,} usages", "≤ 5 ms CPU", f"{run.cpu_us / 1000:.1f} ms", 5000 / run.cpu_us
        )
        for name, run in runs.items()
    ]
    return Findings("Trend of the whole organization: three years by month, a year by day", runs, [], targets)


def hourly_trend(stage: Stage) -> Findings:
    path = "/api/v1/emissions/trend?bucket=hour&start=2024-03-04T00:00:00Z&end=2024-03-11T00:00:00Z"
    runs = sampling.in_turn(
        {
            "carbonapi": stage.load_on(stage.service, path, stage.manager),
            "FastAPI": stage.load_on(stage.peer, path, stage.manager),
        },
        stage.rounds,
    )
    cpu = runs["FastAPI"].cpu_us / runs["carbonapi"].cpu_us
    return Findings(
        "Hourly trend of a week of the whole organization",
        runs,
        ["The peer groups by hour in SQL. It returns no coverage, no market-based numbers and no empty hours."],
        [Target("hourly trend of a week", "≥ 2 times less CPU", f"FastAPI takes {cpu:.2f} times as much", cpu / 2)],
    )


def trend_of_users(stage: Stage) -> Findings:
    """Get trends that daily totals of the organization do not have, beside adding up rows."""
    month = f"SELECT user_id, date_trunc('month', usage_at), sum(co2e_kg) FROM usages WHERE organization_id = {LARGE}"
    runs = {
        "by user": stage.get(f"{TREND}&group_by=user", stage.manager),
        "by user, adding up rows": stage.sql(f"{month} GROUP BY 1, 2"),
        "a member's own": stage.get(TREND, stage.member),
        "a member's own, adding up rows": stage.sql(f"{month} AND user_id = {MEMBER} GROUP BY 1, 2"),
    }
    targets = []
    for name in ("by user", "a member's own"):
        times = runs[f"{name}, adding up rows"].p50_ms / runs[name].p50_ms
        targets.append(Target(f"trend by month, {name}", "≥ 50 times as fast", f"{times:.2g} times", times / 50))
    return Findings("Trend by month of users", runs, [], targets)


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
    ratio = counted.p50_ms / whole.p50_ms
    measured = f"{ratio:.0f} times; in the database alone {counted.p50_ms / added.p50_ms:.0f} times"
    target = Target("exact total over a year", "≥ 500 times as fast as count(*)", measured, ratio / 500)
    return Findings("Exact total over a year", runs, [], [target])

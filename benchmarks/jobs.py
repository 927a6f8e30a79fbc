"""The jobs that are measured, each a function of the stage that gives its findings."""

import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import files, measuring
from .ledger import LARGE, MEMBER, Database
from .measuring import Run
from .servers import Server

USAGE = {"usage_type_id": 100, "usage_at": "2026-01-31T12:00:00Z", "amount": 12.5, "note": "Main meter"}
PAGE = "/api/v1/usages?page_size=100"
YEAR = ("2024-01-01", "2025-01-01")
FIELDS = (
    "id, organization_id, user_id, usage_type_id, usage_at, usage_until, amount, unit, amount_in_type_unit, factor, "
    "emission_factor_id, co2e_kg, region, method, quality, note, external_id, adjusts_period_id, import_id, "
    "restatement_id, version, recorded_at, recorded_by, reason"
)


@dataclass(frozen=True)
class Target:
    """What must be reached, and what was: `reached` times what is wanted, 1 or more when it is reached."""

    job: str
    wanted: str
    found: str
    reached: float


@dataclass(frozen=True)
class Findings:
    title: str
    runs: dict[str, Run] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)


@dataclass(frozen=True)
class Stage:
    """Everything that a job works with: who serves, who asks, how many usages there are, and how long to look."""

    database: Database
    programs: Path  # PostgreSQL's own: pgbench, psql.
    service: Server
    peer: Server
    manager: str
    member: str
    rows: int
    file_rows: int
    seconds: int
    rounds: int

    def driving(self, server: Server, path: str, token: str, body: dict | None = None) -> Callable[[], Run]:
        def drive() -> Run:
            return measuring.wrk(server.url + path, token, self.seconds, body)

        measuring.wrk(server.url + path, token, 1, body)  # To warm up.
        return lambda: measuring.with_cpu(drive, server.pid, self.database.pid)

    def asking(self, path: str, token: str) -> Run:
        """One request after the other, on one connection; the first, to warm up, does not count."""

        def ask() -> None:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"GET {path} answered {answer.status}: {said.decode()}")

        connection = measuring.connection_to(self.service.url)
        ask()
        return measuring.with_cpu(lambda: measuring.timed(ask, self.seconds), self.service.pid, self.database.pid)

    def sql(self, statement: str) -> Run:
        """One statement after the other, without a web server; the first does not count."""
        with self.database.cursor() as cursor:

            def execute() -> None:
                cursor.execute(statement)
                cursor.fetchall()

            execute()
            return measuring.with_cpu(lambda: measuring.timed(execute, self.seconds), None, self.database.pid)

    def resting(self) -> dict[int, float]:
        """The memory that each process of the service has now; from here on, peaks are counted anew."""
        measuring.forget_peaks(self.service.pid)
        return measuring.peaks_mib(self.service.pid)


def difference(database: Database, service: Server, peer: Server, token: str) -> str | None:
    """How the peer's answers, and what it stores, differ from carbonapi's; None if they do the same."""
    pages = [server.ask(PAGE, token) for server in (service, peer)]
    if pages[0][0] != pages[1][0]:
        return "The pages differ."
    totals = [headers["X-Pagination"].partition(",")[0] for _, headers in pages]
    if totals[0] != totals[1]:
        return f"The totals differ: {totals}."
    answers = [server.ask("/api/v1/usages", token, USAGE)[0] for server in (service, peer)]
    rows = [database.rows("SELECT * FROM usages WHERE id = %s", (answer["id"],))[0] for answer in answers]
    for thing in (*answers, *rows):
        thing.pop("id")
        thing.pop("recorded_at")
    if answers[0] != answers[1]:
        return f"The answers to POST differ: {answers}."
    return None if rows[0] == rows[1] else f"The stored rows differ: {rows}."


def page_of_one_user(stage: Stage) -> Findings:
    page = (
        f"SELECT {FIELDS} FROM usages WHERE organization_id = {LARGE} AND user_id = {MEMBER} "
        "ORDER BY usage_at DESC, id DESC LIMIT 100"
    )
    total = f"SELECT count(*) FROM usages WHERE organization_id = {LARGE} AND user_id = {MEMBER}"

    def bare(statement: str) -> Callable[[], Run]:
        pgbench = stage.programs / "pgbench"
        return lambda: measuring.with_cpu(
            lambda: measuring.pgbench(pgbench, stage.database.url, statement, stage.seconds),
            None,
            stage.database.pid,
        )

    runs = measuring.in_turn(
        {
            "carbonapi": stage.driving(stage.service, PAGE, stage.member),
            "FastAPI": stage.driving(stage.peer, PAGE, stage.member),
            "pgbench, the rows as JSON": bare(f"SELECT json_agg(p) FROM ({page}) p"),
            "pgbench, the rows as JSON and their total": bare(f"SELECT json_agg(p), ({total}) FROM ({page}) p"),
        },
        stage.rounds,
    )
    ours, peers, rows = runs["carbonapi"], runs["FastAPI"], runs["pgbench, the rows as JSON"]
    cpu, rate = peers.application_us / ours.application_us, ours.rate / rows.rate
    return Findings(
        "GET page of 100, one user",
        runs,
        [f"Of the rate of pgbench that counts too, it is {ours.rate / list(runs.values())[-1].rate:.3f}."],
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
    """The first page of the whole organization, and one far behind, by number and by cursor."""
    depth = min(1_000_000, stage.rows // 2) // 100 * 100
    number = depth // 100 + 1
    ways = [{"page 1": f"{PAGE}&page=1", f"page {number}": f"{PAGE}&page={number}"}]
    notes = []
    document, _ = stage.service.ask("/openapi.json")
    parameters = {parameter.get("name") for parameter in document["paths"]["/api/v1/usages"]["get"]["parameters"]}
    if "cursor" in parameters:
        ways.append({"cursor at the beginning": f"{PAGE}&cursor=", "cursor there": cursor_at(stage, depth // 100)})
    else:
        notes.append("The service has no `cursor` yet.")
    runs, targets = {}, []
    for way in ways:
        found = {name: stage.asking(path, stage.manager) for name, path in way.items()}
        first, deep = (run.p50_ms for run in found.values())
        runs |= found
        job = f"GET page of all, at depth {depth:,}, by {' '.join(way).split()[0]}"
        targets.append(Target(job, "≤ 2 times depth 0", f"{deep / first:.2f} times it", 2 * first / deep))
    return Findings(f"GET page of 100 of all, at depth {depth:,}", runs, notes, targets)


def cursor_at(stage: Stage, pages: int) -> str:
    """The path of the page after so many, found by following `Link: rel="next"`."""
    path = f"{PAGE}&cursor="
    for _ in range(pages):
        link = stage.service.ask(path, stage.manager)[1]["Link"]
        path = re.search(r'<([^>]*)>; rel="next"', link)[1]
    return path


def post_one_usage(stage: Stage) -> Findings:
    runs = measuring.in_turn(
        {
            "carbonapi": stage.driving(stage.service, "/api/v1/usages", stage.member, USAGE),
            "FastAPI": stage.driving(stage.peer, "/api/v1/usages", stage.member, USAGE),
        },
        stage.rounds,
    )
    cpu = runs["FastAPI"].application_us / runs["carbonapi"].application_us
    return Findings(
        "POST one usage, stored durably",
        runs,
        ["carbonapi writes an entry of the audit log too, and looks for a closed period; the peer does neither."],
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
    run = stage.asking("/api/v1/emissions/trend?bucket=month&start=2023-01-01&end=2026-01-01", stage.manager)
    wanted = Target(
        f"trend by month, {stage.rows:,} usages", "≤ 10 ms", f"{run.p50_ms:.1f} ms the whole request", 10 / run.p50_ms
    )
    return Findings("Trend by month of the whole organization", {"carbonapi": run}, [], [wanted])


def total_of_a_year(stage: Stage) -> Findings:
    start, end = YEAR
    counting = (
        f"SELECT count(*) FROM usages WHERE organization_id = {LARGE} AND usage_at >= '{start}' AND usage_at < '{end}'"
    )
    runs = {
        "carbonapi, a list's X-Pagination": stage.asking(
            f"/api/v1/usages?start={start}&end={end}&page_size=1", stage.manager
        ),
        "carbonapi, GET /emissions/summary": stage.asking(
            f"/api/v1/emissions/summary?start={start}&end={end}", stage.manager
        ),
        "count(*)": stage.sql(counting),
    }
    ours, _, counted = runs.values()
    ratio = counted.p50_ms / ours.p50_ms
    wanted = Target("exact total over a year", "≥ 500 times as fast as count(*)", f"{ratio:.2f} times", ratio / 500)
    return Findings("Exact total over a year", runs, [], [wanted])


def import_a_file(stage: Stage) -> Findings:
    """A file is booked; and the very same rows, ready made, are copied straight into the table."""
    with tempfile.TemporaryDirectory() as directory:
        ready, given = Path(directory, "ready.csv"), Path(directory, "given.csv")
        copied_s = files.copied_straight(stage.database, ready, stage.file_rows)
        tried, notes, grown = stage.file_rows, [], 0.0
        while True:
            files.write_usages(stage.database, given, tried)
            size = given.stat().st_size / 2**20
            resting = stage.resting()
            try:
                booked_s = files.booked(stage.service, stage.manager, given)
                break
            except RuntimeError as error:
                notes.append(f"A file of {tried:,} rows is refused. {error}")
                if tried < 10_000:
                    return Findings("Import of a CSV file", {}, notes, [Target("import", "is booked", "is refused", 0)])
                tried //= 10
            finally:
                more = measuring.growth_mib(resting, measuring.peaks_mib(stage.service.pid))
                notes.append(f"The worker took {more:.0f} MiB more for a file of {size:.0f} MiB.")
                grown = max(grown, more)
    rates = {"COPY": stage.file_rows / copied_s, "carbonapi": tried / booked_s}
    ratio = rates["carbonapi"] / rates["COPY"]
    notes += [
        f"COPY of {stage.file_rows:,} rows: {copied_s:.1f} s, {rates['COPY']:,.0f} rows/s.",
        f"carbonapi, {tried:,} rows: {booked_s:.1f} s, {rates['carbonapi']:,.0f} rows/s.",
    ]
    wanted = [
        Target(f"import of {tried:,} rows", "≥ 0.75 of COPY's rate", f"{ratio:.3f} of it", ratio / 0.75),
        flat("import", grown),
    ]
    if tried < stage.file_rows:
        wanted.append(Target(f"import of {stage.file_rows:,} rows", "is booked", "is refused, see the notes", 0))
    return Findings("Import of a CSV file", {}, notes, wanted)


FLAT_MIB = 32  # What a worker may need beside what it has, however long the file.


def flat(job: str, grown_mib: float) -> Target:
    return Target(job, f"memory flat: ≤ {FLAT_MIB} MiB more", f"{grown_mib:.0f} MiB more", FLAT_MIB / max(grown_mib, 1))


def export_a_file(stage: Stage) -> Findings:
    rows = min(stage.file_rows, stage.rows // 2)
    theirs = f"FROM usages WHERE organization_id = {LARGE}"
    earliest = stage.database.rows(f"SELECT usage_at {theirs} ORDER BY usage_at DESC OFFSET {rows - 1} LIMIT 1")
    since = earliest[0]["usage_at"].isoformat().replace("+00:00", "Z")
    statement = f"SELECT {FIELDS} {theirs} AND usage_at >= '{since}' ORDER BY usage_at DESC, id DESC"
    path = f"/api/v1/usages/export?format=csv&start={since}"
    resting = stage.resting()
    ours, psqls = [], []
    for _ in range(stage.rounds):
        ours.append(files.downloaded(stage.service, stage.manager, path))
        began = time.perf_counter()
        files.copied_out(stage.programs / "psql", stage.database.url, statement)
        psqls.append(time.perf_counter() - began)
    grown = measuring.growth_mib(resting, measuring.peaks_mib(stage.service.pid))
    lines = {found.lines for found in ours}
    seconds, first_ms = (
        measuring.percentile([getattr(found, name) for found in ours], 50) for name in ("seconds", "first_byte_ms")
    )
    psql_s = measuring.percentile(psqls, 50)
    ratio = psql_s / seconds
    return Findings(
        "Export as CSV",
        {},
        [
            f"psql's \\copy of {rows:,} rows, all fields: {psql_s:.2f} s, {rows / psql_s:,.0f} rows/s.",
            f"carbonapi, {', '.join(f'{number - 1:,}' for number in lines)} rows: {seconds:.2f} s, "
            f"{rows / seconds:,.0f} rows/s, the first byte after {first_ms:.0f} ms.",
            f"A worker had {max(resting.values()):.0f} MiB before, and took {grown:.0f} MiB more.",
            "What `\\copy` writes is PostgreSQL's own text; carbonapi's has RFC 3339 times and trimmed numbers.",
        ],
        [
            Target(f"export of {rows:,} rows", "≥ 0.85 of psql's rate", f"{ratio:.3f} of it", ratio / 0.85),
            Target("export", "first byte < 200 ms", f"{first_ms:.0f} ms", 200 / first_ms),
            flat("export", grown),
        ],
    )


JOBS = (
    page_of_one_user,
    pages_at_depth,
    post_one_usage,
    trend_by_month,
    total_of_a_year,
    export_a_file,
    import_a_file,
)

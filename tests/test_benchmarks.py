"""The calculations of `make bench`, and that its peer does the same work as carbonapi."""

from decimal import Decimal

import pytest
from sqlalchemy.engine import make_url

from benchmarks import ledger, report, sampling, servers
from benchmarks.runner import Findings, Target
from benchmarks.sampling import Run, cpu_seconds, percentile, tree
from benchmarks.workloads import difference


@pytest.fixture
def loaded(server_url, fresh_database_url):
    """Return a database with 2,000 usages, two of each user."""
    name = make_url(fresh_database_url).database
    superuser = make_url(server_url).set(database=name, drivername="postgresql")
    url = make_url(fresh_database_url).set(drivername="postgresql")
    database = ledger.Database(*(each.render_as_string(hide_password=False) for each in (url, superuser)), pid=1)
    ledger.load(database, 2000)
    return database


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        (range(1, 101), 50, 50),
        (range(1, 101), 99, 99),
        (range(1, 1001), 99, 990),
        ([3, 1, 2], 50, 2),
        ([1, 2], 50, 1),
        ([1, 2], 99, 2),
        ([7], 99, 7),
    ],
)
def test_percentile_is_the_nearest_rank(values, percent, expected):
    assert percentile(values, percent) == expected


def add_process(proc, pid, name, parent, *ticks):
    """Add a process to a fake /proc. ticks: its user and system time, then those of the children it waited for."""
    (proc / str(pid)).mkdir()
    before = f"{pid} ({name}) S {parent} 1 1 0 -1 4194560 1 2 3 4"
    (proc / str(pid) / "stat").write_text(f"{before} {' '.join(map(str, ticks))} 20 0 1 0 12345 67890 11\n")


def test_cpu_of_a_tree_includes_ended_processes(tmp_path):
    add_process(tmp_path, 10, "carbonapi serve", 1, 100, 20, 3000, 400)
    add_process(tmp_path, 11, "a (worker) :)", 10, 1, 2, 3, 4)
    add_process(tmp_path, 12, "worker", 11, 50, 0, 0, 0)
    add_process(tmp_path, 13, "other", 1, 7777, 7777, 7777, 7777)
    (tmp_path / "self").mkdir()

    assert tree(10, tmp_path) == {10: 3520, 11: 10, 12: 50}
    assert cpu_seconds(10, tmp_path) == 3580 / sampling.TICKS_PER_SECOND
    assert cpu_seconds(99, tmp_path) == 0


def test_runs_of_a_contestant_are_combined():
    runs = [
        Run(100, 1.0, 5.0, 9.0, 0.2, 0.1),
        Run(300, 2.0, 1.0, 7.0, 0.4, 0.1),
        Run(100, 1.0, 2.0, 99.0, 0.4, 0.2),
    ]

    run = sampling.combine(runs)

    assert run.rate == 125
    assert (run.p50_ms, run.p99_ms) == (2.0, 9.0)
    assert run.application_us == pytest.approx(2000)
    assert run.database_us == pytest.approx(800)
    assert sampling.combine([Run(1, 1.0, 1.0, 1.0, None, 0.1)]).application_us is None


def test_memory_growth_is_that_of_the_busiest_worker():
    assert sampling.growth_mib({1: 100.0, 2: 900.0}, {1: 149.0, 2: 901.0}) == 49
    assert sampling.growth_mib({1: 100.0}, {1: 100.0, 3: 30.0}) == 30


def test_memory_of_a_tree_is_the_peak_of_each_process(tmp_path):
    for pid, parent, status in (
        (10, 1, "Name:\tserve\nVmPeak:\t  999999 kB\nVmHWM:\t  102400 kB\nVmRSS:\t    5120 kB\n"),
        (11, 10, "Name:\tworker\nVmHWM:\t   51200 kB\n"),
        (12, 10, "Name:\tended\nState:\tZ (zombie)\n"),
        (13, 1, "Name:\tother\nVmHWM:\t   51200 kB\n"),
    ):
        add_process(tmp_path, pid, "carbonapi", parent, 1, 1, 1, 1)
        (tmp_path / str(pid) / "status").write_text(status)

    assert sampling.peaks_mib(10, tmp_path) == {10: 100, 11: 50}


def test_report_compares_measurements_with_targets():
    targets = [Target("a page", "≥ 2 times", "2.00 times", 1.0), Target("a sum", "≥ 500 times", "5 times", 0.01)]

    assert report.verdicts(targets) == [
        "| job | target | measured |  |",
        "| --- | --- | --- | --- |",
        "| a page | ≥ 2 times | 2.00 times | reached |",
        "| a sum | ≥ 500 times | 5 times | not reached: 0.01 of it |",
    ]


def test_report_has_a_line_for_each_contestant():
    runs = {"ours": Run(2000, 2.0, 1.5, 20.25, 1.0, 0.5), "pgbench": Run(10, 1.0, 1.0, 1.0)}

    assert report.text_of(Findings("A page", runs, ["It was warm."])) == [
        "## A page",
        "",
        "|  | requests/s | p50 ms | p99 ms | CPU µs, application | CPU µs, database |",
        "| --- | --- | --- | --- | --- | --- |",
        "| ours | 1,000.0 | 1.50 | 20.25 | 500 | 250 |",
        "| pgbench | 10.0 | 1.00 | 1.00 | – | – |",
        "",
        "- It was warm.",
        "",
    ]


def test_ledger_is_the_same_in_each_run(loaded):
    organizations = loaded.rows("SELECT organization_id, count(*) FROM usages GROUP BY 1 ORDER BY 1")
    (sums,) = loaded.rows("SELECT count(DISTINCT user_id) AS users, sum(co2e_kg), max(usage_at)::text FROM usages")
    indexes = loaded.rows("SELECT indexrelid::regclass::text AS name FROM pg_index WHERE indrelid = 'usages'::regclass")

    assert [tuple(row.values()) for row in organizations] == [(1, 1820), *((n, 20) for n in range(2, 11))]
    factors = [Decimal(factor) for factor in ("1.5", "26.93", "3.892", "8.57", "19.456")]
    amounts = [Decimal(n * 7919 % 100_000) / 1000 for n in range(1, 2001)]
    sum_kg = sum(amount * factors[n // 1000 % 5] for n, amount in enumerate(amounts, 1))
    assert sums == {"users": 1000, "sum": sum_kg, "max": "2025-12-31 00:00:00+00"}
    assert {"ix_usages_by_time", "ix_usages_by_user", "ix_usages_by_type"} < {index["name"] for index in indexes}


@pytest.mark.peer
def test_peer_does_the_same_work(loaded, tmp_path):
    with servers.carbonapi(loaded.url, tmp_path / "service.log") as service, servers.peer(loaded.superuser_url) as peer:
        token = servers.token_of(service, ledger.MEMBER)

        assert difference(loaded, service, peer, token) is None

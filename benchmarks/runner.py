"""What a job is given, and what it gives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import sampling
from .ledger import Database
from .sampling import Run
from .servers import Server

FIELDS = (
    "id, organization_id, user_id, usage_type_id, usage_at, usage_until, amount, unit, amount_in_type_unit, factor, "
    "emission_factor_id, co2e_kg, region, method, quality, note, external_id, adjusts_closed_period_id, import_id, "
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
            return sampling.wrk(server.url + path, token, self.seconds, body)

        sampling.wrk(server.url + path, token, 1, body)  # To warm up.
        return lambda: sampling.with_cpu(drive, server.pid, self.database.pid)

    def asking(self, path: str, token: str) -> Run:
        """One request after the other, on one connection; the first, to warm up, does not count."""

        def ask() -> None:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"GET {path} answered {answer.status}: {said.decode()}")

        connection = sampling.connection_to(self.service.url)
        ask()
        return sampling.with_cpu(lambda: sampling.timed(ask, self.seconds), self.service.pid, self.database.pid)

    def sql(self, statement: str) -> Run:
        """One statement after the other, without a web server; the first does not count."""
        with self.database.cursor() as cursor:

            def execute() -> None:
                cursor.execute(statement)
                cursor.fetchall()

            execute()
            return sampling.with_cpu(lambda: sampling.timed(execute, self.seconds), None, self.database.pid)

    def resting(self) -> dict[int, float]:
        """The memory that each process of the service has now; from here on, peaks are counted anew."""
        sampling.forget_peaks(self.service.pid)
        return sampling.peaks_mib(self.service.pid)

"""The environment of a job, and its results."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import sampling
from .ledger import Database
from .sampling import Run
from .servers import Server

FIELDS = (
    "id, organization_id, user_id, usage_type_id, usage_at, usage_until, amount, unit, amount_in_type_unit, factor, "
    "market_factor, emission_factor_id, valuation_id, co2e_kg, market_co2e_kg, split_co2e_kg, split_market_co2e_kg, "
    "provisional, region, site_id, meter_id, quality, note, external_id, adjusts_closed_period_id, import_id, "
    "restatement_id, version, recorded_at, recorded_by, reason"
)


@dataclass(frozen=True)
class Target:
    """A target and the measured value. `reached` is their ratio: 1 or more if the target is reached."""

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
    """The environment of a job: servers, tokens, sizes, and the duration and number of rounds."""

    database: Database
    programs: Path  # The folder of pgbench and psql.
    service: Server
    peer: Server
    manager: str
    member: str
    rows: int
    file_rows: int
    seconds: int
    rounds: int

    def load_on(
        self, server: Server, path: str, token: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Callable[[], Run]:
        def drive(seconds: int = self.seconds) -> Run:
            return sampling.wrk(server.url + path, token, seconds, body, headers)

        drive(1)  # Warm-up.
        return lambda: sampling.with_cpu(drive, server.pid, self.database.pid)

    def get(self, path: str, token: str) -> Run:
        """Send one request at a time on one connection. The first is a warm-up."""

        def get_once() -> None:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise RuntimeError(f"GET {path} returned {response.status}: {body.decode()}")

        connection = sampling.connection_to(self.service.url)
        get_once()
        return sampling.with_cpu(lambda: sampling.timed(get_once, self.seconds), self.service.pid, self.database.pid)

    def sql(self, statement: str) -> Run:
        """Execute a statement repeatedly, without a web server. The first execution is a warm-up."""
        with self.database.cursor() as cursor:

            def execute() -> None:
                cursor.execute(statement)
                cursor.fetchall()

            execute()
            return sampling.with_cpu(lambda: sampling.timed(execute, self.seconds), None, self.database.pid)

    def reset_memory_peaks(self) -> dict[int, float]:
        """Reset the memory peak of each process of the service to its current memory. Return these."""
        sampling.reset_peaks(self.service.pid)
        return sampling.peaks_mib(self.service.pid)

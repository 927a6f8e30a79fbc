"""`make overload`: measure the service under ten times its load and with slow clients, and check its limits.

It sends requests to `carbonapi serve`, with an embedded PostgreSQL, from one event loop over plain sockets. Rates
depend on the machine, so the limits are ratios within one run. The exit code is 1 if a limit is missed.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from . import ledger, servers
from .sampling import percentile

FLOOD, MODEST = 1, 2  # Users with many requests, and with few.
CLIENTS = 8  # Enough to keep the service busy.
TIMES = 10
DRIP_FEEDERS = 500
LEAST_GOODPUT = 0.7
LEAST_MODEST = 0.9
LEAST_BESIDE_DRIPS = 0.99
LONGEST_REJECTION_MS = 1000  # For nine of ten rejections, on a machine that also runs the clients.
PATH = "/api/v1/usages?page_size=100"


@dataclass
class Responses:
    """The response times in seconds, by status. Status 0 means no response."""

    seconds: dict[int, list[float]] = field(default_factory=dict)

    def add(self, status: int, seconds: float) -> None:
        self.seconds.setdefault(status, []).append(seconds)

    def counts(self) -> Counter[int]:
        return Counter({status: len(times) for status, times in self.seconds.items()})

    @property
    def good(self) -> int:
        return len(self.seconds.get(200, ()))

    @property
    def share(self) -> float:
        """Share of requests with status 200."""
        return self.good / max(1, self.counts().total())

    def ms(self, status: int, percent: float) -> float:
        return percentile(self.seconds[status], percent) * 1e3 if status in self.seconds else 0


class Connection:
    """A persistent connection, which reconnects after it was closed."""

    def __init__(self, url: str, token: str = "") -> None:
        self._address = urlsplit(url)
        self._authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> int:
        """Return the status of the response, or 0 without a response."""
        try:
            async with asyncio.timeout(30):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(self._address.hostname, self._address.port)
                reader, writer = self._streams
                writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{self._authorization}\r\n".encode())
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                if b"connection: close" in head:
                    self.close()
                return int(head.split()[1])
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            self.close()
            return 0

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def send_requests(url: str, token: str, seconds: float, responses: Responses, pause: float = 0) -> None:
    """Send requests, each right after a response of any status, or after a pause."""
    connection = Connection(url, token)
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        started_at = time.monotonic()
        status = await connection.get(PATH)
        responses.add(status, time.monotonic() - started_at)
        await asyncio.sleep(pause if status else 0.1)
    connection.close()


async def drive(url: str, token: str, clients: int, seconds: float, pause: float = 0) -> Responses:
    """Run a number of clients at once. Return their responses."""
    responses = Responses()
    await asyncio.gather(*(send_requests(url, token, seconds, responses, pause) for _ in range(clients)))
    return responses


@contextlib.asynccontextmanager
async def drip_feeders(url: str, number: int) -> AsyncIterator[Counter[str]]:
    """Run clients that send a body of 1,000 bytes at a byte per second. Yield the counts of their outcomes."""
    ends: Counter[str] = Counter()
    tasks = [asyncio.create_task(_drip(url, ends)) for _ in range(number)]
    await asyncio.sleep(2)
    try:
        yield ends
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _drip(url: str, ends: Counter[str]) -> None:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    headers = ["Host: x", "Content-Type: application/json", "Content-Length: 1000"]
    writer.write("\r\n".join(["POST /api/v1/auth/login HTTP/1.1", *headers, "", ""]).encode())
    try:
        response = asyncio.create_task(reader.read(65_536))
        while not response.done():
            writer.write(b" ")
            await asyncio.wait([response], timeout=1)
        ends[response.result().split(b" ", 2)[1].decode() if response.result() else "closed"] += 1
    except OSError:
        ends["closed"] += 1
    finally:
        writer.close()


async def measure(url: str, flood: str, modest: str, seconds: float) -> bool:
    """Print the figures. Return whether all limits are met."""
    results = []

    def report(name: str, figure: str, is_met: bool = True) -> None:
        results.append(is_met)
        print(f"{name:<58} {figure:>24}  {'' if is_met else 'MISSED'}", flush=True)

    await drive(url, flood, CLIENTS, 2)
    capacity = await drive(url, flood, CLIENTS, seconds)
    rate = capacity.good / seconds
    report(f"capacity: {CLIENTS} clients", f"{rate:.0f} good responses/s", set(capacity.counts()) == {200})

    over, fair = await asyncio.gather(
        drive(url, flood, TIMES * CLIENTS, seconds), drive(url, modest, 1, seconds, pause=1)
    )
    goodput = over.good / seconds / rate
    report(f"goodput under {TIMES} times as many clients", f"{goodput:.0%} of it", goodput >= LEAST_GOODPUT)
    statuses = over.counts() + fair.counts()
    counts = ", ".join(f"{statuses[status]} × {status}" for status in sorted(statuses))
    report("responses", counts, {*statuses} <= {200, 429, 503})
    p50_ms, p90_ms = over.ms(503, 50), over.ms(503, 90)
    report("rejection, 50th and 90th percentile", f"{p50_ms:.0f} and {p90_ms:.0f} ms", p90_ms <= LONGEST_REJECTION_MS)
    report("share of a modest client's requests with status 200", f"{fair.share:.0%}", fair.share >= LEAST_MODEST)

    after = await drive(url, flood, CLIENTS, seconds)
    report("afterwards", f"{after.good / seconds / rate:.0%} of capacity", after.share == 1)

    async with drip_feeders(url, DRIP_FEEDERS) as ends:
        beside = await drive(url, modest, CLIENTS, max(seconds, 12))
    report(
        f"share with status 200 beside {DRIP_FEEDERS} slow clients",
        f"{beside.share:.2%}",
        beside.share >= LEAST_BESIDE_DRIPS,
    )
    report(
        "outcomes of the slow clients",
        ", ".join(f"{count} × {end}" for end, count in ends.items()),
        set(ends) == {"408"},
    )
    return all(results)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="duration of each measurement (default: 10)")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="carbonapi-overload-") as directory:
        folder = Path(directory)
        folder.chmod(0o711)
        with servers.database(folder / "data") as database:
            ledger.load(database, 20_000)
            servers.rebuild_totals(database.url)
            with servers.carbonapi(database.url, folder / "service.log") as service:
                tokens = [servers.token_of(service, user) for user in (FLOOD, MODEST)]
                return 0 if asyncio.run(measure(service.url, *tokens, seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())

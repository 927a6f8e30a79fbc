"""`make overload`: what ten times the load and slow clients do to the service, and whether it keeps its promises.

It drives `carbonapi serve`, on a PostgreSQL of its own, from one event loop over bare sockets. Rates are the machine's;
the bounds are ratios within one run. The exit code is 1 when one of them is missed.
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

FLOOD, MODEST = 1, 2  # The users who ask for too much, and for little.
CLIENTS = 8  # What the service is busy with.
TIMES = 10
DRIP_FEEDERS = 500
LEAST_GOODPUT = 0.7
LEAST_MODEST = 0.9
LEAST_BESIDE_DRIPS = 0.99
LONGEST_REFUSAL_MS = 1000  # For nine refusals in ten, on a machine that the load itself keeps busy.
PATH = "/api/v1/usages?page_size=100"


@dataclass
class Answers:
    """What came of driving the service: the seconds that each answer took, by its status. 0: there was none."""

    seconds: dict[int, list[float]] = field(default_factory=dict)

    def note(self, status: int, seconds: float) -> None:
        self.seconds.setdefault(status, []).append(seconds)

    def counts(self) -> Counter[int]:
        return Counter({status: len(found) for status, found in self.seconds.items()})

    @property
    def good(self) -> int:
        return len(self.seconds.get(200, ()))

    @property
    def share(self) -> float:
        """Of all requests, how many were answered well."""
        return self.good / max(1, self.counts().total())

    def ms(self, status: int, percent: float) -> float:
        return percentile(self.seconds[status], percent) * 1e3 if status in self.seconds else 0


class Connection:
    """A connection that is kept alive, and opened anew when it was closed."""

    def __init__(self, url: str, token: str = "") -> None:
        self._address = urlsplit(url)
        self._signature = f"Authorization: Bearer {token}\r\n" if token else ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> int:
        """The status of the answer, which is read whole; 0 if there is none."""
        try:
            async with asyncio.timeout(30):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(self._address.hostname, self._address.port)
                reader, writer = self._streams
                writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{self._signature}\r\n".encode())
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


async def insist(url: str, token: str, seconds: float, answers: Answers, pause: float = 0) -> None:
    """Ask again as soon as there is an answer, or after a pause; a refusal makes no difference."""
    connection = Connection(url, token)
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        began = time.monotonic()
        status = await connection.get(PATH)
        answers.note(status, time.monotonic() - began)
        await asyncio.sleep(pause if status else 0.1)
    connection.close()


async def drive(url: str, token: str, clients: int, seconds: float, pause: float = 0) -> Answers:
    """So many clients at once, each of which insists."""
    answers = Answers()
    await asyncio.gather(*(insist(url, token, seconds, answers, pause) for _ in range(clients)))
    return answers


@contextlib.asynccontextmanager
async def drip_feeders(url: str, number: int) -> AsyncIterator[Counter[str]]:
    """So many clients, each of which sends a body of 1,000 bytes by a byte a second. Gives what becomes of them."""
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
        answer = asyncio.create_task(reader.read(65_536))
        while not answer.done():
            writer.write(b" ")
            await asyncio.wait([answer], timeout=1)
        ends[answer.result().split(b" ", 2)[1].decode() if answer.result() else "closed"] += 1
    except OSError:
        ends["closed"] += 1
    finally:
        writer.close()


async def measure(url: str, flood: str, modest: str, seconds: float) -> bool:
    """Tell the figures. Gives whether all bounds are kept."""
    kept = []

    def tell(name: str, figure: str, is_kept: bool = True) -> None:
        kept.append(is_kept)
        print(f"{name:<58} {figure:>24}  {'' if is_kept else 'MISSED'}", flush=True)

    await drive(url, flood, CLIENTS, 2)
    capacity = await drive(url, flood, CLIENTS, seconds)
    rate = capacity.good / seconds
    tell(f"capacity: {CLIENTS} clients", f"{rate:.0f} good answers/s", set(capacity.counts()) == {200})

    over, fair = await asyncio.gather(
        drive(url, flood, TIMES * CLIENTS, seconds), drive(url, modest, 1, seconds, pause=1)
    )
    goodput = over.good / seconds / rate
    tell(f"goodput under {TIMES} times as many clients, who insist", f"{goodput:.0%} of it", goodput >= LEAST_GOODPUT)
    statuses = over.counts() + fair.counts()
    told = ", ".join(f"{statuses[status]} × {status}" for status in sorted(statuses))
    tell("answers", told, {*statuses} <= {200, 429, 503})
    p50_ms, p90_ms = over.ms(503, 50), over.ms(503, 90)
    tell("refusal, 50 and 90 of 100", f"{p50_ms:.0f} and {p90_ms:.0f} ms", p90_ms <= LONGEST_REFUSAL_MS)
    tell("of a modest client's requests, answered well", f"{fair.share:.0%}", fair.share >= LEAST_MODEST)

    after = await drive(url, flood, CLIENTS, seconds)
    tell("afterwards", f"{after.good / seconds / rate:.0%} of capacity", after.share == 1)

    async with drip_feeders(url, DRIP_FEEDERS) as ends:
        beside = await drive(url, modest, CLIENTS, max(seconds, 12))
    tell(f"answered well beside {DRIP_FEEDERS} drip-feeders", f"{beside.share:.2%}", beside.share >= LEAST_BESIDE_DRIPS)
    tell("what becomes of these", ", ".join(f"{count} × {end}" for end, count in ends.items()), set(ends) == {"408"})
    return all(kept)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="for each figure (default: 10)")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="carbonapi-overload-") as directory:
        folder = Path(directory)
        folder.chmod(0o711)
        with servers.database(folder / "data") as database:
            ledger.load(database, 20_000)
            servers.count_days(database.url)
            with servers.carbonapi(database.url) as service:
                tokens = [servers.token_of(service, user) for user in (FLOOD, MODEST)]
                return 0 if asyncio.run(measure(service.url, *tokens, seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())

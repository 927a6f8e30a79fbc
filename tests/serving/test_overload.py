"""Many clients at once, and slow clients: which requests the service answers, and that it recovers."""

import asyncio
import contextlib
import json
import socket
import time
import urllib.request
from urllib.parse import urlsplit

import pytest

from benchmarks.overload import Connection, drip_feeders, drive
from tests.support import factories
from tests.support.apps import SECRET_KEY
from tests.support.databases import cloned_database
from tests.support.servers import serving


@pytest.fixture(scope="module")
def url(server_url):
    """Return the URL of a service with one slot for requests, and four waiting requests."""
    with (
        cloned_database(server_url, "load") as database_url,
        serving(database_url, SECRET_KEY, DATABASE_POOL_SIZE=3) as url,
    ):
        yield url


def post(url, path, body):
    request = urllib.request.Request(
        f"{url}/api/v1{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


@pytest.fixture(scope="module")
def tokens(url):
    """Return access tokens of two users."""
    accounts = [{"email": f"{name}@example.org", "password": factories.PASSWORD} for name in ("flood", "modest")]
    for account in accounts:
        post(url, "/auth/register", {**account, "name": "A"})
    return [post(url, "/auth/login", account)["access_token"] for account in accounts]


def test_flood_does_not_affect_a_modest_client(url, tokens):
    flood, modest = tokens

    async def run():
        for token in tokens:  # A worker knows the client of a token after its first request.
            assert set((await drive(url, token, 1, 0.1)).counts()) == {200}
        both = await asyncio.gather(drive(url, flood, 80, 3), drive(url, modest, 1, 3, pause=0.2))
        return *both, await drive(url, flood, 1, 1)

    over, fair, after = asyncio.run(run())
    assert set(over.counts()) == {200, 503}
    assert set(fair.counts()) == {200}
    assert set(after.counts()) == {200}


def test_health_checks_are_answered_during_a_flood(url, tokens):
    async def run():
        flood = asyncio.create_task(drive(url, tokens[0], 80, 2))
        await asyncio.sleep(0.5)
        with contextlib.closing(Connection(url)) as connection:
            statuses = [await connection.get(path) for path in ("/health/live", "/health/ready")]
        await flood
        return statuses

    assert asyncio.run(run()) == [200, 200]


def test_slow_bodies_are_408_and_delay_no_other_request(url, tokens):
    address = urlsplit(url)
    headers = ["Host: x", f"Authorization: Bearer {tokens[0]}", "Content-Type: text/csv", "Content-Length: 9000000"]
    upload = "\r\n".join(["POST /api/v1/imports?usage_type_id=100 HTTP/1.1", *headers, "", "usage_at,amount\n"])

    async def run():
        async with drip_feeders(url, 200) as ends:
            with contextlib.closing(Connection(url, tokens[1])) as healthy:
                statuses = [await healthy.get("/api/v1/usages") for _ in range(50)]
            while sum(ends.values()) < 200 and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
        return statuses, dict(ends)

    with socket.create_connection((address.hostname, address.port), timeout=20) as uploading:
        uploading.sendall(upload.encode())
        deadline = time.monotonic() + 20
        statuses, ends = asyncio.run(run())
        response = uploading.recv(65_536).decode()
    assert statuses == [200] * 50
    assert ends == {"408": 200}
    assert response.startswith("HTTP/1.1 408 ")
    assert "Only 16 of 9000000 bytes arrived in time. Send the body faster." in response

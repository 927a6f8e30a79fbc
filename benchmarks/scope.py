"""`make bench-scope`: measure what stating the organization in each transaction costs, as a share of a page.

The same application answers the same pages with the statement of row_security and without it, in turn. Without it, the
setting stands on the connection, as it would for a service with a single organization. The application runs in this
process without a web server, whose CPU would only make the share smaller. The exit code is 1 if the share is too large.
"""

import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from werkzeug.test import EnvironBuilder

from carbonapi import create_app
from carbonapi.db import db, row_security
from carbonapi.settings import DEFAULTS

from . import ledger, servers
from .sampling import PROC

ROWS = 20_000
ROUNDS = 30
PAGES = 50  # Of each variant in a round.
LIMIT = 0.05
PATH = "/api/v1/usages?page_size=50"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="carbonapi-bench-") as name:
        Path(name).chmod(0o711)
        with servers.database(Path(name)) as database:
            ledger.load(database, ROWS)
            return _report(_application(database.url))


def _application(url: str) -> Flask:
    joint = "&" if "?" in url else "?"
    driver_url = url.replace("postgresql://", "postgresql+psycopg2://", 1)
    url = f"{driver_url}{joint}options=-c%20{row_security.SETTING}={ledger.LARGE}"
    return create_app(DEFAULTS | {"DATABASE_URL": url, "SECRET_KEY": servers.SECRET_KEY, "ACCESS_TOKEN_MINUTES": 1440})


def _report(app: Flask) -> int:
    credentials = {"email": f"user{ledger.MANAGER}@example.org", "password": ledger.PASSWORD}
    token = json.loads(_answer(app, EnvironBuilder("/api/v1/auth/login", method="POST", json=credentials)))
    page = EnvironBuilder(PATH, headers={"Authorization": f"Bearer {token['access_token']}"})
    with app.app_context(), row_security.without_scope():
        pid = db.session.scalar(sa.text("SELECT pg_backend_pid()"))
        db.session.remove()
        engine: Any = db.engine
    with_scope: list[tuple[float, float]] = []
    without: list[tuple[float, float]] = []
    _measure(app, page, pid)  # Fills caches.
    for number in range(2 * ROUNDS):
        if number % 4 in (0, 3):  # Each variant is first in half of the rounds.
            with_scope.append(_measure(app, page, pid))
        else:
            sa.event.remove(engine, "before_cursor_execute", row_security._add_scope)
            without.append(_measure(app, page, pid))
            sa.event.listen(engine, "before_cursor_execute", row_security._add_scope, retval=True)
    shares = [sum(one) / sum(other) - 1 for one, other in zip(with_scope, without, strict=True)]
    for title, runs in (("with", with_scope), ("without", without)):
        application, backend = (statistics.median(part) for part in zip(*runs, strict=True))
        print(f"{title:8} {application:7.0f} us of CPU in the application, {backend:6.0f} us in PostgreSQL")
    share = statistics.median(shares)
    print(f"Stating the organization costs {share:.1%} of a page (limit {LIMIT:.0%}).")
    return int(share > LIMIT)


def _measure(app: Flask, page: EnvironBuilder, pid: int) -> tuple[float, float]:
    """Return the microseconds of CPU of a page in this process, and in the PostgreSQL process `pid`."""
    application, backend = time.process_time_ns(), _cpu_ns(pid)
    for _ in range(PAGES):
        _answer(app, page)
    return (time.process_time_ns() - application) / PAGES / 1e3, (_cpu_ns(pid) - backend) / PAGES / 1e3


def _cpu_ns(pid: int) -> int:
    """Return the CPU time of a process in nanoseconds: proc(5), schedstat. The ticks of `stat` are too coarse."""
    return int((PROC / str(pid) / "schedstat").read_text().split()[0])


def _answer(app: Flask, request: EnvironBuilder) -> bytes:
    statuses: list[str] = []
    environ = request.get_environ() | {"wsgi.errors": io.StringIO()}
    chunks: Iterator[bytes] = app.wsgi_app(environ, lambda status, headers, info=None: statuses.append(status))
    content = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    if not statuses[0].startswith("200"):
        raise RuntimeError(f"{statuses[0]}: {content.decode()}")
    return content


if __name__ == "__main__":
    sys.exit(main())

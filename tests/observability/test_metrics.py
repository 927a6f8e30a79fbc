"""Metrics of the real service, which are the same from every worker."""

import contextlib
import json
import os
import re
import signal
import urllib.error
import urllib.request

import pytest
import sqlalchemy as sa

from carbonapi.db import db, on_commit
from carbonapi.observability import metrics
from tests.support import factories
from tests.support.apps import SECRET_KEY
from tests.support.databases import connections_in_use, cut_connections
from tests.support.processes import children, naming, wait_until
from tests.support.servers import serving
from tests.support.threads import at_once

TOKEN = "a token of Prometheus"
ACCOUNT = {"email": "ada@example.org", "password": factories.PASSWORD}


def ask(url, body=None, content_type="application/json", token=TOKEN):
    """Return the status and text of an answer on a new connection, from any worker."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, content, headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def figures(url):
    """Return the value of each series by its name and labels."""
    status, text = ask(f"{url}/metrics")
    assert status == 200
    return {name: float(value) for name, value in re.findall(r"^([^# ].*) (\S+)$", text, re.M)}


@pytest.fixture
def url(fresh_database_url, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    settings = {"METRICS_TOKEN": TOKEN, "DATABASE_POOL_SIZE": 7, "LOG_LEVEL": "warning"}
    with serving(fresh_database_url, SECRET_KEY, workers=2, **settings) as url:
        assert len(list(tmp_path.glob("carbonapi-metrics-*"))) == 1
        yield url
    assert list(tmp_path.iterdir()) == []


def test_counters_sum_all_workers_and_outlive_them(url):
    documents = 'carbonapi_requests_total{method="GET",route="/openapi.json",status="200"}'
    seconds = 'carbonapi_request_seconds_count{method="GET",route="/openapi.json"}'
    wait_until(lambda: figures(url)['carbonapi_pool_connections{state="size"}'] == 14)  # Both workers run.
    at_once(8, lambda _: [ask(f"{url}/openapi.json") for _ in range(25)])

    for _ in range(10):
        found = figures(url)
        assert (found[documents], found[seconds]) == (200, 200)

    (web_server,) = (pid for pid in naming(f"--port {url.rpartition(':')[2]}") if len(children(pid)) == 2)
    killed, other = children(web_server)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(children(web_server) - {killed}) == 2)
    assert other in children(web_server)
    wait_until(lambda: figures(url)['carbonapi_pool_connections{state="size"}'] == 14)
    at_once(8, lambda _: [ask(f"{url}/openapi.json") for _ in range(25)])
    for _ in range(10):
        assert figures(url)[documents] == 400


def test_logins_and_imports_are_counted_by_outcome(url):
    file = b"usage_at,amount\n2024-01-01T00:00:00Z,1\n2024-01-02T00:00:00Z,1\n"
    assert ask(f"{url}/api/v1/auth/register", ACCOUNT | {"name": "Ada"})[0] == 201
    for _ in range(2):
        assert ask(f"{url}/api/v1/auth/login", ACCOUNT | {"password": "some other words"})[0] == 401
    token = json.loads(ask(f"{url}/api/v1/auth/login", ACCOUNT)[1])["access_token"]
    for content, options, status in (
        (file, "", 201),
        (b"usage_at,amount\nx,1\n", "", 422),
        (file.replace(b"2024", b"2025"), "&mode=dry-run", 200),
    ):
        assert ask(f"{url}/api/v1/imports?usage_type_id=100{options}", content, "text/csv", token)[0] == status

    found = figures(url)
    assert {name: value for name, value in found.items() if "logins" in name or "import" in name.partition("{")[0]} == {
        'carbonapi_logins_total{outcome="succeeded"}': 1,
        'carbonapi_logins_total{outcome="failed"}': 2,
        'carbonapi_imports_total{outcome="completed"}': 1,
        'carbonapi_imports_total{outcome="rejected"}': 1,
        'carbonapi_imports_total{outcome="failed"}': 0,
        "carbonapi_imported_usages_total": 2,
    }


def test_connections_in_use_are_exact_after_they_break(committing, fresh_database_url):
    in_use = metrics.POOL_CONNECTIONS.labels("in_use")._value.get
    app, before = committing.http.application, in_use()

    with connections_in_use(app, 3):
        assert in_use() - before == 3
    assert in_use() == before
    cut_connections(fresh_database_url)
    with app.app_context(), contextlib.closing(db.engine.raw_connection()):
        assert in_use() - before == 1
        cut_connections(fresh_database_url)
    assert in_use() == before
    assert committing.get("/usages").status_code == 200
    assert in_use() == before


def test_on_commit_ignores_a_rollback(app):
    calls = []
    db.session.execute(sa.text("SELECT 1"))
    on_commit(lambda: calls.append("rolled back"))
    db.session.rollback()
    db.session.execute(sa.text("SELECT 1"))
    on_commit(lambda: calls.append("committed"))
    db.session.commit()

    assert calls == ["committed"]

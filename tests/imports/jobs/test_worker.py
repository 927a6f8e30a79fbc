"""The service runs each queued import once, with any number of processes, across kills and restarts."""

import contextlib
import json
import os
import signal
import urllib.request
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from tests.support import factories
from tests.support.apps import SECRET_KEY
from tests.support.databases import ALL_ORGANIZATIONS
from tests.support.files import new_file
from tests.support.processes import alive, naming, wait_until
from tests.support.servers import serving

ACCOUNT = {"email": "ada@example.org", "password": factories.PASSWORD}
LINES = 30_000


class Caller:
    """A logged-in client of a running service."""

    def __init__(self, url, database_url):
        self.url, self.engine = (
            url,
            sa.create_engine(database_url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS),
        )
        with contextlib.suppress(urllib.error.HTTPError):  # Registered before a restart.
            self.ask("/auth/register", json.dumps(ACCOUNT | {"name": "Ada"}).encode())
        self.token = self.ask("/auth/login", json.dumps(ACCOUNT).encode())["access_token"]

    def ask(self, path, body=None, content_type="application/json", **headers):
        signature = {"Authorization": f"Bearer {self.token}"} if hasattr(self, "token") else {}
        headers |= signature | {"Content-Type": content_type}
        request = urllib.request.Request(f"{self.url}/api/v1{path}", body, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def queue(self, lines=LINES):
        """Queue an import and return its id."""
        queued = self.ask("/imports?usage_type_id=100", new_file(lines), "text/csv", Prefer="respond-async")
        assert queued["status"] == "queued"
        return queued["id"]

    def status(self, import_id):
        return self.ask(f"/imports/{import_id}")["status"]

    def figures(self, statement):
        with self.engine.connect() as connection:
            return tuple(connection.execute(sa.text(statement)).one())


@pytest.fixture
def running(fresh_database_url):
    """Return a function that starts the service and returns a logged-in client."""

    @contextlib.contextmanager
    def start():
        with serving(fresh_database_url, SECRET_KEY) as url:
            yield Caller(url, fresh_database_url)

    return start


def test_progress_is_visible_while_import_runs(running):
    with running() as ada:
        import_id = ada.queue()
        seen = []
        wait_until(lambda: seen.append(ada.ask(f"/imports/{import_id}")) or seen[-1]["status"] == "completed", 60)

        running_at = [imported["progress"] for imported in seen if imported["status"] == "running"]
        assert running_at == sorted(running_at)
        assert any(0 < progress < 1 for progress in running_at)
        assert {imported["usage_count"] for imported in seen[:-1]} == {0}
        assert (seen[-1]["progress"], seen[-1]["usage_count"], seen[-1]["amount"]) == (1, LINES, LINES // 10)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_import_completes_once_after_restart(running, number):
    with running() as ada:
        import_id = ada.queue()
        wait_until(lambda: ada.status(import_id) == "running")
        port = urlsplit(ada.url).port
        processes = naming(f"--port {port}")
        assert len(processes) == 4, "supervisor, child process, web server and its worker"
        for pid in processes if number == signal.SIGKILL else naming(f"serve --port {port}"):
            with contextlib.suppress(ProcessLookupError):  # One goes with the other.
                os.kill(pid, number)
        wait_until(lambda: not alive(processes))
    assert ada.figures("SELECT status, attempt_count FROM imports") == ("running", 1)
    assert ada.figures("SELECT count(*) FROM usages") == (0,)

    with running() as ada:
        wait_until(lambda: ada.status(import_id) == "completed", 60)

        assert ada.ask(f"/imports/{import_id}")["usage_count"] == LINES
        assert ada.figures("SELECT count(*), sum(amount), min(import_id), max(import_id) FROM usages") == (
            LINES,
            LINES // 10,
            import_id,
            import_id,
        )
        assert ada.figures("SELECT count(*) FROM import_chunks") == (0,)
        assert ada.figures("SELECT attempt_count FROM imports") == (2,)


def test_import_completes_once_after_lost_connections(running):
    with running() as ada:
        import_id = ada.queue()
        wait_until(lambda: ada.status(import_id) == "running")
        theirs = "datname = current_database() AND pid <> pg_backend_pid()"
        assert ada.figures(f"SELECT count(pg_terminate_backend(pid)) > 1 FROM pg_stat_activity WHERE {theirs}") == (
            True,
        )

        wait_until(lambda: ada.status(import_id) == "completed", 60)

        assert ada.figures("SELECT count(*), sum(amount) FROM usages") == (LINES, LINES // 10)
        assert ada.figures("SELECT attempt_count FROM imports") == (2,)


def test_several_processes_run_each_import_once(running):
    with running() as ada, running() as too:
        ids = [caller.queue(100) for caller in (ada, too) * 5]

        wait_until(lambda: {ada.status(import_id) for import_id in ids} == {"completed"}, 60)

        assert ada.figures("SELECT count(*), count(DISTINCT import_id) FROM usages") == (1000, 10)
        assert ada.figures("SELECT count(*) FROM audit_entries WHERE action = 'imported'") == (10,)

"""A killed import leaves nothing behind, and the same file can be sent again."""

import contextlib
import http.client
import json
import threading
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from tests.support import factories
from tests.support.apps import SECRET_KEY
from tests.support.databases import ALL_ORGANIZATIONS
from tests.support.processes import alive, children, kill, naming, wait_until
from tests.support.servers import serving

ACCOUNT = {"email": "ada@example.org", "password": factories.PASSWORD}
LINES = 2000
KNOWN = "2024-01-01T00:00:00Z,1,known\n"
HEADER = "usage_at,amount,external_id\n"
# New usages, a correction, and a row error.
FILE = (
    HEADER
    + KNOWN.replace(",1,", ",2,")
    + "2024-01-01T00:00:00Z,two,\n"
    + "".join(f"2024-01-02T00:00:00.{n:06}Z,1,\n" for n in range(LINES))
)
# All that an import writes.
WRITTEN = (
    "SELECT (SELECT count(*) FROM usages), (SELECT sum(amount) FROM usages), (SELECT count(*) FROM usage_versions), "
    "(SELECT count(*) FROM imports), (SELECT count(*) FROM import_row_errors), "
    "(SELECT count(*) FROM audit_entries WHERE action = 'imported')"
)
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
    "AND query LIKE '%INSERT INTO audit_entries%'"
)
BUSY = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' "
    "AND state <> 'idle' AND pid <> pg_backend_pid()"
)


class Caller:
    """A client of a running service, with an account."""

    def __init__(self, url):
        self.address = urlsplit(url).netloc
        self.headers = {}
        self.ask("POST", "/auth/register", ACCOUNT | {"name": "Ada"})
        token = self.ask("POST", "/auth/login", ACCOUNT)[1]["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def ask(self, method, path, body):
        """Return the status and JSON of the response, or None without a response."""
        is_file = isinstance(body, str)
        headers = {"Content-Type": "text/csv" if is_file else "application/json"} | self.headers
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=60)) as connection:
            try:
                connection.request(method, f"/api/v1{path}", body if is_file else json.dumps(body), headers)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                return None

    def load(self, file):
        return self.ask("POST", "/imports?usage_type_id=100&mode=partial&on_conflict=replace", file)


@pytest.fixture
def asked(fresh_database_url):
    """Return a function that runs a query and returns its row."""
    engine = sa.create_engine(fresh_database_url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS)

    def ask(question):
        with engine.connect() as connection:
            return tuple(connection.execute(sa.text(question)).one())

    yield ask
    engine.dispose()


@contextlib.contextmanager
def blocked_audit_log(database_url):
    """Lock the audit log within the block, so that an import writes everything else and then waits."""
    engine = sa.create_engine(database_url, poolclass=sa.NullPool, connect_args=ALL_ORGANIZATIONS)
    with engine.begin() as connection:
        connection.execute(sa.text("LOCK TABLE audit_entries IN SHARE MODE"))
        yield
    engine.dispose()


@pytest.mark.parametrize("victims", ["worker", "all"])
def test_killed_import_leaves_nothing_and_can_be_resent(fresh_database_url, asked, victims):
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serving(fresh_database_url, SECRET_KEY))
        caller = Caller(url)
        assert caller.load(HEADER + KNOWN)[0] == 201
        before = asked(WRITTEN)
        answers = []
        importing = threading.Thread(target=lambda: answers.append(caller.load(FILE)))
        processes = naming(f"--port {urlsplit(url).port}")
        workers = {pid for pid in processes if not children(pid)}
        assert (len(workers), len(processes)) == (1, 4), "supervisor, child process, web server and its worker"
        with blocked_audit_log(fresh_database_url):
            importing.start()
            wait_until(lambda: asked(WAITING) == (1,), 60)
            kill(workers if victims == "worker" else processes)
            importing.join(60)
        wait_until(lambda: asked(BUSY) == (0,), 60)

        assert (answers, asked(WRITTEN)) == ([None], before)

        if victims == "all":
            wait_until(lambda: not alive(processes))
            caller = Caller(stack.enter_context(serving(fresh_database_url, SECRET_KEY)))
        wait_until(lambda: caller.ask("GET", "/imports", {}) is not None)
        status, imported = caller.load(FILE)

        counts = ("new_count", "changed_count", "rejected_count", "error_count")
        assert (status, *(imported[name] for name in counts)) == (201, LINES, 1, 1, 1)
        assert before == (1, 1, 0, 1, 0, 1)
        assert asked(WRITTEN) == (LINES + 1, LINES + 2, 1, 2, 1, 2)

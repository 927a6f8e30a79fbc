"""The log of the real service: only JSON, and no secrets of clients."""

import json
import logging
import urllib.error
import urllib.request

import sqlalchemy as sa

from carbonapi.db.row_security import ALL_ORGANIZATIONS
from carbonapi.observability import logging as logs
from tests.support.apps import SECRET_KEY
from tests.support.databases import ROLE, as_owner, execute
from tests.support.processes import wait_until
from tests.support.servers import serving

CANARY = "canary9f2c"
PASSWORD = "unrelated plumage7d31 words"  # Without the other canary, which is in the e-mail address.
# Rejects a usage with a message that contains all of it, like some messages of PostgreSQL.
REJECT_FUNCTION = """
    CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '%', NEW USING DETAIL = NEW::text; END $$
"""
REJECT_TRIGGER = "CREATE TRIGGER reject BEFORE INSERT ON usages FOR EACH ROW EXECUTE FUNCTION reject()"


def test_exception_is_logged_with_stack_without_its_values(log_lines):
    try:
        try:
            int(CANARY)
        except ValueError:
            len(CANARY).nothing  # noqa: B018
    except AttributeError:
        logging.getLogger("carbonapi").exception("unforeseen error")

    (line,) = log_lines()
    assert (line["level"], line["logger"], line["message"]) == ("error", "carbonapi", "unforeseen error")
    first, second = line["stack"].split("\n\n")
    assert "int(CANARY)\n" in first
    assert first.endswith("\nbuiltins.ValueError")
    assert second.endswith("builtins.AttributeError: 'int' object has no attribute 'nothing'")
    assert CANARY not in line["stack"]


def test_database_error_is_logged_with_its_sqlstate(log_lines, server_url):
    engine = sa.create_engine(server_url, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT CAST(:text AS integer)"), {"text": CANARY})
    except sa.exc.DataError:
        logging.getLogger("carbonapi").exception("unforeseen error")

    (line,) = log_lines()
    assert "psycopg2.errors.InvalidTextRepresentation: SQLSTATE 22P02\n\n" in line["stack"]
    assert line["stack"].endswith("sqlalchemy.exc.DataError: SQLSTATE 22P02")
    assert CANARY not in str(line)


def test_text_that_is_invalid_in_utf_8_is_logged(log_lines):
    logs.JsonHandler().handle(
        logging.makeLogRecord({"name": "a library", "levelno": logging.WARNING, "msg": "half \ud800"})
    )

    (line,) = log_lines()
    assert (line["level"], line["logger"], line["message"]) == ("warning", "a library", "half ?")


def test_closed_log_fails_no_request(log_lines, monkeypatch):
    monkeypatch.setattr(logs, "STDERR", 12345)

    logs.write_log(logging.ERROR, "this is lost")

    assert log_lines() == []


class Caller:
    """A client of a running service whose requests contain canaries."""

    def __init__(self, url):
        self.url = url
        self.tokens = {"access_token": f"{CANARY}.{CANARY}.{CANARY}"}

    def ask(self, path, body=None, content_type="application/json", method=None, **headers):
        """Return the status and JSON of the answer."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers |= {"Content-Type": content_type, "Cookie": CANARY, "User-Agent": CANARY, "Referer": CANARY}
        headers["Authorization"] = f"Bearer {self.tokens['access_token']}"
        request = urllib.request.Request(f"{self.url}{path}", content, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


def test_log_contains_no_secrets_of_clients(fresh_database_url, tmp_path):
    metrics_token = f"{CANARY} of Prometheus"
    account = {"email": f"{CANARY}@example.org", "password": PASSWORD}
    usage = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1, "note": CANARY}
    file = f"usage_at,amount,note\n2024-01-01T00:00:00Z,1,{CANARY}\n".encode()
    path = tmp_path / "log"
    with open(path, "wb") as log, serving(fresh_database_url, SECRET_KEY, 1, log, METRICS_TOKEN=metrics_token) as url:
        caller = Caller(url)

        def statuses(*requests, **headers):
            return [caller.ask(*request, **headers)[0] for request in requests]

        registration = ("/api/v1/auth/register", account | {"name": CANARY, "organization": CANARY})
        login = "/api/v1/auth/login"
        assert statuses(registration, registration, ("/api/v1/usages",)) == [201, 409, 401]
        assert statuses((login, account | {"password": f"{PASSWORD} another"}), (login, account)) == [401, 200]
        caller.tokens = caller.ask(login, account)[1]
        secrets = [*map(str, caller.tokens.values())][:2]
        idempotent = {"Idempotency-Key": CANARY}
        assert statuses(("/api/v1/usages", usage | {"external_id": CANARY}), **idempotent) == [201]
        assert statuses(
            ("/api/v1/usages", usage | {"external_id": CANARY}),
            ("/api/v1/usages", usage | {CANARY: CANARY}),
            ("/api/v1/usages", b'{"note": "%s' % CANARY.encode()),
            (f"/api/v1/usages?{CANARY}={CANARY}",),
            (f"/api/v1/usages?external_id={CANARY}",),
            ("/api/v1/auth/password", {"current_password": f"{PASSWORD} wrong", "new_password": PASSWORD}),
            ("/api/v1/imports?usage_type_id=100", file, "text/csv"),
            ("/api/v1/imports?usage_type_id=100", file + CANARY.encode() + b",1,\n", "text/csv"),
            (f"/metrics?{CANARY}",),
        ) == [409, 422, 400, 422, 200, 422, 201, 422, 401]
        # Each file has a reading of its own.
        later = [
            ("/api/v1/imports?usage_type_id=100", file.replace(b"T00", b"T0%d" % n), "text/csv") for n in (1, 2, 3)
        ]
        _, queued = caller.ask(*later[0], Prefer="respond-async")
        wait_until(lambda: caller.ask(f"/api/v1/imports/{queued['id']}")[1]["status"] == "completed")

        execute(as_owner(fresh_database_url), REJECT_FUNCTION, REJECT_TRIGGER)
        assert statuses(("/api/v1/usages", usage), later[1]) == [500, 500]
        caller.ask(*later[2], Prefer="respond-async")
        wait_until(lambda: b"queued import will be retried" in path.read_bytes())
        for damage, status in (
            (f"REVOKE ALL ON users FROM {ROLE}, {ALL_ORGANIZATIONS}", 500),
            ("ALTER TABLE users RENAME TO lost", 503),
        ):
            execute(as_owner(fresh_database_url), damage)
            assert statuses((login, account)) == [status]

    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "message"} <= line.keys() for line in lines)
    assert sum(line["message"] == "request" for line in lines) > 20
    stacks = [line["stack"] for line in lines if "stack" in line]
    assert any("SQLSTATE P0001" in stack for stack in stacks)
    assert any("SQLSTATE 42501" in stack for stack in stacks)
    for secret in (CANARY, PASSWORD, SECRET_KEY, f"{ROLE}:{ROLE}", fresh_database_url, *secrets):
        assert secret not in text

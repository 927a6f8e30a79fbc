"""The log of the service as it is shipped: JSON alone, and nothing in it that a caller keeps secret."""

import json
import logging
import urllib.error
import urllib.request

import sqlalchemy as sa

from carbonapi.observability import logging as logs
from tests.conftest import ROLE, SECRET_KEY, as_owner, execute
from tests.support.processes import wait_until
from tests.support.servers import serving

CANARY = "canary9f2c"
PASSWORD = "unrelated plumage7d31 words"  # Without the other canary, which is in the e-mail address.
# Refuses a usage in words that tell all of it, as some of PostgreSQL's own do.
TALKATIVE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '%', NEW USING DETAIL = NEW::text; END $$
"""
REFUSING = "CREATE TRIGGER refuse BEFORE INSERT ON usages FOR EACH ROW EXECUTE FUNCTION refuse()"


def test_an_exception_is_told_by_kind_and_place_and_not_by_what_it_says(told):
    try:
        try:
            int(CANARY)
        except ValueError:
            len(CANARY).nothing  # noqa: B018
    except AttributeError:
        logging.getLogger("carbonapi").exception("unforeseen error")

    (line,) = told()
    assert (line["level"], line["logger"], line["message"]) == ("error", "carbonapi", "unforeseen error")
    first, second = line["stack"].split("\n\n")
    assert "int(CANARY)\n" in first
    assert first.endswith("\nbuiltins.ValueError")
    assert second.endswith("builtins.AttributeError: 'int' object has no attribute 'nothing'")
    assert CANARY not in line["stack"]


def test_of_the_databases_errors_the_code_is_told(told, server_url):
    engine = sa.create_engine(server_url, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT CAST(:text AS integer)"), {"text": CANARY})
    except sa.exc.DataError:
        logging.getLogger("carbonapi").exception("unforeseen error")

    (line,) = told()
    assert "psycopg2.errors.InvalidTextRepresentation: SQLSTATE 22P02\n\n" in line["stack"]
    assert line["stack"].endswith("sqlalchemy.exc.DataError: SQLSTATE 22P02")
    assert CANARY not in str(line)


def test_text_that_utf_8_does_not_have_is_told_all_the_same(told):
    logs.JsonHandler().handle(
        logging.makeLogRecord({"name": "a library", "levelno": logging.WARNING, "msg": "half \ud800"})
    )

    (line,) = told()
    assert (line["level"], line["logger"], line["message"]) == ("warning", "a library", "half ?")


def test_a_log_that_nobody_takes_breaks_nothing(told, monkeypatch):
    monkeypatch.setattr(logs, "STDERR", 12345)

    logs.write_log(logging.ERROR, "nobody hears this")

    assert told() == []


class Caller:
    """Somebody at a running service, in whose every word there is a canary."""

    def __init__(self, url):
        self.url = url
        self.tokens = {"access_token": f"{CANARY}.{CANARY}.{CANARY}"}

    def ask(self, path, body=None, content_type="application/json", method=None, **headers):
        """Status and JSON of the answer."""
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers |= {"Content-Type": content_type, "Cookie": CANARY, "User-Agent": CANARY, "Referer": CANARY}
        headers["Authorization"] = f"Bearer {self.tokens['access_token']}"
        request = urllib.request.Request(f"{self.url}{path}", sent, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


def test_no_line_holds_what_callers_keep_secret(fresh_database_url, tmp_path):
    metrics_token = f"{CANARY} of Prometheus"
    account = {"email": f"{CANARY}@example.org", "password": PASSWORD}
    usage = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1, "note": CANARY}
    file = f"usage_at,amount,note\n2024-01-01T00:00:00Z,1,{CANARY}\n".encode()
    path = tmp_path / "log"
    with open(path, "wb") as log, serving(fresh_database_url, SECRET_KEY, 1, log, METRICS_TOKEN=metrics_token) as url:
        caller = Caller(url)

        def statuses(*asked, **headers):
            return [caller.ask(*each, **headers)[0] for each in asked]

        registration = ("/api/v1/auth/register", account | {"name": CANARY, "organization": CANARY})
        login = "/api/v1/auth/login"
        assert statuses(registration, registration, ("/api/v1/usages",)) == [201, 409, 401]
        assert statuses((login, account | {"password": f"{PASSWORD} another"}), (login, account)) == [401, 200]
        caller.tokens = caller.ask(login, account)[1]
        secrets = [*map(str, caller.tokens.values())][:2]
        once = {"Idempotency-Key": CANARY}
        assert statuses(("/api/v1/usages", usage | {"external_id": CANARY}), **once) == [201]
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
        later = "/api/v1/imports?usage_type_id=100", file, "text/csv"
        _, queued = caller.ask(*later, Prefer="respond-async")
        wait_until(lambda: caller.ask(f"/api/v1/imports/{queued['id']}")[1]["status"] == "completed")

        execute(as_owner(fresh_database_url), TALKATIVE, REFUSING)
        assert statuses(("/api/v1/usages", usage), later[:3]) == [500, 500]
        caller.ask(*later, Prefer="respond-async")
        wait_until(lambda: b"queued import will be retried" in path.read_bytes())
        for damage, status in (
            (f"REVOKE ALL ON users FROM {ROLE}", 500),
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

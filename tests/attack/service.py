"""The attacked service: `carbonapi serve` on its own database, reached over HTTP only."""

import contextlib
import http.client
import json
import socket
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from carbonapi.postgres import embedded
from tests.support.apps import NO_RATE_LIMITS
from tests.support.servers import serving

SECRET_KEY = "a key for attacks alone, of 32 bytes and more"
# No rate limits, tokens that are valid throughout, and no log line for each request.
SETTINGS = NO_RATE_LIMITS | {"ACCESS_TOKEN_MINUTES": 1440, "LOG_LEVEL": "error"}
PASSWORD = "unrelated words make good ones"
WORKERS = 2


@dataclass(frozen=True)
class Answer:
    """A response; status 0 means that none arrived."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self):
        return self.content.decode("utf-8", "replace")

    @property
    def json(self):
        """Return the body as JSON with numbers as text; None if it is not JSON."""
        try:
            return json.loads(self.content, parse_float=str)
        except ValueError:
            return None

    @property
    def is_problem(self):
        """Return whether this is an error as documented (RFC 9457)."""
        problem = self.json
        return (
            self.headers.get("content-type") == "application/problem+json"
            and isinstance(problem, dict)
            and problem.get("status") == self.status
            and all(
                isinstance(problem.get(name), str) for name in ("type", "title", "detail", "instance", "request_id")
            )
            and problem.get("request_id") == self.headers.get("x-request-id")
            and problem["type"].startswith("urn:carbonapi:problem:")
        )


NOTHING = Answer(0, {}, b"")


class Service:
    """The running service.

    `database_url` has the role of the service. `superuser_url` is for reading statistics of the database.
    """

    def __init__(self, url, database_url, superuser_url, secret_key=SECRET_KEY):
        self.url, self.database_url, self.superuser_url, self.secret_key = url, database_url, superuser_url, secret_key
        self.address = (urlsplit(url).hostname, urlsplit(url).port)
        self._connections, self._opened = threading.local(), []

    def ask(self, method, path, token=None, json_body=None, content=None, content_type=None, headers=()):
        """Send a request on this thread's persistent connection. Paths are below /api/v1 by default."""
        whole = path if path.startswith(("/api/", "/health", "/openapi", "/docs")) else f"/api/v1{path}"
        sent = dict(headers)
        if token is not None:
            sent["Authorization"] = f"Bearer {token}".encode()
        if json_body is not None:
            content, content_type = json.dumps(json_body).encode(), "application/json"
        if content_type is not None:
            sent["Content-Type"] = content_type
        if content is None and method != "GET":
            content = b""
        for _ in range(2):  # The server may have closed a persistent connection.
            is_new = getattr(self._connections, "open", None) is None
            if is_new:
                self._connections.open = http.client.HTTPConnection(*self.address, timeout=60)
                self._opened.append(self._connections.open)
            try:
                self._connections.open.request(method, whole, content, sent)
                answer = self._connections.open.getresponse()
                body = answer.read()
                return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)
            except (http.client.HTTPException, OSError):
                self._connections.open.close()
                self._connections.open = None
                if is_new:
                    break
        return NOTHING

    def close(self):
        """Close the connections of all threads."""
        for connection in self._opened:
            connection.close()

    def send(self, content, half_close=False):
        """Send bytes on a new connection, and return the answer; NOTHING if it was closed without one."""
        with contextlib.suppress(OSError), socket.create_connection(self.address, timeout=30) as connection:
            with contextlib.suppress(OSError):  # The server may reject a large body early, and close.
                connection.sendall(content)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            answer = http.client.HTTPResponse(connection)
            with contextlib.suppress(http.client.HTTPException):
                answer.begin()
                headers = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(answer.status, headers, answer.read())
        return NOTHING

    def log_in(self, email, password=PASSWORD):
        """Log in, and return the tokens."""
        answer = self.ask("POST", "/auth/login", json_body={"email": email, "password": password})
        assert answer.status == 200, answer.text
        return answer.json

    def register(self, email, name="A user", organization="An organization"):
        """Register an organization, and return its manager and their access token."""
        body = {"email": email, "password": PASSWORD, "name": name, "organization": organization}
        answer = self.ask("POST", "/auth/register", json_body=body)
        assert answer.status == 201, answer.text
        return answer.json, self.log_in(email)["access_token"]

    def made(self, path, token, **body):
        """POST a body, and return the created row."""
        answer = self.ask("POST", path, token, body)
        assert answer.status == 201, (path, answer.text)
        return answer.json


@contextlib.contextmanager
def attacked(database_url, superuser_url, **settings):
    """Yield the service on a database, without rate limits unless `settings` has some."""
    with serving(database_url, SECRET_KEY, WORKERS, **(SETTINGS | settings)) as url:
        service = Service(url, database_url, superuser_url)
        try:
            yield service
        finally:
            service.close()


@contextlib.contextmanager
def on_new_database():
    """Yield the service on a temporary PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="carbonapi-attack-") as name:
        Path(name).chmod(0o711)  # PostgreSQL's account enters it.
        with embedded.running(Path(name)) as database_url:
            owner_url = embedded.owner_url(database_url)
            superuser_url = database_url.replace(f"//{embedded.ROLE}@", "//postgres@")
            with attacked(database_url, superuser_url, MIGRATION_DATABASE_URL=owner_url) as service:
                yield service

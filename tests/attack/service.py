"""The service that is attacked: as it is shipped, on a PostgreSQL of its own, and spoken to through HTTP alone."""

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
from carbonapi.settings import DEFAULTS
from tests.support.servers import serving

SECRET_KEY = "a key for attacks alone, of 32 bytes and more"
# As it is shipped, but that nobody is refused for asking often, and no token expires amid the attack.
SETTINGS = {name: 0 for name in DEFAULTS if name.startswith("LIMIT_")} | {"ACCESS_TOKEN_MINUTES": 1440}
SETTINGS["LOG_LEVEL"] = "error"  # Else a line for each request stands between the figures.
PASSWORD = "unrelated words make good ones"
WORKERS = 2


@dataclass(frozen=True)
class Answer:
    """What came back; the status is 0 where nothing did."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self):
        return self.content.decode("utf-8", "replace")

    @property
    def json(self):
        """The JSON of the body with its numbers to the letter; None if it is none."""
        try:
            return json.loads(self.content, parse_float=str)
        except ValueError:
            return None

    @property
    def is_problem(self):
        """Whether it is an error as the contract has errors (RFC 9457)."""
        told = self.json
        return (
            self.headers.get("content-type") == "application/problem+json"
            and isinstance(told, dict)
            and told.get("status") == self.status
            and all(isinstance(told.get(name), str) for name in ("type", "title", "detail", "instance", "request_id"))
            and told.get("request_id") == self.headers.get("x-request-id")
            and told["type"].startswith("urn:carbonapi:problem:")
        )


NOTHING = Answer(0, {}, b"")


class Service:
    """The running service.

    database_url: as the service's own role has it. superuser_url: to look at what the database was asked, never to
    write.
    """

    def __init__(self, url, database_url, superuser_url, secret_key=SECRET_KEY):
        self.url, self.database_url, self.superuser_url, self.secret_key = url, database_url, superuser_url, secret_key
        self.address = (urlsplit(url).hostname, urlsplit(url).port)
        self._connections, self._opened = threading.local(), []

    def ask(self, method, path, token=None, json_body=None, content=None, content_type=None, headers=()):
        """The answer to a request, on a connection that this thread keeps. Paths are below /api/v1 unless they tell."""
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
        for _ in range(2):  # A kept connection may have been closed meanwhile: then a new one is asked.
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
        """Close all connections, those of threads that have ended too."""
        for connection in self._opened:
            connection.close()

    def send(self, content, half_close=False):
        """The answer to bytes, on a connection of their own; NOTHING if it was closed without one."""
        with contextlib.suppress(OSError), socket.create_connection(self.address, timeout=30) as connection:
            with contextlib.suppress(OSError):  # Who is refused amid a large body may have been closed upon.
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
        """The tokens of somebody who signs in."""
        answer = self.ask("POST", "/auth/login", json_body={"email": email, "password": password})
        assert answer.status == 200, answer.text
        return answer.json

    def register(self, email, name="Somebody", organization="An organization"):
        """A new organization's manager, signed in: their user, and their access token."""
        body = {"email": email, "password": PASSWORD, "name": name, "organization": organization}
        answer = self.ask("POST", "/auth/register", json_body=body)
        assert answer.status == 201, answer.text
        return answer.json, self.log_in(email)["access_token"]

    def made(self, path, token, **body):
        """The row that a POST has made."""
        answer = self.ask("POST", path, token, body)
        assert answer.status == 201, (path, answer.text)
        return answer.json


@contextlib.contextmanager
def attacked(database_url, superuser_url, **settings):
    """The service on a database, without limits unless settings have one."""
    with serving(database_url, SECRET_KEY, WORKERS, **(SETTINGS | settings)) as url:
        service = Service(url, database_url, superuser_url)
        try:
            yield service
        finally:
            service.close()


@contextlib.contextmanager
def on_a_database_of_its_own():
    """The service on a PostgreSQL that was made for it, and is thrown away."""
    with tempfile.TemporaryDirectory(prefix="carbonapi-attack-") as name:
        Path(name).chmod(0o711)  # PostgreSQL's account must be able to enter.
        with embedded.running(Path(name)) as database_url:
            owner_url = embedded.owner_url(database_url)
            superuser_url = database_url.replace(f"//{embedded.ROLE}@", "//postgres@")
            with attacked(database_url, superuser_url, MIGRATION_DATABASE_URL=owner_url) as service:
                yield service

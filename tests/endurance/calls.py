"""Requests over HTTP on persistent connections, even if the service is killed."""

import contextlib
import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

TIMEOUT_SECONDS = 60


class Request(NamedTuple):
    """A request below /api/v1, or to /health."""

    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = {}


@dataclass(frozen=True)
class Answer:
    """A response; status 0 means that none arrived."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return exact_json(self.body)


def exact_json(text: bytes | str) -> Any:
    """Parse JSON with exact numbers."""
    return json.loads(text, parse_float=Decimal)


class Caller:
    """A client, with a token or without.

    `on_answer` is called after each request with its start, its end and the status of its answer.
    """

    def __init__(
        self, port: int, token: str = "", on_answer: Callable[[float, float, int], None] | None = None
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self._authorization = {"Authorization": f"Bearer {token}"} if token else {}
        self._on_answer = on_answer

    def ask(self, *request: Any) -> Answer:
        """Send a request, passed as the fields of `Request`, and return its answer."""
        began = time.monotonic()
        try:
            self._send(Request(*request))
            response = self._connection.getresponse()
            answer = Answer(response.status, response.read(), dict(response.headers))
        except (OSError, http.client.HTTPException):
            self.hang_up()
            answer = Answer(0)
        if self._on_answer is not None:
            self._on_answer(began, time.monotonic(), answer.status)
        return answer

    def send_and_hang_up(self, *request: Any) -> None:
        """Send a request, and close the connection before the answer."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._send(Request(*request))
        self.hang_up()

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        self._connection.close()

    def _send(self, request: Request) -> None:
        headers = {"Content-Type": "application/json"} | self._authorization | request.headers
        base = "" if request.path.startswith("/health") else "/api/v1"
        self._connection.request(request.method, base + request.path, request.body, headers)

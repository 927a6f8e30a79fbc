"""Requests over real HTTP, on connections that are kept, whatever becomes of the other side."""

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
    """What is asked, below /api/v1, but for what is asked about the service's health."""

    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = {}


@dataclass(frozen=True)
class Answer:
    """What came of a request; the status 0: no answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return exact_json(self.body)


def exact_json(text: bytes | str) -> Any:
    """JSON with its numbers as they are written."""
    return json.loads(text, parse_float=Decimal)


class Caller:
    """Somebody who asks, signed in or not.

    tell: a function that is told of each request: when it began, when it ended, and the status of its answer.
    """

    def __init__(self, port: int, token: str = "", tell: Callable[[float, float, int], None] | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self._signature = {"Authorization": f"Bearer {token}"} if token else {}
        self._tell = tell

    def ask(self, *request: Any) -> Answer:
        """The answer to a request, which is given by its parts."""
        began = time.monotonic()
        try:
            self._send(Request(*request))
            response = self._connection.getresponse()
            answer = Answer(response.status, response.read(), dict(response.headers))
        except (OSError, http.client.HTTPException):
            self.hang_up()
            answer = Answer(0)
        if self._tell is not None:
            self._tell(began, time.monotonic(), answer.status)
        return answer

    def ask_and_go(self, *request: Any) -> None:
        """Send a request, and hang up before the answer."""
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
        headers = {"Content-Type": "application/json"} | self._signature | request.headers
        base = "" if request.path.startswith("/health") else "/api/v1"
        self._connection.request(request.method, base + request.path, request.body, headers)

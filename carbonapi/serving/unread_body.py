"""The rest of a body that the application has rejected, under gunicorn and other WSGI servers.

They close the connection, or read on without bounds, while the client is still sending. If it is closed, the client's
system drops the response that has arrived (RFC 9112, section 9.6).
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from werkzeug.wsgi import ClosingIterator

from .request_body import DISCARD_IDLE_SECONDS, DISCARD_SECONDS, DISCARDED_BYTES

READ_BYTES = 64 * 1024


class DiscardUnreadBody:
    """WSGI middleware that reads the rest of a rejected body within bounds, after the response has been sent."""

    def __init__(self, wsgi_app: Callable[..., Iterable[bytes]]) -> None:
        self._wsgi_app = wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        statuses = []

        def note_status(status: str, *arguments: Any) -> Any:
            statuses.append(status)
            return start_response(status, *arguments)

        body, connection = environ["wsgi.input"], environ.get("gunicorn.socket")
        has_body = "HTTP_TRANSFER_ENCODING" in environ or environ.get("CONTENT_LENGTH", "0") not in ("", "0")
        chunks = self._wsgi_app(environ, note_status)
        # A request that succeeds has read its body.
        if not has_body or statuses[-1][0] not in "45":
            return chunks
        # Servers close the iterator when they have sent all of it.
        return ClosingIterator(chunks, partial(_discard, body, connection))


def _discard(body: Any, connection: socket.socket | None) -> None:
    """Read the rest of a body. Close its connection if the rest is too long or too slow."""
    deadline, count, chunk = time.monotonic() + DISCARD_SECONDS, 0, b"-"
    with _bounded(connection), contextlib.suppress(OSError):  # Of a connection that is idle or lost, or a broken body.
        while chunk and count < DISCARDED_BYTES and time.monotonic() < deadline:
            chunk = body.read(READ_BYTES)
            count += len(chunk)
    if chunk and connection is not None:
        _shut_down(connection)


@contextlib.contextmanager
def _bounded(connection: socket.socket | None) -> Any:
    """Let reads from a connection end after a time in total, and after a time without any bytes."""
    if connection is None:
        yield
        return
    before = connection.gettimeout()
    watchdog = threading.Timer(DISCARD_SECONDS, _shut_down, [connection])
    watchdog.daemon = True
    watchdog.start()
    connection.settimeout(DISCARD_IDLE_SECONDS)
    try:
        yield
    finally:
        watchdog.cancel()
        with contextlib.suppress(OSError):
            connection.settimeout(before)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)

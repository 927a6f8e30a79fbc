"""The RSGI application that granian runs: an event loop that reads requests, and threads that answer them.

The event loop reads request bodies, however slowly they arrive, and admits a limited number of requests. Only then does
a thread run the WSGI application. So a slow client occupies a connection, but no thread.
"""

import asyncio
import contextlib
import io
import logging
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flask import Flask

from .. import create_app
from ..auth import cached_identity
from ..errors import CarbonError, Unavailable
from ..imports import start_worker
from ..observability.logging import configure_logging
from ..rest import JSON_MAX_BYTES, early_problem, set_base_path
from ..rest.waiting import WAITER
from .admission import FULL, FairQueue, Slot
from .request_body import IncomingBody, StreamedBody
from .sockets import stop_accepting

MAX_BUFFERED_BYTES = 256 * 1024 * 1024  # Maximum memory of a worker for short bodies that are still arriving.
RESERVED_CONNECTIONS = 2  # Of the pool, for readiness checks and queued imports, which need no slot.
CLOSING_SECONDS = 0.5  # Time for open connections to send a request after the worker stops accepting new ones.
WAITING_PER_SLOT = 4  # Maximum number of waiting requests for each slot.

# granian omits header values that are not ASCII. The application must reject such a header, not miss it.
UNREADABLE = "\xff"

_ENVIRON = {
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "carbonapi",
    "wsgi.errors": sys.stderr,
    "wsgi.multiprocess": True,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}

Response = tuple[int, list[tuple[str, str]], Any]


def create_application() -> "RsgiApplication":
    """Return the application of a worker, which also runs queued imports. granian calls this."""
    app = create_app()
    configure_logging(app.config["LOG_LEVEL"])
    start_worker(app)
    return RsgiApplication(app)


class RsgiApplication:
    """A Flask application behind granian's RSGI protocol."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        slot_count = max(1, app.config["DATABASE_POOL_SIZE"] - RESERVED_CONNECTIONS)
        self._queue = FairQueue(slot_count, WAITING_PER_SLOT * slot_count)
        self._threads = ThreadPoolExecutor(app.config["WORKER_THREADS"], "requests")
        self._idle_threads: int = app.config["WORKER_THREADS"]
        self._buffered_bytes = 0
        self._drain_file = Path(app.config["DRAIN_FILE"]) if app.config["DRAIN_FILE"] else None
        self._is_closing = False

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle SIGTERM before granian does, since granian would drop connections that have not sent a request yet."""
        loop.add_signal_handler(signal.SIGTERM, self._close, loop)

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_closing:
            self._is_closing = True
            stop_accepting()
            loop.call_later(CLOSING_SECONDS, signal.raise_signal, signal.SIGINT)

    def _can_wait(self) -> bool:
        return self._idle_threads > self._app.config["WORKER_THREADS"] // 2 and not self._is_stopping()

    def _is_stopping(self) -> bool:
        return self._is_closing or bool(self._drain_file and self._drain_file.exists())

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        environ, started_at = _environ(scope), asyncio.get_running_loop().time()
        set_base_path(environ, self._app.config)
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        body = IncomingBody(protocol, None if is_chunked else int(environ.get("CONTENT_LENGTH", "0")))
        try:
            status, headers, chunks = await self._answer(environ, body)
        except CarbonError as error:
            seconds = asyncio.get_running_loop().time() - started_at
            status, headers, chunks = early_problem(error, environ, seconds, self._app.config["CORS_ORIGINS"])
        # During a drain, clients must not reuse connections: a new one reaches another server. After a body that was
        # not read, the next request is out of reach.
        if self._is_stopping() or not body.is_at_end:
            headers = [*headers, ("Connection", "close")]
        if isinstance(chunks, bytes):
            protocol.response_bytes(status, headers, chunks)
        else:
            await self._stream(protocol.response_stream(status, headers), chunks)
        await body.discard()

    async def _answer(self, environ: dict[str, Any], body: IncomingBody) -> Response:
        """Return the response to a request. Raise CarbonError if it fails before it reaches the application."""
        head = b""
        if body.length is None or body.length <= JSON_MAX_BYTES:
            head = await self._read_body(body)
            environ["wsgi.input"] = io.BytesIO(head)
        # Pages and health checks need no slot, so they are answered under any load.
        if not environ["PATH_INFO"].startswith("/api/"):
            return await self._respond(environ)
        client = cached_identity(self._app, environ.get("HTTP_AUTHORIZATION", "")) or environ["REMOTE_ADDR"]
        slot = Slot(self._queue, client)
        if len(head) > JSON_MAX_BYTES or (body.length or 0) > JSON_MAX_BYTES:
            # A long body occupies a thread while it arrives.
            if self._idle_threads <= self._app.config["WORKER_THREADS"] // 3:
                raise Unavailable(FULL)
            environ["wsgi.input"] = StreamedBody(body, slot, head)
        environ[WAITER] = Waiter(slot, self._can_wait)
        async with slot:
            return await self._respond(environ)

    async def _read_body(self, body: IncomingBody) -> bytes:
        """Return a body, the part of it that arrived before the end of the connection, or the beginning of a long one.

        Raise RequestTimeout if it is too slow, and Unavailable if the bodies that are arriving take too much memory.
        """
        head = bytearray()
        try:
            while len(head) <= JSON_MAX_BYTES and (chunk := await body.next()):
                if self._buffered_bytes + len(chunk) > MAX_BUFFERED_BYTES:
                    raise Unavailable(FULL)
                self._buffered_bytes += len(chunk)
                head += chunk
        finally:
            self._buffered_bytes -= len(head)
        return bytes(head)

    async def _respond(self, environ: dict[str, Any]) -> Response:
        if not self._idle_threads:
            raise Unavailable(FULL)
        self._idle_threads -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._run_wsgi, environ)
        finally:
            self._idle_threads += 1

    def _run_wsgi(self, environ: dict[str, Any]) -> Response:
        """Return the response of the WSGI application. Its body is bytes, or a ResponseStream if it is streamed."""
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Any:
            started.extend((status, headers))

        chunks = self._app.wsgi_app(environ, start_response)
        status, headers = started
        stream = ResponseStream(chunks)
        # A response whose length is known is complete.
        if any(name == "Content-Length" for name, _ in headers):
            with contextlib.closing(stream):
                return int(status[:3]), headers, b"".join(chunks)
        return int(status[:3]), headers, stream if stream.start() else b""

    async def _stream(self, transport: Any, stream: "ResponseStream") -> None:
        """Send a response while it is produced. No thread waits for a slow client."""
        loop = asyncio.get_running_loop()
        try:
            while chunk := await loop.run_in_executor(self._threads, stream.next):
                await transport.send_bytes(chunk)
        finally:
            await loop.run_in_executor(self._threads, stream.close)


class Waiter:
    """Lets the thread of a request sleep without its slot."""

    def __init__(self, slot: Slot, can_wait: Callable[[], bool]) -> None:
        self._slot, self._can_wait = slot, can_wait
        self._loop = asyncio.get_running_loop()

    def sleep(self, seconds: float) -> bool:
        """Return False at once if too many threads are busy, or if the worker is stopping."""
        if not self._can_wait():
            return False
        self._loop.call_soon_threadsafe(self._slot.leave)
        time.sleep(seconds)
        asyncio.run_coroutine_threadsafe(self._slot.enter(), self._loop).result()
        return True


class ResponseStream:
    """The chunks of a streamed response."""

    def __init__(self, chunks: Any) -> None:
        self._chunks, self._rest = chunks, iter(chunks)
        self._first = b""

    def start(self) -> bool:
        """Read the first chunk. Close the stream and return False if it is empty."""
        self._first = next(self._rest, b"")
        if not self._first:
            self.close()
        return bool(self._first)

    def next(self) -> bytes:
        """Return the next chunk. Return nothing at the end, and after an error, which the last chunk reported.

        An exception must not leave this method: its traceback would keep the connection open, and the client waiting.
        """
        try:
            chunk, self._first = self._first or next(self._rest, b""), b""
        except Exception:
            logging.getLogger(__package__).exception("Streaming a response failed")
            return b""
        return chunk

    def close(self) -> None:
        if hasattr(self._chunks, "close"):
            self._chunks.close()


def _environ(scope: Any) -> dict[str, Any]:
    """Return the WSGI environment of a request (PEP 3333)."""
    address, _, port = scope.client.rpartition(":")
    server, _, server_port = scope.server.rpartition(":")
    environ = _ENVIRON | {
        "REQUEST_METHOD": scope.method,
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "SERVER_NAME": server.strip("[]"),
        "SERVER_PORT": server_port,
        "REMOTE_ADDR": address.strip("[]"),
        "REMOTE_PORT": port,
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.input_terminated": True,
    }
    for name, value in scope.headers.items():
        if "_" not in name:  # WSGI could not distinguish it from the header with a hyphen.
            key = name.upper().replace("-", "_")
            key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    for name in scope.headers.keys():  # noqa: SIM118  # granian's headers are not a mapping.
        environ.setdefault(f"HTTP_{name.upper().replace('-', '_')}", UNREADABLE)
    return environ

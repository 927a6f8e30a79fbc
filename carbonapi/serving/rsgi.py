"""The application as `carbonapi serve` runs it: in granian's event loop, which waits for callers without threads.

An event loop reads the bodies, however slowly they come, and lets in as much at a time as can be worked on; only then
a thread runs the WSGI application. Any number of slow callers therefore costs nothing but their connections.
"""

import asyncio
import io
import logging
import signal
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flask import Flask

from .. import create_app
from ..auth import cached_identity
from ..errors import CarbonError, RequestTimeout, Unavailable
from ..imports import start_worker
from ..observability.logging import configure_logging
from ..rest import JSON_MAX_BYTES, early_problem
from .admission import FULL, FairQueue, Slot
from .sockets import stop_accepting

BODY_SECONDS = 10  # A body has so long to arrive, and a second more for each of these bytes that have come.
BODY_BYTES_A_SECOND = 16 * 1024
HANDED_BYTES = 256 * 1024  # Of a long body, what a thread is handed at a time.
HELD_BYTES = 256 * 1024 * 1024  # Of bodies that are still arriving, what a worker keeps at most.
KEPT_CONNECTIONS = 2  # Of the pool: for readiness and queued imports, which wait for no place.
CLOSING_SECONDS = 0.5  # Between the last connection and the end: who has connected has so long to begin asking.
WAITING_FOR_EACH = 4  # So many requests may wait for each place.

# granian leaves out what is not ASCII. A header that was sent must not pass for one that was not.
UNREADABLE = "\xff"

_ENVIRON = {
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "granian",
    "wsgi.errors": sys.stderr,
    "wsgi.multiprocess": True,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}

Answer = tuple[int, list[tuple[str, str]], Any]


def create_application() -> "RsgiApplication":
    """The application of a process that serves: it also books queued imports. granian calls this."""
    app = create_app()
    configure_logging(app.config["LOG_LEVEL"])
    start_worker(app)
    return RsgiApplication(app)


class RsgiApplication:
    """A Flask application, for granian's event loop."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        places = max(1, app.config["DATABASE_POOL_SIZE"] - KEPT_CONNECTIONS)
        self._admission = FairQueue(places, WAITING_FOR_EACH * places)
        self._threads = ThreadPoolExecutor(app.config["WORKER_THREADS"], "requests")
        self._idle_threads: int = app.config["WORKER_THREADS"]
        self._arriving_bytes = 0
        self._drain_file = Path(app.config["DRAIN_FILE"]) if app.config["DRAIN_FILE"] else None
        self._is_closing = False

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be told to stop. granian itself, which heeds SIGINT too, would drop who has connected and not asked yet."""
        loop.add_signal_handler(signal.SIGTERM, self._close, loop)

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_closing:
            self._is_closing = True
            stop_accepting()
            loop.call_later(CLOSING_SECONDS, signal.raise_signal, signal.SIGINT)

    def _takes_leave(self) -> bool:
        return self._is_closing or bool(self._drain_file and self._drain_file.exists())

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        environ, began_at = _environ(scope), asyncio.get_running_loop().time()
        # While the service stops, who keeps a connection is told to take another: it will find another server.
        closing = [("Connection", "close")] if self._takes_leave() else []
        try:
            length = int(environ.get("CONTENT_LENGTH", "0"))
            if 0 < length <= JSON_MAX_BYTES:
                environ["wsgi.input"] = io.BytesIO(await self._whole(protocol, length))
            # Pages and health take no place: they are answered whatever else there is to do.
            if not environ["PATH_INFO"].startswith("/api/"):
                status, headers, chunks = await self._answered(environ)
            else:
                caller = cached_identity(self._app, environ.get("HTTP_AUTHORIZATION", ""))
                place = Slot(self._admission, caller or environ["REMOTE_ADDR"])
                if length > JSON_MAX_BYTES:
                    self._refuse_if_few_threads()
                    environ["wsgi.input"] = StreamedBody(protocol, length, place)
                async with place:
                    status, headers, chunks = await self._answered(environ)
        except CarbonError as error:
            seconds = asyncio.get_running_loop().time() - began_at
            status, headers, chunks = early_problem(error, environ, seconds, self._app.config["CORS_ORIGINS"])
        if isinstance(chunks, bytes):
            protocol.response_bytes(status, headers + closing, chunks)
        else:
            await self._stream(protocol.response_stream(status, headers + closing), chunks)

    async def _whole(self, protocol: Any, length: int) -> bytes:
        """A body, or what there is of it if it was cut off. Raises TooSlow; Unavailable while too much arrives."""
        body = bytearray()
        try:
            async for chunk in _in_time(protocol, length):
                if self._arriving_bytes + len(chunk) > HELD_BYTES:
                    raise Unavailable(FULL)
                self._arriving_bytes += len(chunk)
                body += chunk
        finally:
            self._arriving_bytes -= len(body)
        return bytes(body)

    def _refuse_if_few_threads(self) -> None:
        """Keep threads for those whose bodies are short: a long one holds its thread while it comes."""
        if self._idle_threads <= self._app.config["WORKER_THREADS"] // 3:
            raise Unavailable(FULL)

    async def _answered(self, environ: dict[str, Any]) -> Answer:
        if not self._idle_threads:
            raise Unavailable(FULL)
        self._idle_threads -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._work, environ)
        finally:
            self._idle_threads += 1

    def _work(self, environ: dict[str, Any]) -> Answer:
        """What the WSGI application answers; the body as bytes unless it is one that is streamed."""
        began: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Any:
            began.extend((status, headers))

        chunks = self._app.wsgi_app(environ, start_response)
        status, headers = began
        # What tells its length is there already.
        if any(name == "Content-Length" for name, _ in headers):
            return int(status[:3]), headers, _joined(chunks)
        stream = ResponseStream(chunks)
        return int(status[:3]), headers, stream if stream.has_begun() else b""

    async def _stream(self, transport: Any, stream: "ResponseStream") -> None:
        """Send an answer while it is written. Who takes it slowly keeps no thread waiting."""
        loop = asyncio.get_running_loop()
        try:
            while chunk := await loop.run_in_executor(self._threads, stream.next):
                await transport.send_bytes(chunk)
        finally:
            await loop.run_in_executor(self._threads, stream.close)


class ResponseStream:
    """The chunks of an answer that is streamed."""

    def __init__(self, chunks: Any) -> None:
        self._chunks, self._rest = chunks, iter(chunks)
        self._first = b""

    def has_begun(self) -> bool:
        """Whether there is anything in it. If not, it is closed."""
        self._first = next(self._rest, b"")
        if not self._first:
            self.close()
        return bool(self._first)

    def next(self) -> bytes:
        """The next chunk; nothing at the end, nor behind what has failed and says so in its last chunk.

        A failure ends here: it would hold on to the connection, by its traceback, and the caller would wait for ever.
        """
        try:
            chunk, self._first = self._first or next(self._rest, b""), b""
        except Exception:
            logging.getLogger(__package__).exception("An answer was broken off")
            return b""
        return chunk

    def close(self) -> None:
        if hasattr(self._chunks, "close"):
            self._chunks.close()


class StreamedBody(io.RawIOBase):
    """A body that is read while it comes, by the thread that works on the request. Meanwhile others have its place."""

    def __init__(self, protocol: Any, length: int, place: Slot) -> None:
        self._chunks = _in_time(protocol, length)
        self._left = length
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._buffer = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        if not self._buffer:
            self._buffer = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
        count = min(len(target), len(self._buffer))
        target[:count], self._buffer = self._buffer[:count], self._buffer[count:]
        return count

    async def _next(self) -> bytes:
        """The next bytes; none at the end. Raises TooSlow; Unavailable if then there is no place to work on them."""
        self._place.leave()
        part = bytearray()
        while self._left and len(part) < HANDED_BYTES:
            chunk = await anext(self._chunks, b"")
            self._left = self._left - len(chunk) if chunk else 0
            part += chunk
        if not self._left:
            await self._place.enter()
        return bytes(part)


async def _in_time(protocol: Any, length: int) -> AsyncIterator[bytes]:
    """The bytes of a body as they come. Raises TooSlow when they do not come fast enough."""
    loop = asyncio.get_running_loop()
    began, received = loop.time(), 0
    parts = aiter(protocol)
    while received < length:
        try:
            async with asyncio.timeout_at(began + BODY_SECONDS + received / BODY_BYTES_A_SECOND):
                chunk = await parts.__anext__()  # Plainly: granian's awaitable cannot be cancelled through `anext`.
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RequestTimeout(f"Of {length} bytes, {received} came in time. Send the body faster.") from None
        if not chunk:
            return
        received += len(chunk)
        yield bytes(chunk)


def _joined(chunks: Any) -> bytes:
    try:
        return b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()


def _environ(scope: Any) -> dict[str, Any]:
    """The request as WSGI tells it (PEP 3333)."""
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
    }
    for name, value in scope.headers.items():
        if "_" not in name:  # It would pass for the header that has a hyphen there.
            key = name.upper().replace("-", "_")
            key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    for name in scope.headers.keys():  # noqa: SIM118  # granian's headers are no mapping.
        environ.setdefault(f"HTTP_{name.upper().replace('-', '_')}", UNREADABLE)
    return environ

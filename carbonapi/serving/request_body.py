"""The body of a request that granian passes on while it arrives."""

import asyncio
import io
from typing import Any

from ..errors import BadRequest, RequestTimeout
from .admission import Slot

BODY_SECONDS = 10  # Time for a body to arrive, plus a second for each BODY_BYTES_PER_SECOND that have arrived.
BODY_BYTES_PER_SECOND = 16 * 1024
PART_BYTES = 256 * 1024  # Size of the parts in which a thread reads a long body.
# How much of a rejected body is read and discarded, so that the client, which may still be sending, gets the response.
DISCARDED_BYTES = 256 * 1024 * 1024
DISCARD_SECONDS = 20
DISCARD_IDLE_SECONDS = 5  # Without any bytes.


class IncomingBody:
    """A body while it arrives: of `length` bytes, or in chunks if that is None."""

    def __init__(self, protocol: Any, length: int | None) -> None:
        self.length = length
        self.is_at_end = length == 0
        self._protocol = protocol
        self._parts: Any = None
        self._received = 0
        self._is_late = False
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()

    async def next(self) -> bytes:
        """Return the next bytes; none at the end, which is early if a body with a length is truncated.

        Raise RequestTimeout if they arrive too slowly, and BadRequest if a body in chunks is truncated.
        """
        if self.is_at_end:
            return b""
        deadline = self._started_at + BODY_SECONDS + self._received / BODY_BYTES_PER_SECOND
        try:
            async with asyncio.timeout_at(deadline):
                return await self._receive()
        except TimeoutError:
            self._is_late = True
            expected = "" if self.length is None else f" of {self.length}"
            message = f"Only {self._received}{expected} bytes arrived in time. Send the body faster."
            raise RequestTimeout(message) from None

    async def discard(self) -> None:
        """Read the rest within bounds, after the response (RFC 9112, section 9.6).

        If the connection were closed while the client sends, its system would drop the response that has arrived. A
        client that was too slow has to accept that.
        """
        limit = self._received + DISCARDED_BYTES
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while not (self.is_at_end or self._is_late) and self._received < limit:
                    async with asyncio.timeout(DISCARD_IDLE_SECONDS):
                        await self._receive()
        except (TimeoutError, BadRequest):
            pass

    async def _receive(self) -> bytes:
        if self._parts is None:
            self._parts = aiter(self._protocol)
        chunk = bytes(await self._parts.__anext__())  # granian's awaitable cannot be canceled through `anext`.
        self._received += len(chunk)
        if not chunk or self._received == self.length:
            self.is_at_end = True
        if not chunk and self.length is None and not self._has_last_chunk():
            raise BadRequest("The body ended before its last chunk. Send all of it, and no trailers.")
        return chunk

    def _has_last_chunk(self) -> bool:
        """Return whether the chunks are complete. For granian, only then is the iterator exhausted."""
        try:
            self._parts.__anext__()
        except StopAsyncIteration:
            return True
        return False


class StreamedBody(io.RawIOBase):
    """A long body, which the thread of its request reads while it arrives. The slot is free while the thread waits.

    head: the bytes that have been read already.
    """

    def __init__(self, body: IncomingBody, slot: Slot, head: bytes = b"") -> None:
        self._body = body
        self._slot = slot
        self._loop = asyncio.get_running_loop()
        self._buffer = head

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        if not self._buffer:
            self._buffer = asyncio.run_coroutine_threadsafe(self._next_part(), self._loop).result()
        count = min(len(target), len(self._buffer))
        target[:count], self._buffer = self._buffer[:count], self._buffer[count:]
        return count

    async def _next_part(self) -> bytes:
        """Return the next bytes; none at the end. Raise RequestTimeout, or Unavailable if no slot becomes free."""
        self._slot.leave()
        part = bytearray()
        while len(part) < PART_BYTES and (chunk := await self._body.next()):
            part += chunk
        if self._body.is_at_end:
            await self._slot.enter()
        return bytes(part)

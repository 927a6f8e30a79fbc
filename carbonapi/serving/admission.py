"""Admission control: a worker works on a limited number of requests, and queues a few more, fairly by client.

More requests than database connections would only wait for one, and slow down all others. So they wait before they cost
anything, in a short queue, and get 503 when it is full. Clients take turns, and the client with the most requests in
the queue is rejected first. So a client that sends few requests is served even while another floods the service.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable

from ..errors import Unavailable

WAIT_SECONDS = 1.5
FULL = "Too many requests at once. Try again shortly."

Turn = asyncio.Future[None]


class FairQueue:
    """Slots for `slot_count` requests, and a queue of up to `max_waiting` more. For one event loop."""

    def __init__(self, slot_count: int, max_waiting: int) -> None:
        self._free = slot_count
        self._max_waiting = max_waiting
        # The requests of each waiting client, in the order of the clients' turns. No queue is empty.
        self._queues: OrderedDict[Hashable, deque[Turn]] = OrderedDict()

    async def enter(self, client: Hashable) -> None:
        """Take a slot, which `leave` frees. Raise Unavailable if the queue is full or the wait takes too long."""
        if self._free:
            self._free -= 1
            return
        self._make_room(client)
        turn: Turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(client, deque()).append(turn)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # The slot was assigned at this very moment.
            else:
                self._remove(client, turn)
            if isinstance(error, TimeoutError):
                raise Unavailable(FULL) from None
            raise

    def leave(self) -> None:
        """Free a slot, or pass it to the oldest request of the client whose turn it is."""
        while self._queues:
            client, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._queues[client] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _make_room(self, client: Hashable) -> None:
        """If the queue is full, reject the newest request of the client with the most requests in it.

        Raise Unavailable if that is `client`.
        """
        if sum(map(len, self._queues.values())) < self._max_waiting:
            return
        own_length = len(self._queues.get(client, ()))
        longest = max(self._queues, key=lambda other: len(self._queues[other]), default=client)
        if longest not in self._queues or len(self._queues[longest]) <= own_length + 1:
            raise Unavailable(FULL)
        newest = self._queues[longest][-1]
        self._remove(longest, newest)
        if not newest.done():  # Its client may just have disconnected.
            newest.set_exception(Unavailable(FULL))

    def _remove(self, client: Hashable, turn: Turn) -> None:
        queue = self._queues.get(client)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[client]


class Slot:
    """The slot of one request. It is occupied inside of the block, except between `leave` and `enter`."""

    def __init__(self, queue: FairQueue, client: Hashable) -> None:
        self._queue, self._client = queue, client
        self._is_occupied = False

    async def enter(self) -> None:
        """Take the slot, unless the request has it. Raise Unavailable as FairQueue.enter does."""
        if not self._is_occupied:
            await self._queue.enter(self._client)
            self._is_occupied = True

    def leave(self) -> None:
        if self._is_occupied:
            self._is_occupied = False
            self._queue.leave()

    async def __aenter__(self) -> None:
        await self.enter()

    async def __aexit__(self, *_: object) -> None:
        self.leave()

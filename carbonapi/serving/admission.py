"""Who is worked for next when there is more to do than can be done at once: callers take turns, and few may wait.

A worker does no more at a time than its database connections can serve: what is more only waits inside, and makes
everything slow. So it waits before, in a short queue; beyond that it is refused at once, while it has cost nothing yet.
Whoever asks ten times as much as others is refused first: a caller who asks little is hardly ever.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable

from ..errors import Unavailable

WAIT_SECONDS = 1.5
FULL = "Too many requests at once. Try again shortly."

Turn = asyncio.Future[None]


class FairQueue:
    """Places for requests, `places` of them, and a queue for them of at most `most_waiting`. For one event loop."""

    def __init__(self, places: int, most_waiting: int) -> None:
        self._free = places
        self._most_waiting = most_waiting
        # The queues of callers, in the order of their turns. None is empty.
        self._queues: OrderedDict[Hashable, deque[Turn]] = OrderedDict()

    async def enter(self, caller: Hashable) -> None:
        """Take a place, which `leave` gives back. Raises Unavailable if there is none in time."""
        if self._free:
            self._free -= 1
            return
        self._make_room(caller)
        turn: Turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(caller, deque()).append(turn)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn
        except (TimeoutError, asyncio.CancelledError) as ending:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # The place was given at that very moment.
            else:
                self._forget(caller, turn)
            if isinstance(ending, TimeoutError):
                raise Unavailable(FULL) from None
            raise

    def leave(self) -> None:
        """Give a place back: to whoever has waited longest of the caller whose turn it is."""
        while self._queues:
            caller, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._queues[caller] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _make_room(self, caller: Hashable) -> None:
        """If the queue is full, refuse whoever has most waiting in it. Raises Unavailable if that is `caller`."""
        if sum(map(len, self._queues.values())) < self._most_waiting:
            return
        mine = len(self._queues.get(caller, ()))
        longest = max(self._queues, key=lambda other: len(self._queues[other]), default=caller)
        if longest not in self._queues or len(self._queues[longest]) <= mine + 1:
            raise Unavailable(FULL)
        newest = self._queues[longest][-1]
        self._forget(longest, newest)
        if not newest.done():  # As it is if its request went away just now.
            newest.set_exception(Unavailable(FULL))

    def _forget(self, caller: Hashable, turn: Turn) -> None:
        queue = self._queues.get(caller)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._queues[caller]


class Slot:
    """The place of one request, held within the block, and between `enter` and `leave`."""

    def __init__(self, admission: FairQueue, caller: Hashable) -> None:
        self._admission, self._caller = admission, caller
        self._is_held = False

    async def enter(self) -> None:
        """Raises Unavailable if there is none in time."""
        if not self._is_held:
            await self._admission.enter(self._caller)
            self._is_held = True

    def leave(self) -> None:
        if self._is_held:
            self._is_held = False
            self._admission.leave()

    async def __aenter__(self) -> None:
        await self.enter()

    async def __aexit__(self, *_: object) -> None:
        self.leave()

"""Admission control: the order of requests when a worker has no free slot."""

import asyncio
import time

import pytest

from carbonapi.errors import Unavailable
from carbonapi.serving import admission
from carbonapi.serving.admission import FairQueue, Slot


class Crowd:
    """Requests of several clients, and their outcomes in order."""

    def __init__(self, slots, max_waiting):
        self.queue = FairQueue(slots, max_waiting)
        self.outcomes = []
        self.tasks = []

    async def request(self, *clients):
        for client in clients:
            self.tasks.append(asyncio.create_task(self._request(client)))
            await asyncio.sleep(0)

    async def _request(self, client):
        try:
            await self.queue.enter(client)
            self.outcomes.append(f"{client} admitted")
        except Unavailable:
            self.outcomes.append(f"{client} rejected")

    async def leave(self, number):
        for _ in range(number):
            self.queue.leave()
            await asyncio.sleep(0)


def test_clients_take_turns():
    async def run():
        crowd = Crowd(slots=1, max_waiting=10)
        await crowd.request("flood", "flood", "flood", "flood", "modest", "other", "modest")
        await crowd.leave(6)
        return crowd.outcomes

    turns = ["flood", "flood", "modest", "other", "flood", "modest", "flood"]
    assert asyncio.run(run()) == [f"{client} admitted" for client in turns]


def test_full_queue_rejects_the_busiest_client():
    async def run():
        crowd = Crowd(slots=1, max_waiting=3)
        await crowd.request("flood", "flood", "flood", "flood", "flood", "modest", "modest", "other")
        await asyncio.sleep(0)
        first = [*crowd.outcomes]
        await crowd.leave(3)
        return first, crowd.outcomes[len(first) :]

    before, after = asyncio.run(run())
    assert before == ["flood admitted", "flood rejected", "flood rejected", "modest rejected", "flood rejected"]
    assert after == ["flood admitted", "modest admitted", "other admitted"]


def test_request_that_waits_too_long_is_rejected(monkeypatch):
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.05)

    async def run():
        crowd = Crowd(slots=1, max_waiting=3)
        await crowd.request("one", "two")
        await asyncio.sleep(0.2)
        await crowd.leave(1)
        await crowd.request("three")
        return crowd.outcomes

    assert asyncio.run(run()) == ["one admitted", "two rejected", "three admitted"]


def test_slot_assigned_at_the_timeout_is_not_lost(monkeypatch):
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.05)

    async def run():
        crowd = Crowd(slots=1, max_waiting=3)
        await crowd.request("one", "two")
        loop = asyncio.get_running_loop()
        loop.call_at(loop.time() + 0.049, crowd.queue.leave)
        time.sleep(0.1)  # The loop is busy, so both events are due at once.
        await asyncio.sleep(0.01)
        await crowd.request("three")
        return crowd.outcomes

    assert asyncio.run(run()) == ["one admitted", "two rejected", "three admitted"]


def test_disconnected_client_takes_no_slot():
    async def run():
        crowd = Crowd(slots=1, max_waiting=3)
        await crowd.request("one", "two", "three", "four")
        crowd.tasks[1].cancel()
        crowd.queue.leave()  # The slot goes to three, which disconnects.
        crowd.tasks[2].cancel()
        await asyncio.sleep(0.01)
        return crowd.outcomes

    assert asyncio.run(run()) == ["one admitted", "four admitted"]


def test_slot_is_freed_once():
    async def run():
        queue = FairQueue(1, 0)
        with pytest.raises(ZeroDivisionError):
            async with (slot := Slot(queue, "one")):
                slot.leave()
                raise ZeroDivisionError
        async with Slot(queue, "two"):
            with pytest.raises(Unavailable):
                await Slot(queue, "three").enter()

    asyncio.run(run())

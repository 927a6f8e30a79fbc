"""Whose turn it is when there is more to do than can be done at once."""

import asyncio
import time

import pytest

from carbonapi.errors import Unavailable
from carbonapi.serving import admission
from carbonapi.serving.admission import FairQueue, Slot


class Crowd:
    """Requests that are made one after the other, and what came of each, in the order in which it came."""

    def __init__(self, places, most_waiting):
        self.admission = FairQueue(places, most_waiting)
        self.outcomes = []
        self.tasks = []

    async def ask(self, *callers):
        for caller in callers:
            self.tasks.append(asyncio.create_task(self._ask(caller)))
            await asyncio.sleep(0)

    async def _ask(self, caller):
        try:
            await self.admission.enter(caller)
            self.outcomes.append(f"{caller} in")
        except Unavailable:
            self.outcomes.append(f"{caller} refused")

    async def leave(self, number):
        for _ in range(number):
            self.admission.leave()
            await asyncio.sleep(0)


def test_callers_take_turns_however_many_requests_each_of_them_has():
    async def run():
        crowd = Crowd(places=1, most_waiting=10)
        await crowd.ask("flood", "flood", "flood", "flood", "modest", "other", "modest")
        await crowd.leave(6)
        return crowd.outcomes

    turns = ["flood", "flood", "modest", "other", "flood", "modest", "flood"]
    assert asyncio.run(run()) == [f"{caller} in" for caller in turns]


def test_where_the_queue_is_full_the_newest_of_whoever_has_most_in_it_is_refused():
    async def run():
        crowd = Crowd(places=1, most_waiting=3)
        await crowd.ask("flood", "flood", "flood", "flood", "flood", "modest", "modest", "other")
        await asyncio.sleep(0)
        first = [*crowd.outcomes]
        await crowd.leave(3)
        return first, crowd.outcomes[len(first) :]

    before, after = asyncio.run(run())
    assert before == ["flood in", "flood refused", "flood refused", "modest refused", "flood refused"]
    assert after == ["flood in", "modest in", "other in"]


def test_who_has_waited_too_long_is_refused_and_takes_no_place(monkeypatch):
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.05)

    async def run():
        crowd = Crowd(places=1, most_waiting=3)
        await crowd.ask("one", "two")
        await asyncio.sleep(0.2)
        await crowd.leave(1)
        await crowd.ask("three")
        return crowd.outcomes

    assert asyncio.run(run()) == ["one in", "two refused", "three in"]


def test_a_place_that_is_given_as_the_time_is_up_is_not_lost(monkeypatch):
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.05)

    async def run():
        crowd = Crowd(places=1, most_waiting=3)
        await crowd.ask("one", "two")
        loop = asyncio.get_running_loop()
        loop.call_at(loop.time() + 0.049, crowd.admission.leave)
        time.sleep(0.1)  # The loop is busy: it finds that both are due.
        await asyncio.sleep(0.01)
        await crowd.ask("three")
        return crowd.outcomes

    assert asyncio.run(run()) == ["one in", "two refused", "three in"]


def test_who_goes_away_while_waiting_takes_no_place():
    async def run():
        crowd = Crowd(places=1, most_waiting=3)
        await crowd.ask("one", "two", "three", "four")
        crowd.tasks[1].cancel()
        crowd.admission.leave()  # Three's turn, who goes away before learning of it.
        crowd.tasks[2].cancel()
        await asyncio.sleep(0.01)
        return crowd.outcomes

    assert asyncio.run(run()) == ["one in", "four in"]


def test_a_place_is_given_back_once_whatever_happens():
    async def run():
        gate = FairQueue(1, 0)
        with pytest.raises(ZeroDivisionError):
            async with (place := Slot(gate, "one")):
                place.leave()
                raise ZeroDivisionError
        async with Slot(gate, "two"):
            with pytest.raises(Unavailable):
                await Slot(gate, "three").enter()

    asyncio.run(run())

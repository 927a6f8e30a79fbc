"""Clients that write without end, send again what was not answered, and note what was."""

import abc
import json
import random
import threading
import time
from decimal import Decimal
from typing import Any

from .calls import Answer, Caller, Request
from .ledger import File, Noted, Written

PATIENCE_SECONDS = 120  # How long something is sent again and again.
REFUSED = (0, 503)  # It may go well another time; whether it went well this time is not known.
KEPT_SHARE = 0.2  # Of the answers to requests with a key, so many are asked for again in the end.
HANG_UPS = 0.05
RETRY_SECONDS = 0.2


class Client(abc.ABC):
    """Somebody who writes until told to stop, and then ends what they are at."""

    def __init__(self, name: str, port: int, token: str, noted: Noted, seed: object, pause: float) -> None:
        self.name, self.noted, self.pause = name, noted, pause
        self.dice = random.Random(f"{seed}/{name}")
        self.caller = Caller(port, token, noted.tell)
        self.number = 0
        self.is_to_stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        try:
            while not self.is_to_stop.is_set():
                self.act()
                self.is_to_stop.wait(self.dice.uniform(0, 2 * self.pause))
        except Exception as error:  # A client that ends notes nothing any more: that is no success.
            self.noted.surprises.append(f"{self.name} has ended: {error!r}")
        finally:
            self.caller.hang_up()

    @abc.abstractmethod
    def act(self) -> None:
        """Write once, and note what came of it."""

    def next_name(self) -> str:
        self.number += 1
        return f"{self.name}-{self.number}"

    def once(self, request: Request, good: int) -> Answer:
        """The answer to a request that is not sent again."""
        answer = self.caller.ask(*request)
        if answer.status == good:
            self.noted.acknowledge()
        elif answer.status not in REFUSED:
            self._surprise(request, answer)
        return answer

    def until_answered(self, request: Request, good: int, *settled: int, busy: int = 0) -> Answer:
        """The answer that was good, or settles that an earlier attempt was. busy: a further status to wait after.

        Now and then, it hangs up before the first answer.
        """
        given_up_at = time.monotonic() + PATIENCE_SECONDS
        if self.dice.random() < HANG_UPS:
            self.caller.ask_and_go(*request)
            self.noted.retry()
        while (answer := self.caller.ask(*request)).status in (*REFUSED, busy) and time.monotonic() < given_up_at:
            self.noted.retry()
            time.sleep(RETRY_SECONDS)
        if answer.status == good:
            self.noted.acknowledge()
        elif answer.status not in settled:
            self._surprise(request, answer)
        return answer

    def read(self, path: str) -> Answer:
        """What is there, once the service says so."""
        given_up_at = time.monotonic() + PATIENCE_SECONDS
        while (answer := self.caller.ask("GET", path)).status in REFUSED and time.monotonic() < given_up_at:
            time.sleep(RETRY_SECONDS)
        if answer.status != 200:
            self._surprise(Request("GET", path), answer)
        return answer

    def _surprise(self, request: Request, answer: Answer) -> None:
        asked = f"{self.name}, {self.noted.kind}: {request.method} {request.path}"
        self.noted.surprises.append(f"{asked}: {answer.status} {answer.body[:300].decode()}")


class Recorder(Client):
    """Records, corrects and deletes usages of its own, one at a time."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.mine: list[Written] = []

    def act(self) -> None:
        acts, weights = [self.post, self.post_with_key, self.post_with_external_id], [25, 30, 15]
        if self.mine:
            acts, weights = [*acts, self.correct, self.delete], [*weights, 20, 10]
        self.dice.choices(acts, weights)[0]()

    def _amount(self) -> Decimal:
        return Decimal(self.dice.randrange(1, 10**9)).scaleb(-3)

    def _new(self, **further: str) -> tuple[Written, bytes]:
        """A usage that nobody has sent yet, and it as JSON."""
        written = self.noted.send(self.next_name(), self._amount())
        moment = f"2025-{self.dice.randrange(1, 13):02}-{self.dice.randrange(1, 29):02}T12:00:00Z"
        fields = {"usage_type_id": self.dice.randrange(100, 105), "usage_at": moment, "note": written.note}
        return written, json.dumps(fields | {"amount": str(written.amounts[0])} | further).encode()

    def _keep(self, written: Written, answer: Any) -> None:
        written.is_acknowledged, written.answer = True, answer
        self.mine.append(written)

    def post(self) -> None:
        """Without a key, nothing tells whether what was not answered was recorded; so it is not sent again."""
        written, body = self._new()
        answer = self.once(Request("POST", "/usages", body), 201)
        if answer.status == 201:
            self._keep(written, answer.json)

    def post_with_key(self) -> None:
        written, body = self._new()
        # 409: the first one is still running.
        request = Request("POST", "/usages", body, {"Idempotency-Key": written.note})
        answer = self.until_answered(request, 201, busy=409)
        if answer.status == 201:
            self._keep(written, answer.json)
            if self.dice.random() < KEPT_SHARE:
                self.noted.kept.append((request, answer.body))

    def post_with_external_id(self) -> None:
        """409 says that it is there already."""
        external_id = f"x-{self.name}-{self.number}"
        written, body = self._new(external_id=external_id)
        answer = self.until_answered(Request("POST", "/usages", body), 201, 409)
        if answer.status == 201:
            self._keep(written, answer.json)
        elif answer.status == 409:
            (found,) = self.read(f"/usages?external_id={external_id}").json
            self._keep(written, found)
            if (found["amount"], found["version"]) != (written.amounts[0], 1):
                self.noted.surprises.append(f"{written.note}: 409, and then {found}")

    def correct(self) -> None:
        """412 to the second attempt says that the first was booked: nobody else corrects this usage."""
        written, amount = self.dice.choice(self.mine), self._amount()
        path, version = f"/usages/{written.id}", len(written.amounts)
        body = json.dumps({"amount": str(amount)}).encode()
        answer = self.until_answered(Request("PATCH", path, body, {"If-Match": f'"{version}"'}), 200, 412)
        if answer.status == 412:
            answer = self.read(path)
        if answer.status == 200:
            found = answer.json
            written.amounts.append(amount)
            written.answer = found
            if (found["amount"], found["version"]) != (amount, version + 1):
                self.noted.surprises.append(f"{written.note}: corrected to {amount}, and then {found}")

    def delete(self) -> None:
        """404 to the second attempt says that the first was heeded."""
        written = self.mine.pop(self.dice.randrange(len(self.mine)))
        answer = self.until_answered(Request("DELETE", f"/usages/{written.id}"), 204, 404)
        written.is_deleted = answer.status in (204, 404)


class Importer(Client):
    """Sends files: with a key until they are answered; without one once, so that they are there whole or not at all."""

    def act(self) -> None:
        file = File(self.next_name(), self.dice.randrange(300, 1500))
        self.noted.files[file.name] = file
        self.noted.count_importing(1)
        try:
            self._send(file, has_key=self.dice.random() < 0.6, is_queued=self.dice.random() < 0.5)
        finally:
            self.noted.count_importing(-1)

    def _send(self, file: File, has_key: bool, is_queued: bool) -> None:
        headers = {"Content-Type": "text/csv"}
        headers |= {"Prefer": "respond-async"} if is_queued else {}
        headers |= {"Idempotency-Key": file.name} if has_key else {}
        request = Request("POST", "/imports?usage_type_id=100", file.content, headers)
        good = 202 if is_queued else 201
        answer = self.until_answered(request, good, busy=409) if has_key else self.once(request, good)
        if answer.status != good:
            return
        file.is_acknowledged, file.import_id = True, answer.json["id"]
        if has_key:
            self.noted.kept.append((request, answer.body))
        given_up_at = time.monotonic() + PATIENCE_SECONDS
        while is_queued and self.read(f"/imports/{file.import_id}").json["status"] in ("queued", "running"):
            if time.monotonic() > given_up_at:
                raise RuntimeError(f"Import {file.import_id} is not booked within {PATIENCE_SECONDS} seconds.")
            time.sleep(0.1)

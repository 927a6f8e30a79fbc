"""Clients that write continuously, retry unanswered requests, and record the answers."""

import abc
import json
import random
import threading
import time
from decimal import Decimal
from typing import Any

from .calls import Answer, Caller, Request
from .ledger import File, History, Written

RETRY_LIMIT_SECONDS = 120
RETRYABLE = (0, 503)  # The request may have succeeded.
REPLAYED_SHARE = 0.2  # The share of requests with an idempotency key that are replayed at the end.
HANG_UP_SHARE = 0.05
RETRY_SECONDS = 0.2


class Client(abc.ABC):
    """A client that writes in a thread until it is stopped, and completes its last request."""

    def __init__(self, name: str, port: int, token: str, history: History, seed: object, pause: float) -> None:
        self.name, self.history, self.pause = name, history, pause
        self.dice = random.Random(f"{seed}/{name}")
        self.caller = Caller(port, token, history.add_answer)
        self.number = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        try:
            while not self.stopping.is_set():
                self.act()
                self.stopping.wait(self.dice.uniform(0, 2 * self.pause))
        except Exception as error:  # A client that has failed records no more answers, so the run fails.
            self.history.unexpected.append(f"{self.name} has failed: {error!r}")
        finally:
            self.caller.hang_up()

    @abc.abstractmethod
    def act(self) -> None:
        """Write once, and record the answer."""

    def next_name(self) -> str:
        self.number += 1
        return f"{self.name}-{self.number}"

    def send_once(self, request: Request, success: int) -> Answer:
        """Send a request without retries."""
        answer = self.caller.ask(*request)
        if answer.status == success:
            self.history.acknowledge()
        elif answer.status not in RETRYABLE:
            self._add_unexpected(request, answer)
        return answer

    def send_until_answered(self, request: Request, success: int, *already_done: int, busy: int = 0) -> Answer:
        """Retry until the request succeeds, or a status in `already_done` shows that an earlier attempt did.

        `busy` is another status to retry after. Some first attempts close the connection before the answer.
        """
        deadline = time.monotonic() + RETRY_LIMIT_SECONDS
        if self.dice.random() < HANG_UP_SHARE:
            self.caller.send_and_hang_up(*request)
            self.history.retry()
        while (answer := self.caller.ask(*request)).status in (*RETRYABLE, busy) and time.monotonic() < deadline:
            self.history.retry()
            time.sleep(RETRY_SECONDS)
        if answer.status == success:
            self.history.acknowledge()
        elif answer.status not in already_done:
            self._add_unexpected(request, answer)
        return answer

    def read(self, path: str) -> Answer:
        """GET a path, with retries."""
        deadline = time.monotonic() + RETRY_LIMIT_SECONDS
        while (answer := self.caller.ask("GET", path)).status in RETRYABLE and time.monotonic() < deadline:
            time.sleep(RETRY_SECONDS)
        if answer.status != 200:
            self._add_unexpected(Request("GET", path), answer)
        return answer

    def _add_unexpected(self, request: Request, answer: Answer) -> None:
        asked = f"{self.name}, {self.history.kind}: {request.method} {request.path}"
        self.history.unexpected.append(f"{asked}: {answer.status} {answer.body[:300].decode()}")


class Recorder(Client):
    """A client that records, corrects and deletes usages, one at a time."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.recorded: list[Written] = []

    def act(self) -> None:
        acts, weights = [self.post, self.post_with_key, self.post_with_external_id], [25, 30, 15]
        if self.recorded:
            acts, weights = [*acts, self.correct, self.delete], [*weights, 20, 10]
        self.dice.choices(acts, weights)[0]()

    def _amount(self) -> Decimal:
        return Decimal(self.dice.randrange(1, 10**9)).scaleb(-3)

    def _new(self, **further: str) -> tuple[Written, bytes]:
        """Return a new usage, and its JSON."""
        written = self.history.send(self.next_name(), self._amount())
        moment = f"2025-{self.dice.randrange(1, 13):02}-{self.dice.randrange(1, 29):02}T12:00:00Z"
        fields = {"usage_type_id": self.dice.randrange(100, 105), "usage_at": moment, "note": written.note}
        return written, json.dumps(fields | {"amount": str(written.amounts[0])} | further).encode()

    def _acknowledge(self, written: Written, answer: Any) -> None:
        written.is_acknowledged, written.answer = True, answer
        self.recorded.append(written)

    def post(self) -> None:
        """POST without an idempotency key. It must not be retried: the usage could be recorded twice."""
        written, body = self._new()
        answer = self.send_once(Request("POST", "/usages", body), 201)
        if answer.status == 201:
            self._acknowledge(written, answer.json)

    def post_with_key(self) -> None:
        written, body = self._new()
        # 409: the first attempt is still running.
        request = Request("POST", "/usages", body, {"Idempotency-Key": written.note})
        answer = self.send_until_answered(request, 201, busy=409)
        if answer.status == 201:
            self._acknowledge(written, answer.json)
            if self.dice.random() < REPLAYED_SHARE:
                self.history.replayable.append((request, answer.body))

    def post_with_external_id(self) -> None:
        """POST with an external ID. 409 means that an earlier attempt succeeded."""
        external_id = f"x-{self.name}-{self.number}"
        written, body = self._new(external_id=external_id)
        answer = self.send_until_answered(Request("POST", "/usages", body), 201, 409)
        if answer.status == 201:
            self._acknowledge(written, answer.json)
        elif answer.status == 409:
            (found,) = self.read(f"/usages?external_id={external_id}").json
            self._acknowledge(written, found)
            if (found["amount"], found["version"]) != (written.amounts[0], 1):
                self.history.unexpected.append(f"{written.note}: 409, and then {found}")

    def correct(self) -> None:
        """PATCH with If-Match. 412 to a retry means that the first attempt succeeded."""
        written, amount = self.dice.choice(self.recorded), self._amount()
        path, version = f"/usages/{written.id}", len(written.amounts)
        body = json.dumps({"amount": str(amount)}).encode()
        answer = self.send_until_answered(Request("PATCH", path, body, {"If-Match": f'"{version}"'}), 200, 412)
        if answer.status == 412:
            answer = self.read(path)
        if answer.status == 200:
            found = answer.json
            written.amounts.append(amount)
            written.answer = found
            if (found["amount"], found["version"]) != (amount, version + 1):
                self.history.unexpected.append(f"{written.note}: corrected to {amount}, and then {found}")

    def delete(self) -> None:
        """DELETE. 404 to a retry means that the first attempt succeeded."""
        written = self.recorded.pop(self.dice.randrange(len(self.recorded)))
        answer = self.send_until_answered(Request("DELETE", f"/usages/{written.id}"), 204, 404)
        written.is_deleted = answer.status in (204, 404)


class Importer(Client):
    """A client that imports files: with an idempotency key and retries, or once without; then it is atomic."""

    def act(self) -> None:
        file = File(self.next_name(), self.dice.randrange(300, 1500))
        self.history.files[file.name] = file
        self.history.count_importing(1)
        try:
            self._send(file, has_key=self.dice.random() < 0.6, is_queued=self.dice.random() < 0.5)
        finally:
            self.history.count_importing(-1)

    def _send(self, file: File, has_key: bool, is_queued: bool) -> None:
        headers = {"Content-Type": "text/csv"}
        headers |= {"Prefer": "respond-async"} if is_queued else {}
        headers |= {"Idempotency-Key": file.name} if has_key else {}
        request = Request("POST", "/imports?usage_type_id=100", file.content, headers)
        success = 202 if is_queued else 201
        answer = self.send_until_answered(request, success, busy=409) if has_key else self.send_once(request, success)
        if answer.status != success:
            return
        file.is_acknowledged, file.import_id = True, answer.json["id"]
        if has_key:
            self.history.replayable.append((request, answer.body))
        deadline = time.monotonic() + RETRY_LIMIT_SECONDS
        while is_queued and self.read(f"/imports/{file.import_id}").json["status"] in ("queued", "running"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"Import {file.import_id} is not completed within {RETRY_LIMIT_SECONDS} seconds.")
            time.sleep(0.1)

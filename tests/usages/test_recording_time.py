"""The time of recording: that of the database, and final for every answer `as_of` it."""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from carbonapi.rest.fields import format_datetime
from carbonapi.usages import recording_time
from tests.support import factories
from tests.support.client import Client

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}


def as_of_now():
    return f"as_of={quote(format_datetime(dt.datetime.now(dt.UTC)))}"


def test_recorded_at_is_the_clock_of_the_database(as_member, monkeypatch):
    monkeypatch.setattr("carbonapi.rest.fields.now", lambda: factories.at("2020-01-01"))
    before = format_datetime(dt.datetime.now(dt.UTC))

    usage = as_member.post("/usages", json=USAGE).json

    assert before < usage["recorded_at"] < format_datetime(dt.datetime.now(dt.UTC))


def test_answers_as_of_now_are_final(committing):
    """Writers record and correct usages all the time, and the answer about a moment is asked for in that moment."""
    app, tokens, stop = committing.http.application, committing.tokens, threading.Event()

    def write(number):
        client = Client(app, tokens)
        while not stop.is_set():
            recorded = client.post("/usages", json=USAGE)
            if recorded.status_code == 201:  # A slow machine may answer 503.
                client.patch(recorded.headers["Location"], json={"amount": number + 2})

    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        asked = []
        try:
            for _ in range(25):
                query = f"/emissions/summary?{as_of_now()}"
                if (answer := committing.get(query)).status_code == 200:
                    asked.append((query, answer))
        finally:
            stop.set()
        for writer in writers:
            writer.result()

    assert len({answer.json["co2e_kg"] for _, answer in asked}) > 10
    for query, answer in asked:
        assert committing.get(query).json == answer.json


def test_unsettled_time_is_unavailable(committing, hold_lock, monkeypatch):
    monkeypatch.setattr(recording_time, "WAIT_SECONDS", 0.1)
    settled = as_of_now()
    hold_lock(committing.user.organization_id)

    answer = committing.get(f"/usages?{as_of_now()}")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert "may still be recorded" in answer.json["detail"]
    assert committing.get(f"/usages?{settled}").status_code == 200


def test_writer_of_another_organization_delays_no_reader(committing, hold_lock, monkeypatch):
    monkeypatch.setattr(recording_time, "WAIT_SECONDS", 0.1)
    hold_lock(committing.user.organization_id + 1)

    assert committing.get(f"/usages?{as_of_now()}").status_code == 200


def test_question_waits_for_a_writer_and_blocks_none(committing, hold_lock):
    writer = hold_lock(committing.user.organization_id)
    query = f"/usages?{as_of_now()}"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(committing.get, query)
        recorded = committing.post("/usages", json=USAGE)
        assert (recorded.status_code, waiting.done()) == (201, False)
        writer.commit()

        assert (waiting.result().status_code, waiting.result().json) == (200, [])

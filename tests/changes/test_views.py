"""The feed of changes: complete, in order, and each change once."""

import json
import random
import re
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from tests.support.apps import SECRET_KEY
from tests.support.client import Client
from tests.support.servers import serving

USAGE = {"usage_type_id": 100, "usage_at": "2024-01-01T00:00:00Z", "amount": 1}


def follow(client, cursor="", page_size=3):
    """Return the changes after a cursor, and the cursor at the end."""
    changes = []
    while True:
        answer = client.get(f"/changes?page_size={page_size}&cursor={cursor}")
        assert answer.status_code == 200, answer.json
        cursor = re.search(r'[?&]cursor=([^&>]*)[^>]*>; rel="next"', answer.headers["Link"])[1]
        changes += answer.json
        if len(answer.json) < page_size:
            return changes, cursor


def keys(changes):
    return [(change["kind"], change["usage_id"], change["version"]) for change in changes]


def test_feed_has_every_version_and_deletion_in_order(as_manager):
    first, second = (as_manager.post("/usages", json=USAGE).json for _ in range(2))
    corrected = as_manager.patch(f"/usages/{first['id']}", json={"amount": 2}).json
    as_manager.delete(f"/usages/{second['id']}")

    changes, _ = follow(as_manager)

    assert keys(changes) == [
        ("recorded", first["id"], 1),
        ("recorded", second["id"], 1),
        ("corrected", first["id"], 2),
        ("deleted", second["id"], 1),
    ]
    assert [change["usage"] for change in changes] == [first, second, corrected, None]
    assert [change["changed_at"] for change in changes[:3]] == [
        usage["recorded_at"] for usage in (first, second, corrected)
    ]
    assert changes == sorted(changes, key=lambda change: change["changed_at"])


def test_reader_continues_after_the_last_change(as_manager):
    as_manager.post("/usages", json=USAGE)
    seen, cursor = follow(as_manager)
    assert (len(seen), follow(as_manager, cursor)) == (1, ([], cursor))

    usage = as_manager.post("/usages", json=USAGE).json

    assert keys(follow(as_manager, cursor)[0]) == [("recorded", usage["id"], 1)]


def test_import_has_one_change_for_each_usage(as_manager):
    lines = "".join(f"2024-01-01T{hour:02}:00:00Z,1\n" for hour in range(24))
    path = "/imports?usage_type_id=100"
    import_id = as_manager.post(path, data=f"usage_at,amount\n{lines}", content_type="text/csv").json["id"]
    as_manager.post(f"/imports/{import_id}/revert", json={"reason": "It was wrong."})

    kinds = [change["kind"] for change in follow(as_manager, page_size=5)[0]]

    assert kinds == ["recorded"] * 24 + ["deleted"] * 24


def test_restatement_is_a_correction_of_each_usage(as_manager):
    as_manager.post("/usages", json=USAGE)
    factor = {"factor": 2, "valid_from": "2020-01-01T00:00:00Z", "source": "Our supplier"}
    assert as_manager.post("/usage-types/100/factors", json=factor).status_code == 201
    restatement = {"usage_type_ids": [100], "mode": "apply", "reason": "A new factor"}
    restatement_id = as_manager.post("/restatements", json=restatement).json["id"]

    last = follow(as_manager)[0][-1]

    assert (last["kind"], last["version"], last["usage"]["restatement_id"]) == ("corrected", 2, restatement_id)


def test_members_see_changes_of_their_own_usages(as_manager, as_member, as_other_manager):
    own = as_member.post("/usages", json=USAGE).json["id"]
    as_manager.post("/usages", json=USAGE)
    as_manager.patch(f"/usages/{own}", json={"user_id": as_manager.user.id})

    assert keys(follow(as_member)[0]) == [("recorded", own, 1), ("deleted", own, 1)]
    assert len(follow(as_manager)[0]) == 3
    assert follow(as_other_manager)[0] == []


@pytest.mark.parametrize("query", ["cursor=abc", "page_size=0", "wait=31", "page=1"])
def test_invalid_position_is_422(as_manager, query):
    answer = as_manager.get(f"/changes?{query}")

    assert (answer.status_code, list(answer.json["errors"]["query"])) == (422, [query.split("=")[0]])


def test_cursor_of_another_page_size_is_valid(as_manager):
    for _ in range(3):
        as_manager.post("/usages", json=USAGE)
    _, cursor = follow(as_manager, page_size=2)

    assert as_manager.get(f"/changes?cursor={cursor}&page_size=9&wait=0").json == []


@pytest.fixture
def plans(app):
    """The plans of the statements that were sent, as PostgreSQL explains them."""
    explained = []

    def explain(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("WITH usages AS"):
            with cursor.connection.cursor() as another:
                another.execute(b"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + cursor.query)
                explained.append("\n".join(line for (line,) in another.fetchall()))

    sa.event.listen(sa.Engine, "after_cursor_execute", explain)
    yield explained
    sa.event.remove(sa.Engine, "after_cursor_execute", explain)


def test_page_reads_indexes_by_time_of_recording(as_manager, many_usages, plans):
    assert len(as_manager.get("/changes?page_size=10").json) == 10

    (plan,) = plans
    for index in ("ix_usages_by_recording", "ix_usage_versions_by_recording", "ix_usage_versions_by_deletion"):
        assert f"using {index}" in plan, plan
    assert "Seq Scan" not in plan


def test_no_change_is_missed_or_repeated_under_writes(committing):
    app, tokens, stop = committing.http.application, committing.tokens, threading.Event()
    made: list[tuple[str, int, int]] = []

    def write(number):
        client, dice = Client(app, tokens), random.Random(number)
        while not stop.is_set():
            recorded = client.post("/usages", json=USAGE)
            if recorded.status_code != 201:  # A slow machine may answer 503.
                continue
            usage_id, version = recorded.json["id"], 1
            made.append(("recorded", usage_id, version))
            if dice.random() < 0.5 and client.patch(f"/usages/{usage_id}", json={"amount": 2}).status_code == 200:
                made.append(("corrected", usage_id, version := 2))
            if dice.random() < 0.5 and client.delete(f"/usages/{usage_id}").status_code == 204:
                made.append(("deleted", usage_id, version))

    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        seen, cursor = [], ""
        try:
            for number in range(1000):
                if number >= 30 and len(made) > 60:  # Writers may be slower than the reader.
                    break
                changes, cursor = follow(committing, cursor, page_size=20)
                seen += changes
        finally:
            stop.set()
        for writer in writers:
            writer.result()
    seen += follow(committing, cursor)[0]

    assert len(made) > 60
    assert sorted(keys(seen)) == sorted(made)
    assert seen == sorted(seen, key=lambda change: change["changed_at"])


def test_unsettled_changes_are_not_shown_yet(committing, hold_lock):
    writer = hold_lock(committing.user.organization_id)
    usage_id = committing.post("/usages", json=USAGE).json["id"]
    assert follow(committing)[0] == []

    writer.commit()

    assert keys(follow(committing)[0]) == [("recorded", usage_id, 1)]


def test_page_reads_no_corrected_versions_to_find_deletions(as_manager, plans):
    """A restatement supersedes many versions, which each page after it would read."""
    times = "".join(f"2024-01-01T00:{minute:02}:00Z,1\n" for minute in range(60))
    as_manager.post("/imports?usage_type_id=100", data=f"usage_at,amount\n{times}", content_type="text/csv")
    _, cursor = follow(as_manager, page_size=100)
    factor = {"factor": 2, "valid_from": "2020-01-01T00:00:00Z", "source": "Our supplier"}
    as_manager.post("/usage-types/100/factors", json=factor)
    as_manager.post("/restatements", json={"usage_type_ids": [100], "mode": "apply", "reason": "A new factor"})
    plans.clear()

    assert len(as_manager.get(f"/changes?page_size=5&cursor={cursor}").json) == 5

    (plan,) = plans
    assert "Rows Removed by Filter" not in plan, plan


def test_waiting_reader_gets_the_next_change(fresh_database_url, committing):
    with serving(fresh_database_url, SECRET_KEY) as url, ThreadPoolExecutor() as pool:
        headers = {"Authorization": f"Bearer {committing.tokens['access_token']}"}

        def read(seconds):
            began = time.monotonic()
            request = urllib.request.Request(f"{url}/api/v1/changes?wait={seconds}", headers=headers)
            with urllib.request.urlopen(request, timeout=40) as answer:
                return json.load(answer), time.monotonic() - began

        changes, waited = read(1)
        assert changes == [] and waited >= 1
        # More readers than the service has slots: they must not keep others from writing.
        waiting = [pool.submit(read, 30) for _ in range(12)]
        usage_id = committing.post("/usages", json=USAGE).json["id"]
        for reader in waiting:
            changes, waited = reader.result()
            assert keys(changes) == [("recorded", usage_id, 1)] and waited < 25

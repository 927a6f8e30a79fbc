"""Password hashing: concurrent hashes are limited, and other requests do not wait for them."""

import threading
import time
import unicodedata

import pytest

from carbonapi import create_app
from carbonapi.accounts import passwords
from carbonapi.settings import available_cores
from tests.support import factories
from tests.support.apps import settings_for
from tests.support.client import Client
from tests.support.logins import log_in
from tests.support.threads import at_once


class CountingHasher:
    """A hasher that counts its concurrent calls."""

    def __init__(self):
        self.lock, self.now, self.most, self.number = threading.Lock(), 0, 0, 0

    def verify(self, password_hash, password):
        with self.lock:
            self.now += 1
            self.number += 1
            self.most = max(self.most, self.now)
        try:
            time.sleep(0.05)
            return True
        finally:
            with self.lock:
                self.now -= 1


def test_hash_without_a_user_takes_as_long_as_others():
    assert not passwords.HASHER.check_needs_rehash(passwords.DUMMY_HASH)


@pytest.mark.parametrize(("workers", "at_most"), [(None, available_cores()), (1, available_cores()), (1000, 1)])
def test_concurrent_hashes_are_limited_to_the_cores(fresh_database_url, monkeypatch, workers, at_most):
    hasher = CountingHasher()
    monkeypatch.setattr(passwords, "HASHER", hasher)
    client = Client(create_app(settings_for(fresh_database_url, WORKERS=workers, RATE_LIMIT_LOGIN_PER_ACCOUNT=None)))

    answers = at_once(8, lambda place: log_in(client))

    assert [answer.status_code for answer in answers] == [401] * 8
    assert (hasher.number, hasher.most) == (8, at_most)


def test_hashing_queue_times_out_without_holding_connections(committing):
    app = committing.http.application
    slots = app.extensions["carbonapi"].hashing_slots
    while slots.acquire(blocking=False):
        pass
    credentials = {"email": "ada@example.org", "password": factories.PASSWORD}
    new = {"email": "ada@example.org", "password": factories.PASSWORD, "name": "Ada"}
    paths = [("/auth/login", credentials), ("/auth/register", new)] * 6  # More than the connections of the pool.
    begun_at = time.monotonic()
    answers = []

    def ask(place):
        path, body = paths[place % len(paths)]
        answers.append(Client(app).post(path, json=body))

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(12)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert committing.get("/usages").status_code == 200
    assert time.monotonic() - begun_at < 2  # All are still waiting.
    for thread in threads:
        thread.join()

    assert [answer.status_code for answer in answers] == [503] * 12
    assert {answer.headers["Retry-After"] for answer in answers} == {"2"}
    assert answers[0].json["detail"] == "Too many passwords are being checked at once. Try again shortly."
    for _ in range(available_cores()):
        slots.release()
    assert Client(app).post("/auth/register", json=new).status_code == 201
    assert Client(app).post("/auth/login", json=credentials).status_code == 200


COMPOSED = unicodedata.normalize("NFC", "Wörter ohne Zusämmenhang ﬁnden")


def test_password_is_the_same_in_every_unicode_form(stranger, as_member):
    new = {"email": "ada@example.org", "password": COMPOSED, "name": "Ada"}
    assert stranger.post("/auth/register", json=new).status_code == 201

    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        password = unicodedata.normalize(form, COMPOSED)
        assert log_in(stranger, {"email": "ada@example.org", "password": password}).status_code == 200, form
    other = {"email": "ada@example.org", "password": COMPOSED.replace("ö", "o")}
    assert log_in(stranger, other).status_code == 401


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_hash_of_a_password_as_typed_is_still_valid(stranger, organization, form):
    typed = unicodedata.normalize(form, COMPOSED)
    user = factories.user(organization)
    user.password_hash = passwords.HASHER.hash(typed)
    factories.add(user)

    assert log_in(stranger, {"email": user.email, "password": typed}).status_code == 200


def test_length_counts_composed_characters(stranger):
    decomposed = unicodedata.normalize("NFD", "äöüßéèêñ")
    assert len(decomposed) >= passwords.MIN_LENGTH

    answer = stranger.post("/auth/register", json={"email": "a@example.org", "password": decomposed, "name": "Ada"})

    assert (answer.status_code, answer.json["errors"]["json"]["password"]) == (
        422,
        ["Must have at least 12 characters."],
    )

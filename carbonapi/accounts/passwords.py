"""Passwords: which are good enough, and how they are kept."""

import contextlib
import threading
from collections.abc import Iterator

import argon2
import zxcvbn

from ..auth import state
from ..errors import Unavailable, ValidationFailed
from ..settings import available_cores

MAX_LENGTH = 128
MIN_LENGTH = 12
# OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane.
HASHER = argon2.PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)
# zxcvbn refuses more characters than this; what follows them cannot make a password easier to guess.
_ZXCVBN_LONGEST = 72
_GUESSABLE = 10**6  # zxcvbn calls fewer guesses "very guessable".

TURN_SECONDS = 2  # For which a password waits until others have been hashed.
# Checked when there is no such user, so that a wrong e-mail takes as long as a wrong password.
_NOBODYS_HASH = HASHER.hash("the password of nobody at all")


def create_slots(workers: int | None) -> threading.BoundedSemaphore:
    """Return a slot for each concurrent password hash: this worker's share of the cores."""
    return threading.BoundedSemaphore(max(1, available_cores() // (workers or 1)))


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """A core for this block. Raises Unavailable if others need them all for longer than one may wait."""
    turns = state().hashing_slots
    if not turns.acquire(timeout=TURN_SECONDS):
        raise Unavailable("Too many passwords are being checked at once. Try again shortly.")
    try:
        yield
    finally:
        turns.release()


def hash_password(password: str) -> str:
    """The hash to keep. Raises Unavailable while too many others are hashed."""
    with _turn():
        return HASHER.hash(password)


def password_matches(password: str, password_hash: str | None) -> bool:
    """Whether the password is the one that was hashed. Takes the same time when there is no hash.

    Raises Unavailable while too many others are hashed.
    """
    with _turn():
        try:
            return HASHER.verify(password_hash or _NOBODYS_HASH, password) and password_hash is not None
        except argon2.exceptions.VerifyMismatchError:
            return False


def check_password_strength(password: str, email: str | None, field: str) -> None:
    """Raise Invalid that names the field for a password that is common, or that holds the e-mail address."""
    local_part = (email or "").partition("@")[0].lower()
    if email and (email.lower() in password.lower() or (len(local_part) > 3 and local_part in password.lower())):
        raise ValidationFailed("Must not contain the e-mail address.", field=field)
    if zxcvbn.zxcvbn(password[:_ZXCVBN_LONGEST])["guesses"] < _GUESSABLE:
        fault = "Too easy to guess: it is common, or a simple pattern. Take several unrelated words."
        raise ValidationFailed(fault, field=field)

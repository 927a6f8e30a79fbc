"""Password strength and hashing."""

import contextlib
import threading
import unicodedata
from collections.abc import Iterator

import argon2

from ..auth import state
from ..errors import Unavailable, ValidationFailed
from ..settings import available_cores

MAX_LENGTH = 128
MIN_LENGTH = 12
# OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane.
HASHER = argon2.PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)
# zxcvbn rejects longer text. Further characters cannot make a password easier to guess.
_ZXCVBN_MAX_LENGTH = 72
_MIN_GUESSES = 10**6  # zxcvbn calls fewer guesses "very guessable".

SLOT_TIMEOUT_SECONDS = 2
# Verified if there is no user, so that an unknown e-mail address takes as long as a wrong password.
DUMMY_HASH = "$argon2id$v=19$m=19456,t=2,p=1$lLGYPdCIJULBtcBwx3etwA$ovasPD0Oo0Lv5W1QjRiBhki7Flha7Bm7xejoIYiVkQY"


def create_slots(workers: int | None) -> threading.BoundedSemaphore:
    """Return a slot for each concurrent password hash: this worker's share of the cores."""
    return threading.BoundedSemaphore(max(1, available_cores() // (workers or 1)))


@contextlib.contextmanager
def _hashing_slot() -> Iterator[None]:
    """Hold a slot during the block. Raise Unavailable if none becomes free in time."""
    slots = state().hashing_slots
    if not slots.acquire(timeout=SLOT_TIMEOUT_SECONDS):
        raise Unavailable("Too many passwords are being checked at once. Try again shortly.")
    try:
        yield
    finally:
        slots.release()


def hash_password(password: str) -> str:
    """Return the hash to store. Raise Unavailable while too many others are being computed."""
    with _hashing_slot():
        return HASHER.hash(_normalize(password))


def password_matches(password: str, password_hash: str | None) -> bool:
    """Return whether the password has this hash. Takes the same time without a hash.

    A hash of the password as it was typed, without normalization, is accepted too.
    Raise Unavailable while too many other hashes are being computed.
    """
    with _hashing_slot():
        forms = dict.fromkeys((_normalize(password), password))
        return any(_verifies(form, password_hash or DUMMY_HASH) for form in forms) and password_hash is not None


def _verifies(password: str, password_hash: str) -> bool:
    try:
        return HASHER.verify(password_hash, password)
    except argon2.exceptions.VerifyMismatchError:
        return False


def _normalize(password: str) -> str:
    """Return the same text for all ways to type it: keyboards compose accents differently (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)


def check_password_strength(password: str, email: str | None, field: str) -> None:
    """Raise ValidationFailed for a password that is short, easy to guess or contains the e-mail address."""
    password = _normalize(password)
    if len(password) < MIN_LENGTH:  # Composed characters are shorter than the text that the schema has checked.
        raise ValidationFailed(f"Must have at least {MIN_LENGTH} characters.", field=field)
    local_part = (email or "").partition("@")[0].lower()
    if email and (email.lower() in password.lower() or (len(local_part) > 3 and local_part in password.lower())):
        raise ValidationFailed("Must not contain the e-mail address.", field=field)
    import zxcvbn  # Reading its word lists would delay every start.

    if zxcvbn.zxcvbn(password[:_ZXCVBN_MAX_LENGTH])["guesses"] < _MIN_GUESSES:
        message = "Too easy to guess: it is common or follows a simple pattern. Use several unrelated words."
        raise ValidationFailed(message, field=field)

"""Passwords: which are good enough, and how they are kept."""

import argon2
import zxcvbn

from ..errors import Invalid

LONGEST = 128
SHORTEST = 12
# OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane.
_HASHER = argon2.PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)
# zxcvbn refuses more characters than this; what follows them cannot make a password easier to guess.
_ZXCVBN_LONGEST = 72
_GUESSABLE = 10**6  # zxcvbn calls fewer guesses "very guessable".

hash_password = _HASHER.hash
# Checked when there is no such user, so that a wrong e-mail takes as long as a wrong password.
_NOBODYS_HASH = _HASHER.hash("the password of nobody at all")


def password_matches(password: str, password_hash: str | None) -> bool:
    """Whether the password is the one that was hashed. Takes the same time when there is no hash."""
    try:
        return _HASHER.verify(password_hash or _NOBODYS_HASH, password) and password_hash is not None
    except argon2.exceptions.VerifyMismatchError:
        return False


def refuse_weak(password: str, email: str | None, field: str) -> None:
    """Raise Invalid that names the field for a password that is common, or that holds the e-mail address."""
    local_part = (email or "").partition("@")[0].lower()
    if email and (email.lower() in password.lower() or (len(local_part) > 3 and local_part in password.lower())):
        raise Invalid("Must not contain the e-mail address.", field=field)
    if zxcvbn.zxcvbn(password[:_ZXCVBN_LONGEST])["guesses"] < _GUESSABLE:
        fault = "Too easy to guess: it is common, or a simple pattern. Take several unrelated words."
        raise Invalid(fault, field=field)

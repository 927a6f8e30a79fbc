"""Secrets that are shown once: random, and with the name of the row that keeps their hash.

As text: what it is for, the organization, the row, 32 random bytes, and a checksum. So a secret is looked up by a key
that begins with the organization, and what was mistyped or made up is refused without asking the database.
"""

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass

from ..rest.fields import MAX_ID

_NAMED = re.compile(r"([a-z-]+)_([1-9][0-9]{0,18})_([1-9][0-9]{0,18})_([A-Za-z0-9_-]{43})([0-9a-f]{8})")


@dataclass(frozen=True)
class OpaqueToken:
    """A secret as its text tells it."""

    purpose: str
    organization_id: int
    id: int
    secret: str

    def __str__(self) -> str:
        text = f"{self.purpose}_{self.organization_id}_{self.id}_{self.secret}"
        return text + _checksum(text)


def new_token() -> str:
    """32 random bytes as 43 characters."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> bytes:
    """What is kept of a secret. No salt: of 32 random bytes nobody has a table."""
    return hashlib.sha256(secret.encode()).digest()


def parse_token(purpose: str, text: str) -> OpaqueToken | None:
    """What the text names, or None if it is nothing that was ever made for this purpose."""
    match = _NAMED.fullmatch(text)
    if match is None or match[1] != purpose or _checksum(text[:-8]) != match[5]:
        return None
    organization_id, id_ = int(match[2]), int(match[3])
    return OpaqueToken(purpose, organization_id, id_, match[4]) if max(organization_id, id_) <= MAX_ID else None


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"

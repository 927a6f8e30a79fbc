"""Random secrets that are shown once, such as API keys.

The text of a token contains its purpose, the organization, the id of the row with its hash, 32 random bytes, and a
checksum. So a token is found by primary key, and a mistyped one is rejected without a query.
"""

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass

from ..rest.fields import MAX_ID

_PATTERN = re.compile(r"([a-z-]+)_([1-9][0-9]{0,18})_([1-9][0-9]{0,18})_([A-Za-z0-9_-]{43})([0-9a-f]{8})")


@dataclass(frozen=True)
class OpaqueToken:
    """The parts of a token."""

    purpose: str
    organization_id: int
    id: int
    secret: str

    def __str__(self) -> str:
        text = f"{self.purpose}_{self.organization_id}_{self.id}_{self.secret}"
        return text + _checksum(text)


def new_token() -> str:
    """Return 32 random bytes as 43 characters."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> bytes:
    """Return the hash to store. It needs no salt: no table of hashes covers 32 random bytes."""
    return hashlib.sha256(secret.encode()).digest()


def parse_token(purpose: str, text: str) -> OpaqueToken | None:
    """Return the parts of a token; None if the text is not a token for this purpose."""
    match = _PATTERN.fullmatch(text)
    if match is None or match[1] != purpose or _checksum(text[:-8]) != match[5]:
        return None
    organization_id, id_ = int(match[2]), int(match[3])
    return OpaqueToken(purpose, organization_id, id_, match[4]) if max(organization_id, id_) <= MAX_ID else None


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"

"""Conditional requests (RFC 9110, section 13): an ETag that is the row's version.

Proxies that compress a response make its ETag weak: `W/"5"`. The version is the same, so both forms are accepted.
"""

import re
from typing import Any, TypeVar

from flask import request

from ..auth import display_name, get_visible
from ..db import Model
from ..errors import PreconditionFailed

T = TypeVar("T", bound=Model)
_TAG = re.compile(r'(?:W/)?"([^"]*)"')


def lock_for_update(model: type[T], id_: int) -> T:
    """Return the visible row with this id, locked until the commit.

    With the lock, only one of several writers with the same If-Match succeeds.
    Raise NotFound, or PreconditionFailed if If-Match has another version.
    """
    row = get_visible(model, id_, lock=True)
    check_if_match(row)
    return row


def check_if_match(row: Any) -> None:
    """Raise PreconditionFailed if the request's If-Match does not have the version of `row`."""
    if not _matches(row, request.headers.get("If-Match", "*")):
        raise PreconditionFailed(
            f"This {display_name(type(row))} has changed: it is at version {row.etag} now. Read it again."
        )


def matches_if_none_match(row: Any) -> bool:
    """Return whether the client already has this version."""
    return _matches(row, request.headers.get("If-None-Match", ""))


def _matches(row: Any, tags: str) -> bool:
    return tags.strip() == "*" or row.etag in _TAG.findall(tags)

"""Conditional requests (RFC 9110, section 13): a strong ETag from the row's version."""

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
    if_match = request.headers.get("If-Match")
    # If-Match uses strong comparison: a weak tag never matches.
    tags = ["*"] if if_match is None else [tag.strip() for tag in if_match.split(",")]
    if tags != ["*"] and f'"{row.etag}"' not in tags:
        raise PreconditionFailed(
            f"This {display_name(type(row))} has changed: it is at version {row.etag} now. Read it again."
        )


def matches_if_none_match(row: Any) -> bool:
    """Return whether the client already has this version. If-None-Match uses weak comparison."""
    if_none_match = request.headers.get("If-None-Match")
    return if_none_match is not None and (if_none_match.strip() == "*" or row.etag in _TAG.findall(if_none_match))

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
    """The visible row with this id, to be changed by this request alone.

    It is locked until the commit, so of several writers with the same If-Match exactly one finds it fresh.
    Raises NotFound, and Stale when If-Match names another version.
    """
    row = get_visible(model, id_, lock=True)
    check_if_match(row)
    return row


def check_if_match(row: Any) -> None:
    """Raise Stale if the request's If-Match does not name the version of `row`."""
    wanted = request.headers.get("If-Match")
    # A weak tag never matches here: If-Match compares strongly.
    if wanted is not None and wanted.strip() != "*" and f'"{row.etag}"' not in _listed(wanted):
        raise PreconditionFailed(
            f"This {display_name(type(row))} has changed: it is at version {row.etag} now. Read it again."
        )


def matches_if_none_match(row: Any) -> bool:
    """Whether the caller has this very representation already: If-None-Match compares weakly."""
    seen = request.headers.get("If-None-Match")
    return seen is not None and (seen.strip() == "*" or row.etag in _TAG.findall(seen))


def _listed(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",")]

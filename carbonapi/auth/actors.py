"""The actor: the user on whose behalf the code runs."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from flask import g, has_request_context, request

from ..db import Viewer, row_security
from ..errors import Unauthenticated

ROLES = ("admin", "manager", "member", "auditor")
EVERYONE = frozenset(ROLES)
WRITERS = frozenset({"admin", "manager", "member"})
MANAGERS = frozenset({"admin", "manager"})
REVIEWERS = frozenset({"admin", "manager", "auditor"})
ADMINS = frozenset({"admin"})


@dataclass(frozen=True, slots=True)
class Actor(Viewer):
    """An authenticated user."""

    id: int
    organization_id: int
    timezone: str
    session_id: int | None = None
    api_key_id: int | None = None
    scope: str = "write"  # Of the API key: `read` or `write`.

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a change. A command has no address and no request id, and an operator is not an actor."""

    actor: Actor | None
    address: str | None
    request_id: str | None


_ACTOR: ContextVar[Actor | None] = ContextVar("actor", default=None)
# The address and the id of the request that a background job continues.
_REQUEST: ContextVar[tuple[str | None, str | None]] = ContextVar("request", default=(None, None))


@contextlib.contextmanager
def acting_as(actor: Actor) -> Iterator[Actor]:
    """Act as `actor` within the block. Unless they are an admin, only the rows of their organization are visible."""
    if actor.is_admin:
        scope = row_security.for_all_organizations()
    else:
        scope = row_security.for_organization(actor.organization_id)
    with row_security.during_block(_ACTOR, actor), scope:
        yield actor


@contextlib.contextmanager
def acting_on_behalf_of(actor: Actor, address: str | None, request_id: str | None) -> Iterator[Actor]:
    """Act as `actor` within the block, for a request that has already been answered."""
    with row_security.during_block(_REQUEST, (address, request_id)), acting_as(actor):
        yield actor


def current_actor() -> Actor:
    """Return the actor. Raise Unauthenticated without one, so that a view without its decorator shows nothing."""
    actor = _ACTOR.get()
    if actor is None:
        raise Unauthenticated("Log in first: send `Authorization: Bearer <access token>`.")
    return actor


def request_origin() -> Origin:
    """Return the actor, if any, and the request that they sent."""
    actor = _ACTOR.get()
    user = actor if actor is not None and actor.id else None  # An operator has the id 0.
    if has_request_context():
        return Origin(user, request.remote_addr, g.get("request_id"))
    return Origin(user, *_REQUEST.get())

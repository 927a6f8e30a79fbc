"""Who is acting."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from flask import g, has_request_context, request

from ..db import row_security
from ..errors import Unauthenticated

ROLES = ("admin", "manager", "member", "auditor")

EVERYONE = frozenset(ROLES)

WRITERS = frozenset({"admin", "manager", "member"})

MANAGERS = frozenset({"admin", "manager"})

REVIEWERS = frozenset({"admin", "manager", "auditor"})

ADMINS = frozenset({"admin"})


@dataclass(frozen=True, slots=True)
class Actor:
    """A user who is signed in, as far as the rules of access need to know them."""

    id: int
    organization_id: int
    role: str
    timezone: str
    session_id: int | None = None
    api_key_id: int | None = None
    scope: str = "write"  # Of the API key: with `read` it only reads.

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a change comes from. On the command line there is no request, and nobody in particular acts."""

    actor: Actor | None
    address: str | None
    request_id: str | None


_ACTOR: ContextVar[Actor | None] = ContextVar("actor", default=None)

_ASKED: ContextVar[tuple[str | None, str | None] | None] = ContextVar("asked", default=None)


@contextlib.contextmanager
def acting_as(actor: Actor) -> Iterator[Actor]:
    """Act as `actor` within the block, and see the rows of their organization alone unless they are an admin."""
    token = _ACTOR.set(actor)
    try:
        with (
            row_security.for_all_organizations()
            if actor.is_admin
            else row_security.for_organization(actor.organization_id)
        ):
            yield actor
    finally:
        _ACTOR.reset(token)


@contextlib.contextmanager
def acting_on_behalf_of(actor: Actor, address: str | None, request_id: str | None) -> Iterator[Actor]:
    """Act as `actor` within the block, as a request has asked for that was answered before."""
    token = _ASKED.set((address, request_id))
    try:
        with acting_as(actor):
            yield actor
    finally:
        _ASKED.reset(token)


def current_actor() -> Actor:
    """Who is acting. Raises NotSignedIn without one: a view that forgot its decorator shows nothing."""
    actor = _ACTOR.get()
    if actor is None:
        raise Unauthenticated("Sign in first: send `Authorization: Bearer <access token>`.")
    return actor


def request_origin() -> Origin:
    """Who is acting, if anybody is, and which request has asked for it."""
    actor = _ACTOR.get()
    someone = actor if actor is not None and actor.id else None  # An operator has no id.
    if has_request_context():
        return Origin(someone, request.remote_addr, g.get("request_id"))
    asked = _ASKED.get()
    return Origin(someone, *(asked or (None, None)))

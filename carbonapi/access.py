"""Who is acting, and which rows they may see."""

import contextlib
import datetime as dt
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jwt
import sqlalchemy as sa
from flask import Flask, current_app, g, has_request_context, request
from flask_jwt_extended import JWTManager

from . import tenancy
from .db import Model, db
from .errors import Invalid, NotAllowed, NotFound, NotSignedIn

ROLES = ("admin", "manager", "member", "auditor")
EVERYONE = frozenset(ROLES)
WRITERS = frozenset({"admin", "manager", "member"})
MANAGERS = frozenset({"admin", "manager"})
OVERSEERS = frozenset({"admin", "manager", "auditor"})
ADMINS = frozenset({"admin"})

# `sid` is the session, `org` its organization.
REQUIRED_CLAIMS = ["exp", "iat", "nbf", "sub", "jti", "aud", "iss", "type", "sid", "org"]

MOST_REMEMBERED = 10_000  # Sessions and API keys, and tokens, of which a worker remembers what it found.
KEY_PURPOSE = "carbonapi"  # An API key begins with it, as no JSON Web Token does.

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=Model)
Narrow = Callable[[sa.Select[Any]], sa.Select[Any]]


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


Claims = Mapping[str, Any]
Name = tuple[int, int, str] | bytes  # Of a session: organization, id, and user. Of an API key: its digest.
FindActor = Callable[[Claims], Actor | None]
FindKeyActor = Callable[[str, dt.datetime], tuple[Actor, dt.datetime | None] | None]
_ACTOR: ContextVar[Actor | None] = ContextVar("actor", default=None)
_ASKED: ContextVar[tuple[str | None, str | None] | None] = ContextVar("asked", default=None)


def init_app(app: Flask, find_actor: FindActor, find_key_actor: FindKeyActor) -> None:
    """Give the app its tokens.

    find_actor: reads the actor of a token's claims from the database, or None if they may not act (any more).
    find_key_actor: does so for the text of an API key, at a moment; and tells until when it is good, if not for ever.
    """
    JWTManager(app)
    app.extensions["carbonapi-access"] = (find_actor, {}, find_key_actor)
    app.extensions["carbonapi-tokens"] = {}


@contextlib.contextmanager
def acting_as(actor: Actor) -> Iterator[Actor]:
    """Act as `actor` within the block, and see the rows of their organization alone unless they are an admin."""
    token = _ACTOR.set(actor)
    try:
        with tenancy.everywhere() if actor.is_admin else tenancy.within(actor.organization_id):
            yield actor
    finally:
        _ACTOR.reset(token)


@contextlib.contextmanager
def acting_for(actor: Actor, address: str | None, request_id: str | None) -> Iterator[Actor]:
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
        raise NotSignedIn("Sign in first: send `Authorization: Bearer <access token>`.")
    return actor


def origin() -> Origin:
    """Who is acting, if anybody is, and which request has asked for it."""
    actor = _ACTOR.get()
    someone = actor if actor is not None and actor.id else None  # An operator has no id.
    if has_request_context():
        return Origin(someone, request.remote_addr, g.get("request_id"))
    asked = _ASKED.get()
    return Origin(someone, *(asked or (None, None)))


def seen_by_actor(model: Any) -> tuple[sa.ColumnElement[bool], ...]:
    """The criteria of the rows of `model` that the actor may see."""
    return tuple(model.seen_by(viewer()))


def viewer() -> Actor:
    """The actor as statements have them: named by parameters, so that what is kept serves all of the same role."""
    names: Any = [sa.bindparam(name, value, sa.BigInteger) for name, value in viewer_values().items()]
    return replace(current_actor(), id=names[0], organization_id=names[1])


def viewer_values() -> dict[str, int]:
    """The values of the parameters that `viewer` names."""
    actor = current_actor()
    return {"viewer_id": actor.id, "viewer_organization_id": actor.organization_id}


def visible(model: type[M]) -> sa.Select[M]:
    """The rows of `model` that the actor may see, as a SELECT."""
    return sa.select(model).where(*seen_by_actor(model))


def fetch(model: type[M], id_: int, narrow: Narrow | None = None, *, lock: bool = False) -> M:
    """The visible row with this id among those that `narrow` leaves, locked until the commit if asked.

    Raises NotFound: somebody else's row and no row look the same.
    """
    statement = visible(model).where(_id(model) == id_)
    statement = narrow(statement) if narrow else statement
    row = db.session.scalar(statement.with_for_update(of=model) if lock else statement)
    if row is None:
        raise NotFound(f"There is no {noun(model)} {id_}.")
    return row


def named(model: type[M], id_: int, field: str, location: str = "json") -> M:
    """The visible row that a request names in a field of its body, or of its query.

    Raises Invalid that names the field: the request itself is at the right address, so it is not NotFound.
    """
    try:
        return fetch(model, id_)
    except NotFound as error:
        raise Invalid(str(error), {location: {field: [str(error)]}}) from None


def fetch_all(model: type[M], ids: list[int], *, lock: bool = False) -> list[M]:
    """The visible rows with these ids, in the order of their ids. Raises NotFound that names those missing."""
    statement = visible(model).where(_id(model).in_(ids)).order_by(_id(model))
    rows = db.session.scalars(statement.with_for_update(of=model) if lock else statement).all()
    missing = sorted(set(ids) - {_id(row) for row in rows})
    if missing:
        raise NotFound(f"There is no {noun(model)} {', '.join(map(str, missing))}. Nothing was changed.")
    return list(rows)


def _id(model: Any) -> Any:
    return model.id


def noun(model: Any) -> str:
    """What a caller calls a row of `model`: usage, usage type, user."""
    return str(model.__tablename__).removesuffix("s").replace("_", " ")


def signed_in(
    view: Callable[P, R], roles: frozenset[str] = EVERYONE, *, reads: bool = False, in_person: bool = False
) -> Callable[P, R]:
    """Let the view run as the bearer of an access token or an API key whose role is one of `roles`.

    reads: whether it writes nothing, so that a key of the scope `read` will do. in_person: whether no key will.
    """

    @wraps(view)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        actor = _bearer()
        if actor.api_key_id is not None and in_person:
            raise NotAllowed("An API key may not do this. Sign in with a password for it.")
        if actor.scope == "read" and not reads:
            raise NotAllowed("The scope of this API key, read, does not allow this. It takes a key of the scope write.")
        if actor.role not in roles:
            raise NotAllowed(f"Your role, {actor.role}, may not do this. It takes {' or '.join(sorted(roles))}.")
        g.actor = actor  # For the log, which tells of the request when nobody acts any more.
        with acting_as(actor):
            return view(*args, **kwargs)

    return wrapper


def token_claims(kind: str) -> Claims:
    """The claims of the request's bearer token, which must be of this kind: `access` or `refresh`.

    Raises NotSignedIn for no token and for one that is not wholly right. Asks no database.
    """
    return _claims_of(_bearer_token(kind), kind)


def _bearer_token(kind: str) -> str:
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if not scheme:
        raise NotSignedIn(f"Sign in first: send `Authorization: Bearer <{kind} token>`.")
    if scheme.lower() != "bearer":  # RFC 9110: the scheme is case-insensitive.
        raise NotSignedIn("Only `Authorization: Bearer` is understood here.")
    return token.strip()


def _claims_of(token: str, kind: str) -> Claims:
    config = current_app.config
    checked: dict[str, Claims] = current_app.extensions["carbonapi-tokens"]
    kept = checked.get(token)
    # What was signed stays signed: of a token that was good, only whether it has expired is asked again.
    if kept is not None and kind == "access" and time.time() < kept["exp"]:
        return kept
    try:
        # Flask-JWT-Extended's own decoding fills claims in that are missing; here they are required.
        claims: Claims = jwt.decode(
            token,
            config["JWT_SECRET_KEY"],
            [config["JWT_ALGORITHM"]],
            audience=config["JWT_DECODE_AUDIENCE"],
            issuer=config["JWT_DECODE_ISSUER"],
            options={"require": REQUIRED_CLAIMS},
        )
    except jwt.ExpiredSignatureError:
        raise NotSignedIn(f"The {kind} token has expired.") from None
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise NotSignedIn(f"This is not a valid {kind} token.") from None
    if claims["type"] != kind or not _names_a_session(claims):
        raise NotSignedIn(f"This is not a valid {kind} token.")
    if kind == "access":
        if len(checked) >= MOST_REMEMBERED:
            checked.clear()
        checked[token] = claims
    return claims


def _names_a_session(claims: Claims) -> bool:
    """Whether a user, a session and an organization can be what the claims say they are."""
    if re.fullmatch("[1-9][0-9]{0,18}", claims["sub"]) is None:
        return False
    return all(type(id_) is int and 0 < id_ < 2**63 for id_ in (int(claims["sub"]), claims["sid"], claims["org"]))


def known_caller(app: Flask, authorization: str) -> object | None:
    """Who sends an Authorization header that was found good before, as it stands. Checks nothing, and so costs nothing.

    Says nothing of what they may do: it tells callers apart.
    """
    token = authorization.partition(" ")[2].strip()
    if token.startswith(f"{KEY_PURPOSE}_"):
        digest = _digest(token)
        return digest if digest in app.extensions["carbonapi-access"][1] else None
    claims: Claims | None = app.extensions["carbonapi-tokens"].get(token)
    return None if claims is None else claims["sub"]


def _digest(token: str) -> bytes:
    """By which a key is remembered: the memory of a worker need not hold what opens doors."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _bearer() -> Actor:
    """The actor whose access token or API key the request brings. Raises NotSignedIn if they may not act (any more)."""
    find_actor: FindActor
    find_key_actor: FindKeyActor
    find_actor, _, find_key_actor = current_app.extensions["carbonapi-access"]
    token = _bearer_token("access")
    if token.startswith(f"{KEY_PURPOSE}_"):
        actor = _remembered(_digest(token), lambda: find_key_actor(token, dt.datetime.now(dt.UTC)))
        if actor is None:
            raise NotSignedIn("This API key is not good: it is wrong, deleted or expired, or its user is deactivated.")
        return actor
    claims = _claims_of(token, "access")
    with tenancy.within(claims["org"]):
        session = (claims["org"], claims["sid"], claims["sub"])
        actor = _remembered(session, lambda: (found, None) if (found := find_actor(claims)) else None)
    if actor is None:
        raise NotSignedIn("This session has ended. Log in again.")
    return actor


def _remembered(name: Name, find: Callable[[], tuple[Actor, dt.datetime | None] | None]) -> Actor | None:
    """The actor of a session or key of this name, read from the database at most SESSION_CACHE_SECONDS ago.

    find: reads them, and tells until when they may act, if not for ever.
    """
    memory: dict[Name, tuple[float, Actor]] = current_app.extensions["carbonapi-access"][1]
    now = time.monotonic()
    kept = memory.get(name)
    if kept and now < kept[0]:
        return kept[1]
    found = find()
    if found is None:
        memory.pop(name, None)
        return None
    actor, until = found
    if len(memory) >= MOST_REMEMBERED:
        memory.clear()
    seconds = float(current_app.config["SESSION_CACHE_SECONDS"])
    if until is not None:
        seconds = min(seconds, (until - dt.datetime.now(dt.UTC)).total_seconds())
    if seconds > 0:
        memory[name] = (now + seconds, actor)
    return actor

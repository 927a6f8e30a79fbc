"""Access tokens and API keys: who sends a request."""

import datetime as dt
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from flask import Flask, current_app, request
from flask_jwt_extended import JWTManager

from ..db import row_security
from ..errors import Unauthenticated
from .actors import Actor

# `sid` is the session, `org` its organization.
REQUIRED_CLAIMS = ["exp", "iat", "nbf", "sub", "jti", "aud", "iss", "type", "sid", "org"]

MAX_CACHED = 10_000  # Sessions and API keys, and tokens, of which a worker remembers what it found.

API_KEY_PREFIX = "carbonapi"  # An API key begins with it, as no JSON Web Token does.

Claims = Mapping[str, Any]

Name = tuple[int, int, str] | bytes  # Of a session: organization, id, and user. Of an API key: its digest.

FindActor = Callable[[Claims], Actor | None]

FindKeyActor = Callable[[str, dt.datetime], tuple[Actor, dt.datetime | None] | None]


def init_app(app: Flask, find_actor: FindActor, find_key_actor: FindKeyActor) -> None:
    """Give the app its tokens.

    find_actor: reads the actor of a token's claims from the database, or None if they may not act (any more).
    find_key_actor: does so for the text of an API key, at a moment; and tells until when it is good, if not for ever.
    """
    JWTManager(app)
    app.extensions["carbonapi-access"] = (find_actor, {}, find_key_actor)
    app.extensions["carbonapi-tokens"] = {}


def token_claims(kind: str) -> Claims:
    """The claims of the request's bearer token, which must be of this kind: `access` or `refresh`.

    Raises NotSignedIn for no token and for one that is not wholly right. Asks no database.
    """
    return _claims_of(_bearer_token(kind), kind)


def _bearer_token(kind: str) -> str:
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if not scheme:
        raise Unauthenticated(f"Sign in first: send `Authorization: Bearer <{kind} token>`.")
    if scheme.lower() != "bearer":  # RFC 9110: the scheme is case-insensitive.
        raise Unauthenticated("Only `Authorization: Bearer` is understood here.")
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
        raise Unauthenticated(f"The {kind} token has expired.") from None
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Unauthenticated(f"This is not a valid {kind} token.") from None
    if claims["type"] != kind or not _names_a_session(claims):
        raise Unauthenticated(f"This is not a valid {kind} token.")
    if kind == "access":
        if len(checked) >= MAX_CACHED:
            checked.clear()
        checked[token] = claims
    return claims


def _names_a_session(claims: Claims) -> bool:
    """Whether a user, a session and an organization can be what the claims say they are."""
    if re.fullmatch("[1-9][0-9]{0,18}", claims["sub"]) is None:
        return False
    return all(type(id_) is int and 0 < id_ < 2**63 for id_ in (int(claims["sub"]), claims["sid"], claims["org"]))


def cached_identity(app: Flask, authorization: str) -> object | None:
    """Who sends an Authorization header that was found good before, as it stands. Checks nothing, and so costs nothing.

    Says nothing of what they may do: it tells callers apart.
    """
    token = authorization.partition(" ")[2].strip()
    if token.startswith(f"{API_KEY_PREFIX}_"):
        digest = _digest(token)
        return digest if digest in app.extensions["carbonapi-access"][1] else None
    claims: Claims | None = app.extensions["carbonapi-tokens"].get(token)
    return None if claims is None else claims["sub"]


def _digest(token: str) -> bytes:
    """By which a key is remembered: the memory of a worker need not hold what opens doors."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def authenticate() -> Actor:
    """The actor whose access token or API key the request brings. Raises NotSignedIn if they may not act (any more)."""
    find_actor: FindActor
    find_key_actor: FindKeyActor
    find_actor, _, find_key_actor = current_app.extensions["carbonapi-access"]
    token = _bearer_token("access")
    if token.startswith(f"{API_KEY_PREFIX}_"):
        actor = _remembered(_digest(token), lambda: find_key_actor(token, dt.datetime.now(dt.UTC)))
        if actor is None:
            raise Unauthenticated(
                "This API key is not good: it is wrong, deleted or expired, or its user is deactivated."
            )
        return actor
    claims = _claims_of(token, "access")
    with row_security.for_organization(claims["org"]):
        session = (claims["org"], claims["sid"], claims["sub"])
        actor = _remembered(session, lambda: (found, None) if (found := find_actor(claims)) else None)
    if actor is None:
        raise Unauthenticated("This session has ended. Log in again.")
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
    if len(memory) >= MAX_CACHED:
        memory.clear()
    seconds = float(current_app.config["SESSION_CACHE_SECONDS"])
    if until is not None:
        seconds = min(seconds, (until - dt.datetime.now(dt.UTC)).total_seconds())
    if seconds > 0:
        memory[name] = (now + seconds, actor)
    return actor

"""Authentication of a request by its access token or API key."""

import datetime as dt
import hashlib
import re
import time
from collections.abc import Callable

import jwt
from flask import Flask, current_app, request

from ..db import row_security
from ..errors import Unauthenticated
from .actors import Actor
from .state import Claims, CredentialKey, state

# `sid` is the session, `org` its organization.
REQUIRED_CLAIMS = ["exp", "iat", "nbf", "sub", "jti", "aud", "iss", "type", "sid", "org"]
MAX_CACHED = 10_000  # Entries of each cache of a worker.
LEEWAY_SECONDS = 30  # The clocks of two machines differ (RFC 7519, section 4.1.4).
API_KEY_PREFIX = "carbonapi"  # No JSON Web Token begins with it.


def token_claims(kind: str) -> Claims:
    """Return the claims of the request's bearer token, which must be of this kind: `access` or `refresh`.

    Raise Unauthenticated without a valid token. Does not query the database.
    """
    return _decode(_bearer_token(kind), kind)


def _bearer_token(kind: str) -> str:
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if not scheme:
        raise Unauthenticated(f"Log in first: send `Authorization: Bearer <{kind} token>`.")
    if scheme.lower() != "bearer":  # RFC 9110: the scheme is case-insensitive.
        raise Unauthenticated("Only `Authorization: Bearer` is supported.")
    return token.strip()


def _decode(token: str, kind: str) -> Claims:
    config = current_app.config
    cache = state().claims
    cached = cache.get(token)
    # A valid signature stays valid, so that only the expiry has to be checked again.
    if cached is not None and kind == "access" and time.time() < cached["exp"] + LEEWAY_SECONDS:
        return cached
    try:
        # Flask-JWT-Extended's own decoding adds missing claims; here they are required.
        claims: Claims = jwt.decode(
            token,
            config["JWT_SECRET_KEY"],
            [config["JWT_ALGORITHM"]],
            audience=config["JWT_DECODE_AUDIENCE"],
            issuer=config["JWT_DECODE_ISSUER"],
            leeway=LEEWAY_SECONDS,
            options={"require": REQUIRED_CLAIMS},
        )
    except jwt.ExpiredSignatureError:
        raise Unauthenticated(f"The {kind} token has expired.") from None
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Unauthenticated(f"This is not a valid {kind} token.") from None
    if claims["type"] != kind or not _has_valid_ids(claims):
        raise Unauthenticated(f"This is not a valid {kind} token.")
    if kind == "access":
        if len(cache) >= MAX_CACHED:
            cache.clear()
        cache[token] = claims
    return claims


def _has_valid_ids(claims: Claims) -> bool:
    """Return whether the claims can be the ids of a user, a session and an organization."""
    if re.fullmatch("[1-9][0-9]{0,18}", claims["sub"]) is None:
        return False
    return all(type(id_) is int and 0 < id_ < 2**63 for id_ in (int(claims["sub"]), claims["sid"], claims["org"]))


def cached_identity(app: Flask, authorization: str) -> object | None:
    """Return a key of the client that sends this Authorization header, if it is in a cache.

    It only distinguishes clients. It does not say that the token is still valid.
    """
    token = authorization.partition(" ")[2].strip()
    if token.startswith(f"{API_KEY_PREFIX}_"):
        digest = _digest(token)
        return digest if digest in state(app).actors else None
    claims = state(app).claims.get(token)
    return None if claims is None else claims["sub"]


def _digest(token: str) -> bytes:
    """Return the key of an API key in the cache, so that a worker's memory does not contain usable keys."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def authenticate() -> Actor:
    """Return the actor of the request's access token or API key. Raise Unauthenticated if they may not act."""
    token = _bearer_token("access")
    if token.startswith(f"{API_KEY_PREFIX}_"):
        actor = _cached(_digest(token), lambda: state().find_key_actor(token, dt.datetime.now(dt.UTC)))
        if actor is None:
            raise Unauthenticated("Invalid API key: it is unknown, deleted or expired, or its user is deactivated.")
        return actor
    claims = _decode(token, "access")
    with row_security.for_organization(claims["org"]):
        session = (claims["org"], claims["sid"], claims["sub"])
        actor = _cached(session, lambda: (found, None) if (found := state().find_actor(claims)) else None)
    if actor is None:
        raise Unauthenticated("This session has ended. Log in again.")
    return actor


def _cached(key: CredentialKey, find: Callable[[], tuple[Actor, dt.datetime | None] | None]) -> Actor | None:
    """Return the actor of a session or an API key, read from the database at most SESSION_CACHE_SECONDS ago.

    find: reads the actor, and when their credential expires, if ever.
    """
    cache = state().actors
    now = time.monotonic()
    cached_actor, cached_until = cache.get(key, (None, now))
    if now < cached_until:
        return cached_actor
    found = find()
    if found is None:
        cache.pop(key, None)
        return None
    actor, expires_at = found
    if len(cache) >= MAX_CACHED:
        cache.clear()
    seconds = float(current_app.config["SESSION_CACHE_SECONDS"])
    if expires_at is not None:
        seconds = min(seconds, (expires_at - dt.datetime.now(dt.UTC)).total_seconds())
    if seconds > 0:
        cache[key] = (actor, now + seconds)
    return actor


def forget_members(organization_id: int) -> None:
    """Remove the members of an organization from this worker's cache, because its time zone has changed."""
    _forget(lambda actor: actor.organization_id == organization_id)


def forget_members_with_sites(organization_id: int) -> None:
    """Remove the members of an organization who have sites from this worker's cache, because its tree has changed."""
    _forget(lambda actor: actor.organization_id == organization_id and bool(actor.site_ids))


def forget(user_id: int) -> None:
    """Remove the user's sessions and API keys from this worker's cache, so that the next request reads them again."""
    _forget(lambda actor: actor.id == user_id)


def _forget(is_changed: Callable[[Actor], bool]) -> None:
    cache = state().actors
    for key, (actor, _) in list(cache.items()):  # A copy: other threads add entries.
        if is_changed(actor):
            cache.pop(key, None)

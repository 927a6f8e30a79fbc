"""API keys: with one, a machine acts as the user who made it, with their role at most.

A key is shown once, when it is made; what is kept is its hash. It acts as long as its user is active, and not beyond
`expires_at`. What changes who may sign in, no key may do: that is said where the operations are declared.
"""

import datetime as dt
import hmac

import sqlalchemy as sa

from ...auth import API_KEY_PREFIX, Actor, current_actor, get_visible
from ...db import db, row_security
from ...errors import Forbidden, ValidationFailed
from ..models import Organization, User
from ..opaque_tokens import OpaqueToken, digest_of, new_token, parse_token
from .models import ApiKey

# When a key was used last is told as roughly as this, so that using it hardly ever writes.
USE_IS_NOTED_EVERY = dt.timedelta(minutes=1)


def create_api_key(now: dt.datetime, name: str, scope: str, expires_at: dt.datetime | None = None) -> ApiKey:
    """A new key of the actor, with its text as `key`, which is kept nowhere.

    Raises Invalid if it has expired already.
    """
    if expires_at is not None and expires_at <= now:
        raise ValidationFailed("Lies in the past. Leave it out for a key that does not expire.", field="expires_at")
    # Locked, so that nobody is erased meanwhile and leaves a key behind.
    user = get_visible(User, current_actor().id, lock=True)
    secret = new_token()
    api_key = ApiKey(
        organization_id=user.organization_id,
        user_id=user.id,
        name=name,
        scope=scope,
        beginning=secret[:4],
        digest=digest_of(secret),
        created_at=now,
        expires_at=expires_at,
    )
    db.session.add(api_key)
    db.session.flush()
    api_key.key = str(OpaqueToken(API_KEY_PREFIX, api_key.organization_id, api_key.id, secret))
    return api_key


def delete_api_key(api_key: ApiKey) -> None:
    """Remove a key, which is good for nothing from then on. Raises NotAllowed for an admin's, but to an admin."""
    actor = current_actor()
    if not actor.is_admin and actor.id != api_key.user_id and get_visible(User, api_key.user_id).role == "admin":
        raise Forbidden("Only an admin may delete the API key of an admin.")
    db.session.delete(api_key)


def delete_api_keys_of(user: User) -> None:
    """Remove all keys of `user`."""
    theirs = (ApiKey.organization_id == user.organization_id, ApiKey.user_id == user.id)
    for api_key in db.session.scalars(sa.select(ApiKey).where(*theirs)):
        db.session.delete(api_key)


def find_key_actor(text: str, now: dt.datetime) -> tuple[Actor, dt.datetime | None] | None:
    """Who acts with the API key of this text, and until when at most; None if nobody does (any more)."""
    named = parse_token(API_KEY_PREFIX, text)
    if named is None:
        return None
    with row_security.for_organization(named.organization_id):
        return _actor_of(named, now)


def _actor_of(named: OpaqueToken, now: dt.datetime) -> tuple[Actor, dt.datetime | None] | None:
    this = (ApiKey.organization_id == named.organization_id, ApiKey.id == named.id)
    row = db.session.execute(
        sa.select(
            ApiKey.digest, ApiKey.expires_at, ApiKey.last_used_at,
            User.id, User.organization_id, User.role, Organization.timezone, ApiKey.scope,
        )
        .join(User, (User.organization_id == ApiKey.organization_id) & (User.id == ApiKey.user_id))
        .join(Organization, Organization.id == ApiKey.organization_id)
        .where(*this, User.active)
    ).first()  # fmt: skip
    if row is None or not hmac.compare_digest(row.digest, digest_of(named.secret)):
        return None
    if row.expires_at is not None and row.expires_at <= now:
        return None
    if row.last_used_at is None or row.last_used_at <= now - USE_IS_NOTED_EVERY:
        _note_use(now, *this)
    _, _, _, id_, organization_id, role, timezone, scope = row
    return Actor(id_, organization_id, role, timezone, api_key_id=named.id, scope=scope), row.expires_at


def _note_use(now: dt.datetime, *this: sa.ColumnElement[bool]) -> None:
    # Of many workers one does. The others' requests do not wait for it, nor for what comes of this one.
    stale = ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at <= now - USE_IS_NOTED_EVERY)
    unlocked = sa.select(ApiKey.id).where(*this, stale).with_for_update(skip_locked=True)
    db.session.execute(sa.update(ApiKey).where(*this, ApiKey.id.in_(unlocked)).values(last_used_at=now))
    db.session.commit()

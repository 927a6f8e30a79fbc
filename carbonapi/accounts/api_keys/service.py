"""API keys, with which a machine acts as the user who created the key, with their role.

A key is shown once, when it is created; only its hash is stored. It works while its user is active, until
`expires_at`. Operations on users and credentials do not accept keys; their views declare that.
"""

import datetime as dt
import hmac

import sqlalchemy as sa

from ... import audit
from ...auth import API_KEY_PREFIX, Actor, current_actor, get_visible
from ...db import db, prepare, row_security
from ...errors import Forbidden, ValidationFailed
from ..models import Organization, User, member_sites
from ..opaque_tokens import OpaqueToken, digest_of, new_token, parse_token
from ..sessions import forget_after_commit
from .models import ApiKey

# The precision of `last_used_at`, so that most requests with a key do not write.
LAST_USED_PRECISION = dt.timedelta(minutes=1)


def create_api_key(now: dt.datetime, name: str, scope: str, expires_at: dt.datetime | None = None) -> ApiKey:
    """Create a key of the actor. Its `key` attribute has the text, which is not stored.

    Raise ValidationFailed for an expiry in the past.
    """
    if expires_at is not None and expires_at <= now:
        raise ValidationFailed("Must be in the future. Leave it out for a key without expiry.", field="expires_at")
    # Lock the user, so that erasing them at the same time leaves no key behind.
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
    audit.flush()
    api_key.key = str(OpaqueToken(API_KEY_PREFIX, api_key.organization_id, api_key.id, secret))
    return api_key


def delete_api_key(api_key: ApiKey) -> None:
    """Delete a key. Raise Forbidden for the key of an admin unless the actor is one."""
    actor = current_actor()
    if not actor.is_admin and actor.id != api_key.user_id and get_visible(User, api_key.user_id).role == "admin":
        raise Forbidden("Only an admin may delete the API key of an admin.")
    db.session.delete(api_key)
    audit.flush()
    forget_after_commit(api_key.user_id)


def delete_api_keys_of(user: User) -> None:
    """Delete all keys of the user."""
    criteria = (ApiKey.organization_id == user.organization_id, ApiKey.user_id == user.id)
    for api_key in db.session.scalars(sa.select(ApiKey).where(*criteria)):
        db.session.delete(api_key)
    audit.flush()


def find_key_actor(text: str, now: dt.datetime) -> tuple[Actor, dt.datetime | None] | None:
    """Return the actor of an API key and the expiry of the key; None if the key is not valid."""
    token = parse_token(API_KEY_PREFIX, text)
    if token is None:
        return None
    criteria = (ApiKey.organization_id == token.organization_id, ApiKey.id == token.id)
    with row_security.for_organization(token.organization_id):
        statement = (
            sa.select(
                ApiKey.digest, ApiKey.expires_at, ApiKey.last_used_at,
                User.id, User.organization_id, User.role, Organization.timezone, ApiKey.scope, member_sites(),
            )
            .join(User, (User.organization_id == ApiKey.organization_id) & (User.id == ApiKey.user_id))
            .join(Organization, Organization.id == ApiKey.organization_id)
            .where(*criteria, User.active)
        )  # fmt: skip
        row = db.session.execute(prepare(statement)).first()
        if row is None or not hmac.compare_digest(row.digest, digest_of(token.secret)):
            return None
        if row.expires_at is not None and row.expires_at <= now:
            return None
        if row.last_used_at is None or row.last_used_at <= now - LAST_USED_PRECISION:
            _update_last_used(now, *criteria)
    actor = Actor(
        row.id,
        row.organization_id,
        row.role,
        row.timezone,
        api_key_id=token.id,
        scope=row.scope,
        site_ids=tuple(row.site_ids or ()),
    )
    return actor, row.expires_at


def _update_last_used(now: dt.datetime, *criteria: sa.ColumnElement[bool]) -> None:
    # Skip a locked row: another worker is updating it, and requests must not wait for that.
    stale = ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at <= now - LAST_USED_PRECISION)
    unlocked = sa.select(ApiKey.id).where(*criteria, stale).with_for_update(skip_locked=True)
    db.session.execute(sa.update(ApiKey).where(*criteria, ApiKey.id.in_(unlocked)).values(last_used_at=now))
    db.session.commit()  # Release the row lock before the request is processed.

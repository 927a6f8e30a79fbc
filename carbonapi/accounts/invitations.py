"""Invitations and password resets: a single-use token lets a user set a password without the current one.

A user has at most one token; a new one replaces it. With a mail server configured, the token is sent to the user and
not returned. Without one, it is returned to the caller, who passes it on.
"""

import datetime as dt
import hmac
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from .. import audit
from ..auth import current_actor
from ..db import db, row_security
from ..errors import Conflict, Forbidden, ValidationFailed
from ..rate_limiting.limits import INVITATION_ACCEPTANCE, consume
from . import mail, sessions
from .models import PasswordToken, User
from .opaque_tokens import OpaqueToken, digest_of, new_token, parse_token
from .passwords import check_password_strength, hash_password

PURPOSE = "carbonapi-password"
VALIDITY = dt.timedelta(hours=24)


def invite(user: User, now: dt.datetime) -> User:
    """Invite a user without a password. Set `invitation_token` on the user unless it is sent by mail."""
    token, user.invitation_expires_at = _create_token(user, now, "invited")
    if not mail.is_configured():
        user.invitation_token = token
    return user


def create_reset_token(user: User, now: dt.datetime) -> dict[str, Any]:
    """Create a token with which a user can set a new password, and end their sessions.

    The current password stays valid until the token is used.
    Raise Forbidden for the token of an admin unless the actor is one, and for the actor's own: a stolen access token
    must not suffice to take the account. Raise Conflict for a deactivated user.
    """
    if user.id == current_actor().id:
        raise Forbidden(
            "You cannot reset your own password. Change it with `POST /auth/password` and the current one, or ask "
            "another manager or an admin for a reset."
        )
    if user.role == "admin" and not current_actor().is_admin:
        raise Forbidden("Only an admin may reset the password of an admin.")
    if not user.active:
        raise Conflict(f"User {user.id} is deactivated. Activate them first: `active: true`.")
    token, expires_at = _create_token(user, now, "reset")
    sessions.end_all(user, now, "password reset")
    return {"expires_at": expires_at} | ({} if mail.is_configured() else {"token": token})


def set_password(token: str, password: str, now: dt.datetime) -> None:
    """Set the password of the user that the token belongs to, and end their sessions.

    Raise RateLimited after too many attempts for one user or IP address. Raise ValidationFailed with the same message
    for a token that is unknown, used, replaced or expired, and for one of a deactivated user.
    """
    parsed = parse_token(PURPOSE, token)
    consume(INVITATION_ACCEPTANCE, str(parsed.id) if parsed else "unknown", now)
    with row_security.for_organization(parsed.organization_id if parsed else audit.NO_ORGANIZATION):
        user = _find_user(parsed, now) if parsed else None
        if user is None:
            raise ValidationFailed("This token is unknown, used or expired. Ask for a new one.", field="token")
        check_password_strength(password, user.email, "password")
        user.password_hash = hash_password(password)
        audit.flush()
        revoke(user)
        sessions.end_all(user, now, "password set by token")
        audit.record("accepted", User, user.id, user.organization_id)


def revoke(user: User) -> None:
    """Revoke the password token of the user, if there is one."""
    criteria = (PasswordToken.organization_id == user.organization_id, PasswordToken.user_id == user.id)
    db.session.execute(sa.delete(PasswordToken).where(*criteria))


def _create_token(user: User, now: dt.datetime, action: str) -> tuple[str, dt.datetime]:
    """Replace the user's token, and send it if mail is configured. Return the token and its expiry."""
    token = OpaqueToken(PURPOSE, user.organization_id, user.id, new_token())
    expires_at = now + VALIDITY
    insert = postgresql.insert(PasswordToken).values(
        organization_id=user.organization_id, user_id=user.id, digest=digest_of(token.secret), expires_at=expires_at
    )
    upsert = insert.on_conflict_do_update(
        index_elements=[PasswordToken.organization_id, PasswordToken.user_id],
        set_={name: insert.excluded[name] for name in ("digest", "expires_at")},
    )
    db.session.execute(upsert)
    audit.record(action, User, user.id, user.organization_id, new={"expires_at": expires_at})
    if mail.is_configured():
        assert user.email is not None
        mail.send_token(user.email, str(token), expires_at, now)
    return str(token), expires_at


def _find_user(token: OpaqueToken, now: dt.datetime) -> User | None:
    """Return the active user that the token belongs to. Lock the row, so that the token is used only once."""
    user = db.session.scalar(
        sa.select(User)
        .where(User.organization_id == token.organization_id, User.id == token.id, User.active)
        .with_for_update()
    )
    digest = db.session.scalar(
        sa.select(PasswordToken.digest).where(
            PasswordToken.organization_id == token.organization_id,
            PasswordToken.user_id == token.id,
            PasswordToken.expires_at > now,
        )
    )
    return user if digest is not None and hmac.compare_digest(digest, digest_of(token.secret)) else None

"""Setting a password without knowing the one before: invitations and resets, by a token that is good once.

A user has one token at most: a new one takes the place of the one before. It goes to the user's address if there is a
mail server, and then nobody else sees it; without one, whoever made it hands it over.
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
from ..rate_limiting import INVITATION_ACCEPTANCE, consume
from . import mail, sessions
from .models import PasswordToken, User
from .opaque_tokens import OpaqueToken, digest_of, new_token, parse_token
from .passwords import check_password_strength, hash_password

PURPOSE = "carbonapi-password"
VALIDITY = dt.timedelta(hours=24)


def invite(user: User, now: dt.datetime) -> User:
    """Invite a user who has no password yet. The token is told as `invitation_token`, unless it was sent by mail."""
    token, user.invitation_expires_at = _make_token(user, now, "invited")
    if not mail.is_configured():
        user.invitation_token = token
    return user


def create_reset_token(user: User, now: dt.datetime) -> dict[str, Any]:
    """A token for a user who has lost their password, which goes on being good until there is another.

    Raises NotAllowed for an admin, but to an admin; Conflict for somebody who is deactivated.
    """
    if user.role == "admin" and not current_actor().is_admin:
        raise Forbidden("Only an admin may reset the password of an admin.")
    if not user.active:
        raise Conflict(f"User {user.id} is deactivated. Let them sign in first: `active: true`.")
    token, expires_at = _make_token(user, now, "reset")
    return {"expires_at": expires_at} | ({} if mail.is_configured() else {"token": token})


def set_password(token: str, password: str, now: dt.datetime) -> None:
    """Give the user whom the token names their password, and end their sessions.

    Raises TooMany for too many of one user or address; Invalid, the same for a token that is wrong, used, replaced or
    expired, and for one of nobody who is active.
    """
    named = parse_token(PURPOSE, token)
    consume(INVITATION_ACCEPTANCE, str(named.id) if named else "nobody", now)
    with row_security.for_organization(named.organization_id if named else audit.NO_ORGANIZATION):
        user = _user_of(named, now) if named else None
        if user is None:
            raise ValidationFailed("This token is wrong, used or expired. Ask for a new one.", field="token")
        _set_password(user, password, now)


def revoke(user: User) -> None:
    """Make the token of `user` worthless, if there is one."""
    theirs = (PasswordToken.organization_id == user.organization_id, PasswordToken.user_id == user.id)
    db.session.execute(sa.delete(PasswordToken).where(*theirs))


def _set_password(user: User, password: str, now: dt.datetime) -> None:
    check_password_strength(password, user.email, "password")
    user.password_hash = hash_password(password)
    revoke(user)
    sessions.end_all(user, now, "password set by token")
    audit.record("accepted", User, user.id, user.organization_id)
    db.session.flush()


def _make_token(user: User, now: dt.datetime, action: str) -> tuple[str, dt.datetime]:
    """A token of `user` in place of the one before, and until when it is good. Sent, if there is a mail server."""
    named = OpaqueToken(PURPOSE, user.organization_id, user.id, new_token())
    expires_at = now + VALIDITY
    making = postgresql.insert(PasswordToken).values(
        organization_id=user.organization_id, user_id=user.id, digest=digest_of(named.secret), expires_at=expires_at
    )
    making = making.on_conflict_do_update(
        index_elements=[PasswordToken.organization_id, PasswordToken.user_id],
        set_={name: making.excluded[name] for name in ("digest", "expires_at")},
    )
    db.session.execute(making)
    audit.record(action, User, user.id, user.organization_id, new={"expires_at": expires_at})
    if mail.is_configured():
        assert user.email is not None
        mail.send_token(user.email, str(named), expires_at, now)
    return str(named), expires_at


def _user_of(named: OpaqueToken, now: dt.datetime) -> User | None:
    """The active user whose token this is, locked, so that of two who accept it one does."""
    user = db.session.scalar(
        sa.select(User)
        .where(User.organization_id == named.organization_id, User.id == named.id, User.active)
        .with_for_update()
    )
    digest = db.session.scalar(
        sa.select(PasswordToken.digest).where(
            PasswordToken.organization_id == named.organization_id,
            PasswordToken.user_id == named.id,
            PasswordToken.expires_at > now,
        )
    )
    return user if digest is not None and hmac.compare_digest(digest, digest_of(named.secret)) else None

"""Sessions and their tokens.

A session is one login and the tokens that descend from it. An access token is valid for minutes and names its session.
Workers cache sessions for a few seconds. The worker that ends a session forgets it at once, the others soon after. A
refresh token carries the generation of its session and can be used once. A second use means that it was stolen, and
ends the session.
"""

import datetime as dt
from functools import partial
from typing import Any

import sqlalchemy as sa
from flask import current_app
from flask_jwt_extended import create_access_token, create_refresh_token

from .. import audit
from ..auth import Actor, Claims, current_actor, forget, scope_criteria, visible
from ..db import db, on_commit, prepare, row_security
from ..errors import NotFound, Unauthenticated
from ..observability import metrics
from ..rate_limiting.limits import LOGIN, REFRESH, consume, reset
from .models import Organization, Session, User, member_sites
from .passwords import password_matches

# Within this time, a second refresh gets the same answer: for two tabs at once, or a client that lost its answer.
RETRY_TIME = dt.timedelta(seconds=30)


def log_in(email: str, password: str, now: dt.datetime) -> dict[str, Any]:
    """Return the tokens of a new session of the user with this e-mail address and password.

    Raise RateLimited after too many attempts. Raise Unauthenticated with the same message and after the same time for
    an unknown address, a wrong password and a deactivated user.
    """
    # Count before the password is checked, so that concurrent guesses all count.
    consume(LOGIN, email.lower(), now)
    with row_security.for_all_organizations():
        user = db.session.scalar(sa.select(User).where(User.email_key == email.lower()))
    db.session.commit()  # Release the connection: hashing is slow, and may wait for a slot.
    matches = password_matches(password, user.password_hash if user else None)
    with row_security.for_organization(user.organization_id if user else audit.NO_ORGANIZATION):
        if user is not None and matches and user.active:
            reset(LOGIN, email.lower(), now)
            on_commit(metrics.LOGINS.labels("succeeded").inc)
            return create(user, now)
        _record_failure(email, user, matches)
        db.session.commit()  # The error below rolls the transaction back.
        metrics.LOGINS.labels("failed").inc()
    raise Unauthenticated("The e-mail address or the password is wrong.")


def create(user: User, now: dt.datetime) -> dict[str, Any]:
    """Create a session of the user and return its tokens."""
    session = Session(
        organization_id=user.organization_id,
        user_id=user.id,
        generation=1,
        started_at=now,
        refreshed_at=now,
        expires_at=now + current_app.config["JWT_REFRESH_TOKEN_EXPIRES"],
    )
    db.session.add(session)
    db.session.flush()
    logged_in = Actor(user.id, user.organization_id, user.role, "UTC")
    audit.record("logged_in", Session, session.id, user.organization_id, actor=logged_in)
    return _tokens(session)


def refresh(claims: Claims, now: dt.datetime) -> dict[str, Any]:
    """Return the next tokens of the session that the claims of a refresh token name.

    Raise Unauthenticated if the session has ended, or if the token was used before, which ends the session. Raise
    RateLimited after too many refreshes.
    """
    consume(REFRESH, claims["sub"], now)
    with row_security.for_organization(claims["org"]):
        session = db.session.scalar(
            sa.select(Session)
            .where(Session.organization_id == claims["org"], Session.id == claims["sid"])
            .with_for_update()
        )
        if session is None or session.ended_at or session.expires_at <= now:
            raise Unauthenticated("This session has ended. Log in again.")
        is_retry = claims["gen"] == session.generation - 1 and now - session.refreshed_at < RETRY_TIME
        if claims["gen"] == session.generation:
            session.generation += 1
            session.refreshed_at = now
            session.expires_at = now + current_app.config["JWT_REFRESH_TOKEN_EXPIRES"]
        elif not is_retry:
            session.ended_at, session.end_reason = now, "a refresh token was used twice"
            audit.record("session_ended", Session, session.id, session.organization_id, reason=session.end_reason)
            forget_after_commit(session.user_id)
            db.session.commit()  # The error below rolls the transaction back.
            raise Unauthenticated("This refresh token was used before, so its session has been ended. Log in again.")
        db.session.flush()
        return _tokens(session)


def active(now: dt.datetime) -> sa.Select[Session]:
    """Return a SELECT of the actor's sessions that have neither ended nor expired."""
    return visible(Session).where(Session.ended_at.is_(None), Session.expires_at > now)


def end_current(actor: Actor, now: dt.datetime) -> None:
    """End the session of the actor's access token."""
    _log_out(now, "logged out", Session.id == actor.session_id)


def end_by_id(session_id: int, now: dt.datetime) -> None:
    """End one of the actor's sessions. Raise NotFound if none with this id is active."""
    if not _log_out(now, "ended by its user", Session.id == session_id, Session.expires_at > now):
        raise NotFound(f"There is no session {session_id}.")


def end_all(user: User, now: dt.datetime, reason: str, except_id: int | None = None) -> None:
    """End all sessions of the user, except for the one with this id."""
    criteria = [Session.organization_id == user.organization_id, Session.user_id == user.id]
    if except_id is not None:
        criteria.append(Session.id != except_id)
    db.session.execute(_end_statement(now, reason, *criteria))
    forget_after_commit(user.id)


def forget_after_commit(user_id: int) -> None:
    """Let this worker read the user's sessions and API keys again, as soon as they have changed."""
    on_commit(partial(forget, user_id))


def find_actor(claims: Claims) -> Actor | None:
    """Return the actor that the claims of an access token name; None if the session or the user is not active."""
    statement = (
        sa.select(User.id, User.organization_id, User.role, Organization.timezone, Session.id, member_sites())
        .join(User, (User.organization_id == Session.organization_id) & (User.id == Session.user_id))
        .join(Organization, Organization.id == Session.organization_id)
        .where(
            Session.organization_id == claims["org"],
            Session.id == claims["sid"],
            Session.user_id == int(claims["sub"]),
            Session.ended_at.is_(None),
            User.active,
        )
    )
    return _to_actor(db.session.execute(prepare(statement)).first())


def actor_for_user(user_id: int) -> Actor | None:
    """Return an actor for background work on behalf of a user; None if the user is not active."""
    row = db.session.execute(
        sa.select(User.id, User.organization_id, User.role, Organization.timezone, member_sites())
        .join(Organization, Organization.id == User.organization_id)
        .where(User.id == user_id, User.active)
    ).first()
    return _to_actor(row)


def _to_actor(row: Any) -> Actor | None:
    """Return the actor of a row whose last column is `member_sites`; None without a row."""
    return Actor(*row[:-1], site_ids=tuple(row.site_ids or ())) if row else None


def _log_out(now: dt.datetime, reason: str, *criteria: sa.ColumnElement[bool]) -> bool:
    """End the actor's active session that meets these criteria. Return whether there was one."""
    statement = _end_statement(now, reason, *scope_criteria(Session), *criteria)
    session_id = db.session.scalar(statement.returning(Session.id))
    if session_id is not None:
        audit.record("logged_out", Session, session_id)
        forget_after_commit(current_actor().id)
    return session_id is not None


def _end_statement(now: dt.datetime, reason: str, *criteria: sa.ColumnElement[bool]) -> sa.Update:
    return sa.update(Session).where(*criteria, Session.ended_at.is_(None)).values(ended_at=now, end_reason=reason)


def _record_failure(email: str, user: User | None, matches: bool) -> None:
    if user is not None:
        reason = "deactivated" if matches else "wrong password"
        audit.record("login_failed", User, user.id, user.organization_id, reason=reason)
    else:
        # Text without an @ may be a password in the wrong field.
        new = {"email": email if "@" in email else None}
        audit.record("login_failed", User, None, audit.NO_ORGANIZATION, new=new, reason="unknown e-mail address")


def _tokens(session: Session) -> dict[str, Any]:
    claims = {"sid": session.id, "org": session.organization_id}
    subject = str(session.user_id)  # RFC 7519: `sub` is text.
    # Nothing in a refresh token is random, so that a repeated refresh gets an identical one.
    fixed = {
        "gen": session.generation,
        "jti": f"{session.id}-{session.generation}",
        "iat": session.refreshed_at,
        "nbf": session.refreshed_at,
        "exp": session.expires_at,
    }
    return {
        "access_token": create_access_token(subject, additional_claims=claims),
        "refresh_token": create_refresh_token(subject, additional_claims=claims | fixed),
        "token_type": "Bearer",
        "expires_in": int(current_app.config["JWT_ACCESS_TOKEN_EXPIRES"].total_seconds()),
    }

"""Being signed in: sessions, and the tokens that stand for them.

A session is the family of tokens of one log-in. Its access tokens last minutes and name it; a worker may rely for a few
seconds on what it read of a session, so ending one is seen by all of them soon. Its refresh token carries the session's
generation and is good once: a second use of an older one means that it was stolen, and ends the session.
"""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from flask import current_app
from flask_jwt_extended import create_access_token, create_refresh_token

from .. import audit
from ..auth import Actor, Claims, scope_criteria, visible
from ..db import db, on_commit, row_security
from ..errors import NotFound, Unauthenticated
from ..observability import metrics
from ..rate_limiting import LOGIN, REFRESH, consume, reset
from .models import Organization, Session, User
from .passwords import password_matches

# Two tabs that refresh at once, or a client that lost the answer, get the same successor.
RETRY_SECONDS = 30


def log_in(email: str, password: str, now: dt.datetime) -> dict[str, Any]:
    """The tokens of a new session of the user who has this e-mail address and password.

    Raises NotSignedIn, the same for a wrong e-mail, a wrong password and a deactivated user, and as late; TooMany for
    too many attempts.
    """
    # Before the password is looked at: of guesses at the same time, each counts.
    consume(LOGIN, email.lower(), now)
    with row_security.for_all_organizations():
        user = db.session.scalar(sa.select(User).where(User.email_key == email.lower()))
    db.session.commit()  # Hashing takes long, and may have to wait: it keeps no connection meanwhile.
    matches = password_matches(password, user.password_hash if user else None)
    with row_security.for_organization(user.organization_id if user else audit.NO_ORGANIZATION):
        if user is not None and matches and user.active:
            reset(LOGIN, email.lower(), now)
            tokens = create(user, now)
            on_commit(metrics.LOGINS.labels("succeeded").inc)
            return tokens
        _note_refusal(email, user, matches)
        # This must outlast the error that tells of it.
        db.session.commit()
        metrics.LOGINS.labels("failed").inc()
    raise Unauthenticated("The e-mail address or the password is wrong.")


def create(user: User, now: dt.datetime) -> dict[str, Any]:
    """The tokens of a new session of `user`."""
    session = Session(
        organization_id=user.organization_id,
        user_id=user.id,
        generation=1,
        started_at=now,
        refreshed_at=now,
        expires_at=now + _refresh_lifetime(),
    )
    db.session.add(session)
    db.session.flush()
    logged_in = Actor(user.id, user.organization_id, user.role, "UTC")
    audit.record("logged_in", Session, session.id, user.organization_id, actor=logged_in)
    return _tokens(session)


def refresh(claims: Claims, now: dt.datetime) -> dict[str, Any]:
    """The next tokens of the session that the refresh token's claims name.

    Raises NotSignedIn if the session has ended, and ends it if the token was used before; TooMany for too many.
    """
    consume(REFRESH, claims["sub"], now)
    with row_security.for_organization(claims["org"]):
        return _refreshed(claims, now)


def _refreshed(claims: Claims, now: dt.datetime) -> dict[str, Any]:
    session = db.session.scalar(
        sa.select(Session)
        .where(Session.organization_id == claims["org"], Session.id == claims["sid"])
        .with_for_update()
    )
    if session is None or session.ended_at or session.expires_at <= now:
        raise Unauthenticated("This session has ended. Log in again.")
    generation = claims["gen"]
    if generation == session.generation:
        session.generation += 1
        session.refreshed_at = now
        session.expires_at = now + _refresh_lifetime()
    elif not (
        generation == session.generation - 1 and now - session.refreshed_at < dt.timedelta(seconds=RETRY_SECONDS)
    ):
        session.ended_at, session.end_reason = now, "a refresh token was used twice"
        audit.record("session_ended", Session, session.id, session.organization_id, reason=session.end_reason)
        # This must outlast the error that tells of it.
        db.session.commit()
        raise Unauthenticated("This refresh token was used before, so its session has been ended. Log in again.")
    db.session.flush()
    return _tokens(session)


def active(now: dt.datetime) -> sa.Select[Session]:
    """The actor's sessions that have neither ended nor expired, as a SELECT."""
    return visible(Session).where(Session.ended_at.is_(None), Session.expires_at > now)


def end_current(actor: Actor, now: dt.datetime) -> None:
    """End the actor's session."""
    _sign_out(now, "logged out", Session.id == actor.session_id)


def end_by_id(session_id: int, now: dt.datetime) -> None:
    """End one of the actor's sessions. Raises NotFound if none of this id goes on."""
    if not _sign_out(now, "ended by its user", Session.id == session_id, Session.expires_at > now):
        raise NotFound(f"There is no session {session_id}.")


def end_all(user: User, now: dt.datetime, reason: str, but: int | None = None) -> None:
    """End the sessions of `user`, all but one of this id."""
    theirs = (Session.organization_id == user.organization_id, Session.user_id == user.id)
    db.session.execute(_ending(now, reason, *theirs, *([Session.id != but] if but else [])))


def find_actor(claims: Claims) -> Actor | None:
    """The actor whom an access token's claims name, if their session goes on and they are active."""
    row = db.session.execute(
        sa.select(User.id, User.organization_id, User.role, Organization.timezone, Session.id)
        .join(User, (User.organization_id == Session.organization_id) & (User.id == Session.user_id))
        .join(Organization, Organization.id == Session.organization_id)
        .where(
            Session.organization_id == claims["org"],
            Session.id == claims["sid"],
            Session.user_id == int(claims["sub"]),
            Session.ended_at.is_(None),
            User.active,
        )
    ).first()
    return Actor(*row) if row else None


def actor_for_user(user_id: int) -> Actor | None:
    """Who acts for the user of this id when they are not there themself, or None if they are not active."""
    row = db.session.execute(
        sa.select(User.id, User.organization_id, User.role, Organization.timezone)
        .join(Organization, Organization.id == User.organization_id)
        .where(User.id == user_id, User.active)
    ).first()
    return Actor(*row) if row else None


def _sign_out(now: dt.datetime, reason: str, *criteria: sa.ColumnElement[bool]) -> bool:
    """End the actor's session of these criteria, if it goes on. Gives whether it did."""
    mine = _ending(now, reason, *scope_criteria(Session), *criteria)
    ended = mine.returning(Session.organization_id, Session.id).cte("ended")
    logged_out = audit.entries_cte(ended, Session, "logged_out")
    return db.session.scalar(sa.select(ended.c.id).add_cte(logged_out)) is not None


def _ending(now: dt.datetime, reason: str, *criteria: sa.ColumnElement[bool]) -> sa.Update:
    """The statement that ends the sessions of these criteria, those that go on."""
    return sa.update(Session).where(*criteria, Session.ended_at.is_(None)).values(ended_at=now, end_reason=reason)


def _note_refusal(email: str, user: User | None, matches: bool) -> None:
    """Tell of a sign-in that was refused: of a user's, or with an e-mail address that nobody has."""
    if user is not None:
        reason = "deactivated" if matches else "wrong password"
        audit.record("login_failed", User, user.id, user.organization_id, reason=reason)
    else:
        # What has no @ may be a password, typed into the wrong field.
        tried = email if "@" in email else None
        audit.record(
            "login_failed", User, None, audit.NO_ORGANIZATION, new={"email": tried}, reason="unknown e-mail address"
        )


def _refresh_lifetime() -> dt.timedelta:
    lifetime: dt.timedelta = current_app.config["JWT_REFRESH_TOKEN_EXPIRES"]
    return lifetime


def _tokens(session: Session) -> dict[str, Any]:
    claims = {"sid": session.id, "org": session.organization_id}
    subject = str(session.user_id)  # RFC 7519: `sub` is text.
    # Nothing in a refresh token is random: who asks for the same successor again is given it to the letter.
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

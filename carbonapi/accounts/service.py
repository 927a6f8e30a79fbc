"""Every write of organizations and users."""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from flask import current_app

from ..auth import Actor, current_actor, get_referenced
from ..db import db, row_security
from ..errors import Conflict, Forbidden, ValidationFailed
from ..rate_limiting import REGISTRATION, consume
from . import invitations, sessions
from .api_keys.service import delete_api_keys_of
from .models import Organization, Session, User
from .passwords import check_password_strength, hash_password, password_matches


def register(email: str, password: str, name: str, organization: str | None, now: dt.datetime) -> User:
    """A new organization and its first manager.

    Raises TooMany for too many of this e-mail or address, NotAllowed where registration is closed.
    """
    consume(REGISTRATION, email.lower(), now)
    if current_app.config["REGISTRATION"] == "closed":
        raise Forbidden("Registration is closed here. Ask for an account.")
    check_password_strength(password, email, "password")
    password_hash = hash_password(password)  # Before anything is written, for it may have to wait.
    with row_security.for_all_organizations():  # The organization has no id yet.
        founded = create_organization(name=organization or f"{name}'s organization")
        return _create(founded.id, password_hash, email=email, name=name, role="manager")


def create_organization(**fields: Any) -> Organization:
    """A new organization."""
    organization = Organization(**fields)
    db.session.add(organization)
    db.session.flush()
    return organization


def change_organization(organization: Organization, **fields: Any) -> Organization:
    """Change an organization. What its ledger holds stays as it is."""
    for name, value in fields.items():
        setattr(organization, name, value)
    db.session.flush()
    return organization


def delete_organization(organization: Organization) -> None:
    """Remove an organization that has no users any more and no ledger.

    Raises Conflict while it has users. The database keeps one that the ledger needs.
    """
    theirs = User.organization_id == organization.id
    if db.session.scalar(sa.select(sa.exists().where(theirs, User.erased_at.is_(None)))):
        raise Conflict(f"Organization {organization.id} has users. Delete them first.")
    db.session.execute(sa.delete(Session).where(Session.organization_id == organization.id))
    db.session.execute(sa.delete(User).where(theirs))
    db.session.delete(organization)
    db.session.flush()


def create_user(
    now: dt.datetime, organization_id: int | None = None, password: str | None = None, **fields: Any
) -> User:
    """A new user of the actor's organization; an admin may name another. Without a password they are invited.

    Raises NotAllowed for a role above the actor's own, Invalid for an organization that is not theirs.
    """
    actor = current_actor()
    _refuse_promotion(actor, fields["role"])
    organization = get_referenced(Organization, organization_id or actor.organization_id, "organization_id")
    if password is None:
        return invitations.invite(_create(organization.id, None, **fields), now)
    check_password_strength(password, fields["email"], "password")
    return _create(organization.id, hash_password(password), **fields)


def change_user(user: User, now: dt.datetime, **fields: Any) -> User:
    """Change a user. One who is deactivated is signed out, and a token that went to another address is worthless."""
    actor = current_actor()
    if fields.get("role", user.role) != user.role:
        _refuse_promotion(actor, fields["role"])
    if user.role == "admin" and actor.role != "admin":
        raise Forbidden("Only an admin may change an admin.")
    _keep_a_manager([user], leaves=fields.get("role", user.role) != "manager" or not fields.get("active", user.active))
    if fields.get("email", user.email) != user.email or not fields.get("active", True):
        invitations.revoke(user)
    for name, value in fields.items():
        setattr(user, name, value)
    if not user.active:
        sessions.end_all(user, now, "deactivated")
    db.session.flush()
    return user


def change_password(user: User, now: dt.datetime, current_password: str, new_password: str) -> None:
    """Give the user a new password, and end their other sessions. Raises Invalid if the current one is wrong."""
    if not password_matches(current_password, user.password_hash):
        raise ValidationFailed("This is not your current password.", field="current_password")
    check_password_strength(new_password, user.email, "new_password")
    user.password_hash = hash_password(new_password)
    invitations.revoke(user)
    sessions.end_all(user, now, "password changed", but=current_actor().session_id)


def erase_users(users: list[User], now: dt.datetime) -> None:
    """Erase what is known of these people, their sessions and API keys. Their usages, and so every total, stay."""
    if current_actor().role != "admin" and any(user.role == "admin" for user in users):
        raise Forbidden("Only an admin may delete an admin.")
    _keep_a_manager(users, leaves=True)
    for user in users:
        user.email = user.name = user.password_hash = None
        user.active = False
        user.erased_at = now
    db.session.flush()
    for user in users:
        sessions.end_all(user, now, "user deleted")
        invitations.revoke(user)
        delete_api_keys_of(user)


def _create(organization_id: int, password_hash: str | None, **fields: Any) -> User:
    user = User(organization_id=organization_id, password_hash=password_hash, **fields)
    db.session.add(user)
    db.session.flush()
    return user


def _refuse_promotion(actor: Actor, role: str) -> None:
    if role == "admin" and not actor.is_admin:
        raise Forbidden("Only an admin may make an admin.")


def _keep_a_manager(users: list[User], leaves: bool) -> None:
    """Raise Conflict if these users' leaving left an organization without a manager who can sign in."""
    leaving = [user for user in users if user.role == "manager" and user.active and user.password_hash]
    if not (leaves and leaving):
        return
    organizations = {user.organization_id for user in leaving}
    # Locked, so that two managers cannot remove each other at once.
    db.session.execute(sa.select(Organization.id).where(Organization.id.in_(organizations)).with_for_update())
    kept = db.session.scalars(
        sa.select(User.organization_id)
        .where(User.organization_id.in_(organizations), User.role == "manager", User.active)
        .where(User.password_hash.is_not(None))
        .where(User.id.not_in([user.id for user in leaving]))
    ).all()
    if organizations - set(kept):
        raise Conflict("An organization keeps at least one active manager. Make somebody else a manager first.")

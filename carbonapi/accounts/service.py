"""Every write of organizations and users."""

import contextlib
import datetime as dt
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from flask import current_app

from .. import audit
from ..auth import Actor, current_actor, forget_members, get_referenced, get_visible, state
from ..db import db, on_commit, row_security
from ..errors import Conflict, Forbidden, ValidationFailed
from ..rate_limiting.limits import PASSWORD_CHANGE, REGISTRATION, consume
from . import invitations, sessions
from .api_keys.service import delete_api_keys_of
from .models import Organization, Session, User
from .passwords import check_password_strength, hash_password, password_matches

Row = TypeVar("Row", Organization, User)


def register(email: str, password: str, name: str, organization: str | None, now: dt.datetime) -> User:
    """Create an organization and its first manager.

    Raise RateLimited after too many registrations from this e-mail or IP address, Forbidden if registration is closed.
    """
    consume(REGISTRATION, email.lower(), now)
    if current_app.config["REGISTRATION"] == "closed":
        raise Forbidden("Registration is closed on this server. Ask its operator for an account.")
    check_password_strength(password, email, "password")
    password_hash = hash_password(password)  # Hash before the first write, because hashing may wait for a slot.
    with row_security.for_all_organizations():  # The organization has no id yet.
        created = create_organization(name=organization or f"{name}'s organization")
        fields = {"email": email, "name": name, "role": "manager"}
        return _add(User(organization_id=created.id, password_hash=password_hash, **fields))


def create_organization(**fields: Any) -> Organization:
    """Create an organization."""
    return _add(Organization(**fields))


def change_organization(organization: Organization, **fields: Any) -> Organization:
    """Change an organization. A new time zone rebuilds its daily totals; usages stay as they are."""
    is_moved = fields.get("timezone", organization.timezone) != organization.timezone
    with state().on_timezone_change(organization.id) if is_moved else contextlib.nullcontext():
        for name, value in fields.items():
            setattr(organization, name, value)
        audit.flush()
    if is_moved:
        on_commit(partial(forget_members, organization.id))
    return organization


def delete_organization(organization: Organization) -> None:
    """Delete an organization without users or usages.

    Raise Conflict while it has users. Foreign keys prevent deleting one that has usages.
    """
    is_member = User.organization_id == organization.id
    if db.session.scalar(sa.select(sa.exists().where(is_member, User.erased_at.is_(None)))):
        raise Conflict(f"Organization {organization.id} has users. Delete them first.")
    db.session.execute(sa.delete(Session).where(Session.organization_id == organization.id))
    db.session.execute(sa.delete(User).where(is_member))
    db.session.delete(organization)
    audit.flush()


def create_user(
    now: dt.datetime, organization_id: int | None = None, password: str | None = None, **fields: Any
) -> User:
    """Create a user, by default in the actor's organization. Without a password, the user is invited to set one.

    Raise Forbidden for a role above the actor's own, ValidationFailed for an organization that the actor cannot see.
    """
    actor = current_actor()
    _check_promotion(actor, fields["role"])
    organization = get_referenced(Organization, organization_id or actor.organization_id, "organization_id")
    if password is None:
        return invitations.invite(_add(User(organization_id=organization.id, **fields)), now)
    check_password_strength(password, fields["email"], "password")
    return _add(User(organization_id=organization.id, password_hash=hash_password(password), **fields))


def change_user(user: User, now: dt.datetime, **fields: Any) -> User:
    """Change a user. Deactivating ends their sessions. A new e-mail address revokes their password token.

    Raise Forbidden for the actor's own e-mail address: `change_profile` takes the current password.
    """
    actor = current_actor()
    if user.id == actor.id and fields.get("email", user.email) != user.email:
        raise Forbidden("Change your own e-mail address with `PATCH /auth/me`, which takes your current password.")
    return _change(user, now, actor, fields)


def change_profile(user: User, now: dt.datetime, current_password: str | None = None, **fields: Any) -> User:
    """Change the actor's own name or e-mail address. Raise ValidationFailed for a new address without the password."""
    if fields.get("email", user.email) != user.email:
        if current_password is None:
            raise ValidationFailed("Required to change the e-mail address.", field="current_password")
        _check_current_password(user, current_password)
    return _change(user, now, current_actor(), fields)


def _change(user: User, now: dt.datetime, actor: Actor, fields: dict[str, Any]) -> User:
    if fields.get("role", user.role) != user.role:
        _check_promotion(actor, fields["role"])
    if user.role == "admin" and actor.role != "admin":
        raise Forbidden("Only an admin may change an admin.")
    if fields.get("role", user.role) != "manager" or not fields.get("active", user.active):
        _check_other_managers([user])
    if fields.get("email", user.email) != user.email or not fields.get("active", True):
        invitations.revoke(user)
    for name, value in fields.items():
        setattr(user, name, value)
    audit.flush()
    if not user.active:
        sessions.end_all(user, now, "deactivated")
    sessions.forget_after_commit(user.id)  # The role may have changed.
    return user


def change_password(user: User, now: dt.datetime, current_password: str, new_password: str) -> None:
    """Change the user's password and end their other sessions. Raise ValidationFailed if the current one is wrong."""
    _check_current_password(user, current_password)
    check_password_strength(new_password, user.email, "new_password")
    user.password_hash = hash_password(new_password)
    audit.flush()
    invitations.revoke(user)
    sessions.end_all(user, now, "password changed", except_id=current_actor().session_id)


def erase_users(users: list[User], now: dt.datetime) -> None:
    """Erase the personal data, sessions and API keys of users. Their usages remain, and so does every total."""
    if current_actor().role != "admin" and any(user.role == "admin" for user in users):
        raise Forbidden("Only an admin may delete an admin.")
    _check_other_managers(users)
    for user in users:
        user.email = user.name = user.password_hash = None
        user.active = False
        user.erased_at = now
    audit.flush()
    for user in users:
        sessions.end_all(user, now, "user deleted")
        invitations.revoke(user)
        delete_api_keys_of(user)


def count_new_address(now: dt.datetime, fields: dict[str, Any], user_id: int | None = None) -> None:
    """Count a request that gives a user an e-mail address, because the response shows whether it is in use elsewhere.

    It counts as a registration, so that a manager can try no more addresses than a stranger. Admins see all users.
    Raise RateLimited after too many requests.
    """
    email = fields.get("email")
    if email is None or current_actor().is_admin:
        return
    if user_id is None or get_visible(User, user_id).email != email:
        consume(REGISTRATION, email.lower(), now)


def count_own_address(now: dt.datetime, fields: dict[str, Any]) -> None:
    """Count a request that changes the actor's own e-mail address, because the current password can be guessed."""
    if "email" in fields:
        consume(PASSWORD_CHANGE, str(current_actor().id), now)


def _check_current_password(user: User, password: str) -> None:
    if not password_matches(password, user.password_hash):
        raise ValidationFailed("This is not your current password.", field="current_password")


def _add(row: Row) -> Row:
    db.session.add(row)
    audit.flush()
    return row


def _check_promotion(actor: Actor, role: str) -> None:
    if role == "admin" and not actor.is_admin:
        raise Forbidden("Only an admin may grant the role admin.")


def _check_other_managers(users: list[User]) -> None:
    """Raise Conflict if an organization would have no active manager with a password without these users."""
    leaving = [user for user in users if user.role == "manager" and user.active and user.password_hash]
    if not leaving:
        return
    organizations = {user.organization_id for user in leaving}
    # Lock the organizations, so that two managers cannot remove each other at once.
    db.session.execute(sa.select(Organization.id).where(Organization.id.in_(organizations)).with_for_update())
    managed = db.session.scalars(
        sa.select(User.organization_id)
        .where(User.organization_id.in_(organizations), User.role == "manager", User.active)
        .where(User.password_hash.is_not(None))
        .where(User.id.not_in([user.id for user in leaving]))
    ).all()
    if organizations - set(managed):
        raise Conflict("An organization needs at least one active manager. Make another user a manager first.")

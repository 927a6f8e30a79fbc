"""Organizations, users, and how they log in."""

from flask import Flask

from . import api_keys, passwords, service
from .api_keys.service import find_key_actor
from .service import TimezoneChange
from .sessions import actor_for_user, find_actor
from .views import auth, organizations, users

__all__ = ["actor_for_user", "api_keys", "auth", "find_actor", "find_key_actor", "init_app", "organizations", "users"]


def init_app(app: Flask, *, on_timezone_change: TimezoneChange) -> None:
    """Limit the concurrent password hashes of the app, and store what a change of an organization's time zone calls."""
    passwords.init_app(app)
    app.extensions[service.TIMEZONE_CHANGE] = on_timezone_change

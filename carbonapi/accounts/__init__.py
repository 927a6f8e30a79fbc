"""Organizations, users, and how they log in."""

from . import api_keys
from .api_keys.service import find_key_actor
from .passwords import create_slots
from .sessions import actor_for_user, find_actor
from .views import auth, organizations, users

__all__ = [
    "actor_for_user", "api_keys", "auth", "create_slots", "find_actor", "find_key_actor", "organizations", "users",
]  # fmt: skip

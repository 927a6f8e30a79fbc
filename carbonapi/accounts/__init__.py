"""Organizations, users, and being signed in."""

from . import api_keys
from .api_keys.service import find_key_actor
from .passwords import init_app
from .sessions import actor_for_user, find_actor
from .views import auth, organizations, users

__all__ = ["actor_for_user", "api_keys", "auth", "find_actor", "find_key_actor", "init_app", "organizations", "users"]

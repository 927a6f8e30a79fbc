"""Organizations, users, and being signed in."""

from .passwords import init_app
from .sessions import actor_of, find_actor
from .views import auth, organizations, users

__all__ = ["actor_of", "auth", "find_actor", "init_app", "organizations", "users"]

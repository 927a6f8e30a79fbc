"""Organizations, users, and being signed in."""

from .sessions import actor_of, find_actor
from .views import auth, organizations, users

__all__ = ["actor_of", "auth", "find_actor", "organizations", "users"]

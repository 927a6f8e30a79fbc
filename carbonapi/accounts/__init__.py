"""Organizations, users, and being signed in."""

from .sessions import find_actor
from .views import auth, organizations, users

__all__ = ["auth", "find_actor", "organizations", "users"]

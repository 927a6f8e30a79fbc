"""Closed periods."""

from .views import periods

__all__ = ["periods"]

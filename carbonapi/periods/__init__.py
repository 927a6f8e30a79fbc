"""Closed periods."""

from .views import closed_periods

__all__ = ["closed_periods"]

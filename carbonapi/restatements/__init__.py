"""Booking usages anew when emission factors have changed."""

from .views import restatements

__all__ = ["restatements"]

"""Restatements: recalculating usages with changed emission factors."""

from .views import restatements

__all__ = ["restatements"]

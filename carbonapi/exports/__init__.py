"""Exports of usages, and their verification."""

from .views import exports

__all__ = ["exports"]

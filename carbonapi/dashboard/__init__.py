"""The dashboard: a single page on top of the public API."""

from .page import dashboard

__all__ = ["dashboard"]

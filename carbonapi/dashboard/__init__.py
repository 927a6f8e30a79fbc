"""The dashboard: a page for people who would rather see the ledger than ask it."""

from .page import dashboard

__all__ = ["dashboard"]

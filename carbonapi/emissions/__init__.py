"""Figures made of the ledger."""

from .views import emissions

__all__ = ["emissions"]

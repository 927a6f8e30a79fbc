"""The ledger."""

from .views import usages

__all__ = ["usages"]

"""Usages: the ledger of what was used, and the kg CO2e that it caused."""

from .views import usages

__all__ = ["usages"]

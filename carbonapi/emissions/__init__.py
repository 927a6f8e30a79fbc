"""Emissions: figures computed from the ledger.

Each kind of figures has a module with its verb: trend, summary and bridge. `service` executes their statements.
"""

from .views import emissions

__all__ = ["emissions"]

"""Emissions: figures computed from the ledger.

Each kind of figures has a module with its verb: trend, summary and bridge. They share `service`, which executes
their statements, so there is no service module.
"""

from .views import emissions

__all__ = ["emissions"]

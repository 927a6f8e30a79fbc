"""Emissions: figures computed from the ledger.

Each kind of figures has a module with its verb: trend, summary, bridge and coverage_report. `service` executes their
statements.
"""

from .views import coverage, emissions

__all__ = ["coverage", "emissions"]

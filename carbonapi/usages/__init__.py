"""The ledger."""

from .period_views import periods
from .views import usages

__all__ = ["periods", "usages"]

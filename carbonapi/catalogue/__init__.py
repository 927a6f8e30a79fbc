"""Usage types, their units, their emission factors, and the editions that factors come from."""

from .factor_set_views import factor_sets
from .views import catalogue

__all__ = ["catalogue", "factor_sets"]

"""Usage types, their units, their emission factors, and the editions that factors come from."""

from . import factor_import_views  # It adds its routes to the blueprint of the factor sets.
from .factor_set_views import factor_sets
from .views import catalogue

__all__ = ["catalogue", "factor_import_views", "factor_sets"]

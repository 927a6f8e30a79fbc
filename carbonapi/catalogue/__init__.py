"""Usage types, their units and their emission factors."""

from . import factor_import_views  # It adds routes to the blueprint.
from .views import catalogue

__all__ = ["catalogue", "factor_import_views"]

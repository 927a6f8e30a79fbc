"""Usage types, their units and their emission factors."""

from .views import catalogue

__all__ = ["catalogue"]

"""What can be used, and what one unit of it causes."""

from .views import catalogue

__all__ = ["catalogue"]

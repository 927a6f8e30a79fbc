"""API keys."""

from .views import api_keys

__all__ = ["api_keys"]

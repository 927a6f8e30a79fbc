"""Sites and meters: where something was used, and what measured it."""

from .views import meters, sites

__all__ = ["meters", "sites"]

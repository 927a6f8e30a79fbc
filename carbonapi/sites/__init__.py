"""Sites and meters: where something was used, and what measured it."""

from . import models

__all__ = ["models"]

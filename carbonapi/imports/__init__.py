"""Files of usages, booked whole or not at all."""

from .views import imports

__all__ = ["imports"]

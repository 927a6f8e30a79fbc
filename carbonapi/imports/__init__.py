"""Files of usages: read, staged, checked and booked as one act; and taken back."""

from .views import imports

__all__ = ["imports"]

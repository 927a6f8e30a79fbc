"""Changes: a feed of every change of a usage, in the order of recording."""

from .views import changes

__all__ = ["changes"]

"""Files of usages: read, staged, checked and booked as one act, at once or queued; and taken back."""

from .jobs.worker import book_queued
from .views import imports

__all__ = ["book_queued", "imports"]

"""Files of usages: read, staged, checked and booked as one act, at once or queued; and taken back."""

from .views import imports
from .worker import book_queued

__all__ = ["book_queued", "imports"]

"""Files of usages: read, staged, checked and booked as one act, at once or queued; and taken back."""

from .jobs.worker import start_worker
from .views import imports

__all__ = ["start_worker", "imports"]

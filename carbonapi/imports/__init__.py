"""Imports of files of usages: stage, check and record them, at once or queued; and revert them."""

from .jobs.worker import start_worker
from .views import imports

__all__ = ["start_worker", "imports"]

"""The database: engine, transactions, what tables share, and row-level security."""

from .constraints import constraint_message, is_momentary
from .engine import CONNECT_ARGS, Base, Model, db, init_app
from .mixins import Owned, Shared, Versioned, Viewer
from .statements import Kept
from .transactions import apart, was_undone_for_others, when_committed, without_transaction

__all__ = [
    "CONNECT_ARGS", "Base", "Kept", "Model", "Owned", "Shared", "Versioned", "Viewer", "apart", "constraint_message",
    "db", "init_app", "is_momentary", "was_undone_for_others", "when_committed", "without_transaction",
]  # fmt: skip

"""The database: engine, transactions, shared columns, and row-level security."""

from .constraints import constraint_message, is_transient
from .engine import CONNECT_ARGS, Base, Model, db, init_app
from .mixins import Global, OptimisticallyLocked, TenantScoped, Viewer
from .statements import CompiledStatement, count_affected, inline_cte
from .transactions import allow, autocommit_connection, is_retryable, on_commit, sqlstate, timeouts, use_autocommit

__all__ = [
    "CONNECT_ARGS", "Base", "CompiledStatement", "Global", "Model", "OptimisticallyLocked", "TenantScoped", "Viewer",
    "allow", "autocommit_connection", "constraint_message", "count_affected", "db", "init_app", "inline_cte",
    "is_retryable", "is_transient", "on_commit", "sqlstate", "timeouts", "use_autocommit",
]  # fmt: skip

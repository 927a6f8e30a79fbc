"""The database: engine, transactions, shared columns, and row-level security."""

from . import revisions
from .auditing import AuditConfig, AuditedBy, NotAudited
from .constraints import choice_constraint, constraint_message, is_transient
from .engine import Base, Model, connect_args, db, init_app
from .mixins import Global, OptimisticallyLocked, TenantScoped, Viewer
from .prepared import prepare
from .statements import CompiledStatement, count_affected, inline_cte, is_any_of, is_read_in_order
from .transactions import (
    allow,
    autocommit_connection,
    is_retryable,
    on_commit,
    roll_back,
    sqlstate,
    timeouts,
    use_autocommit,
    use_transaction,
)

__all__ = [
    "AuditConfig", "AuditedBy", "Base", "CompiledStatement", "Global", "Model", "NotAudited", "OptimisticallyLocked",
    "TenantScoped", "Viewer", "allow", "autocommit_connection", "choice_constraint", "connect_args",
    "constraint_message", "count_affected", "db", "init_app", "inline_cte", "is_any_of", "is_read_in_order",
    "is_retryable", "is_transient", "on_commit", "prepare", "revisions", "roll_back", "sqlstate", "timeouts",
    "use_autocommit", "use_transaction",
]  # fmt: skip

"""The database: engine, transactions, what tables share, and row-level security."""

from .auditing import AuditConfig, AuditedBy, NotAudited
from .constraints import choice_constraint, constraint_message, is_transient
from .engine import CONNECT_ARGS, Base, Model, db, init_app
from .mixins import Global, OptimisticallyLocked, TenantScoped, Viewer
from .statements import CompiledStatement
from .transactions import autocommit_connection, is_retryable, on_commit, use_autocommit

__all__ = [
    "CONNECT_ARGS", "AuditConfig", "AuditedBy", "Base", "CompiledStatement", "Global", "Model", "NotAudited",
    "OptimisticallyLocked", "TenantScoped", "Viewer",
    "autocommit_connection", "choice_constraint", "constraint_message", "db", "init_app", "is_retryable",
    "is_transient", "on_commit", "use_autocommit",
]  # fmt: skip

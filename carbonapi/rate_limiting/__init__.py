"""Rate limits, counted across all workers before a request is executed."""

from .limits import (
    IMPORTS,
    INVITATION_ACCEPTANCE,
    LOGIN,
    PASSWORD_CHANGE,
    REFRESH,
    REGISTRATION,
    WRITES,
    LimitStatus,
    RateLimit,
    consume,
    init_app,
    reset,
)

__all__ = [
    "IMPORTS", "INVITATION_ACCEPTANCE", "LOGIN", "PASSWORD_CHANGE", "REFRESH", "REGISTRATION", "WRITES",
    "LimitStatus", "RateLimit", "consume", "init_app", "reset",
]  # fmt: skip

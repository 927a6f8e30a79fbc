"""Rate limits, counted across all workers before a request is executed."""

from .counters import create_counters
from .leases import LocalAllowances
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
    reset,
)

__all__ = [
    "IMPORTS", "INVITATION_ACCEPTANCE", "LOGIN", "PASSWORD_CHANGE", "REFRESH", "REGISTRATION", "WRITES",
    "LimitStatus", "LocalAllowances", "RateLimit", "consume", "create_counters", "reset",
]  # fmt: skip

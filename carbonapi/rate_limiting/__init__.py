"""How often somebody may do something: counted over all workers, before it is done."""

from .limits import (
    ACCEPTANCE,
    IMPORTS,
    PASSWORD_CHANGE,
    REFRESH,
    REGISTRATION,
    SIGN_IN,
    WRITES,
    Standing,
    Throttle,
    forgive,
    init_app,
    spend,
)

__all__ = [
    "ACCEPTANCE", "IMPORTS", "PASSWORD_CHANGE", "REFRESH", "REGISTRATION", "SIGN_IN", "WRITES", "Standing", "Throttle",
    "forgive", "init_app", "spend",
]  # fmt: skip

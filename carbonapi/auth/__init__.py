"""Who is acting, how they prove it, and which rows they see."""

from .actors import (
    ADMINS,
    EVERYONE,
    MANAGERS,
    OVERSEERS,
    ROLES,
    WRITERS,
    Actor,
    Origin,
    acting_as,
    acting_for,
    current_actor,
    origin,
)
from .decorators import signed_in
from .scoping import Narrow, fetch, fetch_all, named, noun, seen_by_actor, viewer, viewer_values, visible
from .tokens import KEY_PURPOSE, Claims, init_app, known_caller, token_claims

__all__ = [
    "ADMINS", "EVERYONE", "KEY_PURPOSE", "MANAGERS", "OVERSEERS", "ROLES", "WRITERS", "Actor", "Claims", "Narrow",
    "Origin", "acting_as", "acting_for", "current_actor", "fetch", "fetch_all", "init_app", "known_caller", "named",
    "noun", "origin", "seen_by_actor", "signed_in", "token_claims", "viewer", "viewer_values", "visible",
]  # fmt: skip

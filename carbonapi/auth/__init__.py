"""Actors, authentication, and the rows that an actor may see."""

from .actors import (
    ADMINS,
    EVERYONE,
    MANAGERS,
    REVIEWERS,
    ROLES,
    WRITERS,
    Actor,
    Origin,
    acting_as,
    acting_on_behalf_of,
    current_actor,
    request_origin,
)
from .decorators import require_login
from .scoping import (
    Narrow,
    display_name,
    find_visible,
    get_all_referenced,
    get_all_visible,
    get_referenced,
    get_visible,
    pick_referenced,
    scope_criteria,
    visible,
)
from .state import Claims, State, state
from .tokens import API_KEY_PREFIX, cached_identity, forget, forget_members, forget_members_with_sites, token_claims

__all__ = [
    "ADMINS", "API_KEY_PREFIX", "EVERYONE", "MANAGERS", "REVIEWERS", "ROLES", "WRITERS", "Actor", "Claims", "Narrow",
    "Origin", "State", "acting_as", "acting_on_behalf_of", "cached_identity", "current_actor", "display_name",
    "find_visible", "forget", "forget_members", "forget_members_with_sites", "get_all_referenced", "get_all_visible",
    "get_referenced", "get_visible", "pick_referenced", "request_origin", "require_login", "scope_criteria", "state",
    "token_claims", "visible",
]  # fmt: skip

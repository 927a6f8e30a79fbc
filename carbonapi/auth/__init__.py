"""Who is acting, how they prove it, and which rows they see."""

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
    get_all_visible,
    get_referenced,
    get_visible,
    scope_criteria,
    viewer_parameter_values,
    viewer_parameters,
    visible,
)
from .tokens import API_KEY_PREFIX, Claims, cached_identity, init_app, token_claims

__all__ = [
    "ADMINS", "API_KEY_PREFIX", "EVERYONE", "MANAGERS", "REVIEWERS", "ROLES", "WRITERS", "Actor", "Claims", "Narrow",
    "Origin", "acting_as", "acting_on_behalf_of", "cached_identity", "current_actor", "display_name",
    "get_all_visible", "get_referenced", "get_visible", "init_app", "request_origin", "require_login",
    "scope_criteria", "token_claims", "viewer_parameter_values", "viewer_parameters", "visible",
]  # fmt: skip

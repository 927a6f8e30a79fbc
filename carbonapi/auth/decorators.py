"""Views that require a signed-in actor."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import g

from ..errors import Forbidden
from .actors import EVERYONE, acting_as
from .tokens import authenticate

P = ParamSpec("P")

R = TypeVar("R")


def require_login(
    view: Callable[P, R], roles: frozenset[str] = EVERYONE, *, reads: bool = False, in_person: bool = False
) -> Callable[P, R]:
    """Let the view run as the bearer of an access token or an API key whose role is one of `roles`.

    reads: whether it writes nothing, so that a key of the scope `read` will do. in_person: whether no key will.
    """

    @wraps(view)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        actor = authenticate()
        if actor.api_key_id is not None and in_person:
            raise Forbidden("An API key may not do this. Sign in with a password for it.")
        if actor.scope == "read" and not reads:
            raise Forbidden("The scope of this API key, read, does not allow this. It takes a key of the scope write.")
        if actor.role not in roles:
            raise Forbidden(f"Your role, {actor.role}, may not do this. It takes {' or '.join(sorted(roles))}.")
        g.actor = actor  # For the log, which tells of the request when nobody acts any more.
        with acting_as(actor):
            return view(*args, **kwargs)

    return wrapper

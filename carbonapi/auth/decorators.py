"""The decorator of views that need an authenticated actor."""

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
    """Run the view as the bearer of an access token or an API key, if their role is one of `roles`.

    reads: the view only reads, so that an API key with the scope `read` suffices. in_person: reject all API keys.
    """

    @wraps(view)
    def run_as_actor(*args: P.args, **kwargs: P.kwargs) -> R:
        actor = authenticate()
        if actor.api_key_id is not None and in_person:
            raise Forbidden("API keys may not do this. Log in with a password instead.")
        if actor.scope == "read" and not reads:
            raise Forbidden("This API key has the scope read. Use one with the scope write.")
        if actor.role not in roles:
            raise Forbidden(f"The role {actor.role} may not do this. Required: {' or '.join(sorted(roles))}.")
        g.actor = actor  # For the request's log line, which is written after the view has returned.
        with acting_as(actor):
            return view(*args, **kwargs)

    return run_as_actor

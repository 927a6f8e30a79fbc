"""How often a request may be made: who writes is counted before anything is done, and every answer tells what is left.

The headers are those of draft-ietf-httpapi-ratelimit-headers, lists of structured fields (RFC 9651).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask, Response, g

from ..auth import current_actor
from ..rate_limiting import LimitStatus, RateLimit, consume
from .fields import now

POLICY = "RateLimit-Policy"
LEFT = "RateLimit"


def init_app(app: Flask) -> None:
    """Let the answers to what is throttled tell so."""
    app.before_request(_begin)
    app.after_request(_tell_standings)


def rate_limited(view: Callable[..., Any], throttle: RateLimit) -> Callable[..., Any]:
    """The view of a signed-in actor, which they may ask for so often."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        consume(throttle, str(current_actor().id), now())
        return view(*args, **kwargs)

    return wrapper


def _begin() -> None:
    g.limit_statuses = {}


def _tell_standings(response: Response) -> Response:
    standings: dict[str, LimitStatus] = g.get("limit_statuses", {})
    if standings:
        told = standings.values()
        policies = (f'"{standing.name}";q={standing.limit.count};w={standing.limit.seconds}' for standing in told)
        response.headers[POLICY] = ", ".join(policies)
        left = (f'"{standing.name}";r={standing.remaining};t={standing.seconds}' for standing in told)
        response.headers[LEFT] = ", ".join(left)
    return response

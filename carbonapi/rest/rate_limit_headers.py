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


def consume_before(view: Callable[..., Any], limit: RateLimit) -> Callable[..., Any]:
    """Count a request of the logged-in actor under this limit before the view runs."""

    @wraps(view)
    def count_and_run(*args: Any, **kwargs: Any) -> Any:
        consume(limit, str(current_actor().id), now())
        return view(*args, **kwargs)

    return count_and_run


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

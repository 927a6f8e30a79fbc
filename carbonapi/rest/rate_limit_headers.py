"""Rate limits of requests, and the headers of draft-ietf-httpapi-ratelimit-headers (structured fields, RFC 9651)."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, g

from ..auth import current_actor
from ..rate_limiting.limits import LimitStatus, RateLimit, consume
from .fields import now

POLICY = "RateLimit-Policy"
REMAINING = "RateLimit"


def consume_before(view: Callable[..., Any], limit: RateLimit) -> Callable[..., Any]:
    """Count a request of the logged-in actor under this limit before the view runs."""

    @wraps(view)
    def count_and_run(*args: Any, **kwargs: Any) -> Any:
        consume(limit, str(current_actor().id), now())
        return view(*args, **kwargs)

    return count_and_run


def count_fields_before(view: Callable[..., Any], count: Callable[..., None]) -> Callable[..., Any]:
    """Count a request under a limit that depends on the fields of its body before the view runs."""

    @wraps(view)
    def count_and_run(resource: Any, fields: dict[str, Any], **path: Any) -> Any:
        count(now(), fields, **path)
        return view(resource, fields, **path)

    return count_and_run


def reset_limit_statuses() -> None:
    g.limit_statuses = {}


def add_rate_limit_headers(response: Response) -> Response:
    """Report the limits under which the request was counted, and what remains of each."""
    statuses: dict[str, LimitStatus] = g.get("limit_statuses", {})
    if statuses:
        policies = (f'"{status.name}";q={status.limit.count};w={status.limit.seconds}' for status in statuses.values())
        remaining = (f'"{status.name}";r={status.remaining};t={status.seconds}' for status in statuses.values())
        response.headers[POLICY] = ", ".join(policies)
        response.headers[REMAINING] = ", ".join(remaining)
    return response

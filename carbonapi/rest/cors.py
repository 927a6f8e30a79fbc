"""Which pages of other origins may read what the API answers: those of CORS_ORIGINS, or none.

A browser sends the API's tokens nowhere by itself, so there is no mode with credentials.
"""

from flask import Flask, Response, current_app, request

MAY_BE_SENT = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, X-Request-ID"
MAY_BE_READ = (
    "ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, "
    "X-Pagination, X-Request-ID"
)
REMEMBERED_SECONDS = 600  # How long a browser need not ask again what it may send.


def init_app(app: Flask) -> None:
    """Let the answers of the API tell so."""
    app.after_request(_tell_origin)


def cors_headers(origin: str, origins: frozenset[str] | None) -> dict[str, str]:
    """The headers by which a page of this origin may read an answer, if it is one of `origins`."""
    if origins is None or origin not in origins:
        return {}
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": MAY_BE_READ}


def _tell_origin(response: Response) -> Response:
    origins: frozenset[str] | None = current_app.config["CORS_ORIGINS"]
    if origins is None or not request.path.startswith("/api/"):
        return response
    response.vary.add("Origin")
    headers = cors_headers(request.headers.get("Origin", ""), origins)
    # A browser asks beforehand whether it may send what a form could not: a method, a header.
    if headers and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        headers |= {
            "Access-Control-Allow-Methods": ", ".join(sorted(response.allow)),
            "Access-Control-Allow-Headers": MAY_BE_SENT,
            "Access-Control-Max-Age": str(REMEMBERED_SECONDS),
        }
    response.headers.update(headers)
    return response

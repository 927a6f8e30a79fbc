"""CORS: the pages of the origins in CORS_ORIGINS may read the API's responses.

Browsers send no credentials to the API by themselves, so CORS with credentials is not needed.
"""

from flask import Response, current_app, request

ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, X-Request-ID"
EXPOSED_HEADERS = (
    "ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, "
    "X-Pagination, X-Request-ID"
)
MAX_AGE_SECONDS = 600  # How long browsers cache a preflight response.


def cors_headers(origin: str, origins: frozenset[str] | None) -> dict[str, str]:
    """Return the headers with which a page of this origin may read a response: none unless it is one of `origins`."""
    if origins is None or origin not in origins:
        return {}
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED_HEADERS}


def add_cors_headers(response: Response) -> Response:
    origins: frozenset[str] | None = current_app.config["CORS_ORIGINS"]
    if origins is None or not request.path.startswith("/api/"):
        return response
    response.vary.add("Origin")
    headers = cors_headers(request.headers.get("Origin", ""), origins)
    # A preflight request asks which methods and headers the page may send.
    if headers and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        headers |= {
            "Access-Control-Allow-Methods": ", ".join(sorted(response.allow)),
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(MAX_AGE_SECONDS),
        }
    response.headers.update(headers)
    return response

"""CORS: off by default, and for exactly the origins of the setting."""

import pytest

from carbonapi import create_app
from carbonapi.db import db
from carbonapi.errors import Unavailable
from carbonapi.rest import early_problem
from tests.support.apps import settings_for

OURS = "https://carbon.example"
STRANGERS = [
    "https://evil.example", "null", "http://carbon.example", "https://carbon.example:8443", "https://carbon.example/",
    "https://x.carbon.example", "https://carbon.example.evil.example", "HTTPS://CARBON.EXAMPLE", "*",
]  # fmt: skip
PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization, if-match"}


@pytest.fixture(scope="module")
def shared(database_url):
    """A client of a service with two CORS origins."""
    app = create_app(settings_for(database_url, CORS_ORIGINS=frozenset({OURS, "http://localhost:3000"})))
    yield app.test_client()
    with app.app_context():
        db.engine.dispose()


def cors_headers_of(answer):
    return {name: value for name, value in answer.headers if name.startswith("Access-Control-")}


@pytest.mark.parametrize("origin", [OURS, *STRANGERS])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_cors_is_off_by_default(stranger, method, origin):
    answer = stranger.open("/usages", method, headers={"Origin": origin, **PREFLIGHT})

    assert cors_headers_of(answer) == {}
    assert "Origin" not in answer.headers["Vary"]


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize("origin", STRANGERS)
def test_other_origins_get_no_cors_headers(shared, method, origin):
    answer = shared.open("/api/v1/usages", method=method, headers={"Origin": origin, **PREFLIGHT})

    assert cors_headers_of(answer) == {}
    assert answer.headers["Vary"] == "Authorization, Origin, Accept-Encoding"


@pytest.mark.parametrize("path", ["/api/v1/usages", "/api/v1/nowhere"])
def test_allowed_origin_may_read_responses_and_errors(shared, path):
    answer = shared.get(path, headers={"Origin": OURS})

    assert answer.status_code in (401, 404)
    assert cors_headers_of(answer) == {
        "Access-Control-Allow-Origin": OURS,
        "Access-Control-Expose-Headers": "ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, "
        "Retry-After, WWW-Authenticate, X-Pagination, X-Request-ID",
    }
    assert answer.headers["Vary"] == "Authorization, Origin, Accept-Encoding"


def test_preflight_lists_the_methods_of_the_url(shared):
    answer = shared.options("/api/v1/usages/1", headers={"Origin": OURS, **PREFLIGHT})

    assert answer.status_code == 200
    assert cors_headers_of(answer) == {
        "Access-Control-Allow-Origin": OURS,
        "Access-Control-Expose-Headers": cors_headers_of(shared.get("/api/v1/usages", headers={"Origin": OURS}))[
            "Access-Control-Expose-Headers"
        ],
        "Access-Control-Allow-Methods": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
        "Prefer, X-Request-ID",
        "Access-Control-Max-Age": "600",
    }


def test_vary_has_origin_without_an_origin_header(shared):
    answer = shared.get("/api/v1/usages")

    assert cors_headers_of(answer) == {}
    assert answer.headers["Vary"] == "Authorization, Origin, Accept-Encoding"


def test_urls_outside_the_api_have_no_cors_headers(shared):
    assert cors_headers_of(shared.get("/openapi.json", headers={"Origin": OURS})) == {}


@pytest.mark.parametrize(("origin", "allowed"), [(OURS, OURS), ("https://evil.example", None)])
def test_early_problem_has_cors_headers(origin, allowed):
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/v1/usages", "REMOTE_ADDR": "::1", "HTTP_ORIGIN": origin}
    _, headers, _ = early_problem(Unavailable("Full."), environ, 0.1, frozenset({OURS}))

    assert dict(headers).get("Access-Control-Allow-Origin") == allowed
    assert dict(headers)["Vary"] == "Origin"
    assert dict(headers)["Retry-After"] == "2"


def test_cookies_are_neither_accepted_nor_set(as_member, stranger, shared):
    token = as_member.tokens["access_token"]
    stranger.http.set_cookie("access_token_cookie", token)
    stranger.http.set_cookie("session", token)

    answers = [stranger.get(path) for path in ("/usages", "/auth/me", "/openapi.json", "/docs", "/health/live")]

    assert [answer.status_code for answer in answers] == [401, 401, 200, 200, 200]
    assert as_member.get("/usages").status_code == 200
    assert not any("Set-Cookie" in answer.headers for answer in [*answers, as_member.get("/usages")])

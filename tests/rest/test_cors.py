"""Which pages of other origins may read the API's answers: none, unless they are named one by one."""

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
    """Somebody at a service that shares its answers with the pages of two origins."""
    app = create_app(settings_for(database_url, CORS_ORIGINS=frozenset({OURS, "http://localhost:3000"})))
    yield app.test_client()
    with app.app_context():
        db.engine.dispose()


def told(answer):
    return {name: value for name, value in answer.headers if name.startswith("Access-Control-")}


@pytest.mark.parametrize("origin", [OURS, *STRANGERS])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_without_the_setting_no_page_is_told_anything(stranger, method, origin):
    answer = stranger.open("/usages", method, headers={"Origin": origin, **PREFLIGHT})

    assert told(answer) == {}
    assert "Origin" not in answer.headers["Vary"]


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize("origin", STRANGERS)
def test_an_origin_that_is_not_named_to_the_letter_is_told_nothing(shared, method, origin):
    answer = shared.open("/api/v1/usages", method=method, headers={"Origin": origin, **PREFLIGHT})

    assert told(answer) == {}
    assert answer.headers["Vary"] == "Authorization, Origin"


@pytest.mark.parametrize("path", ["/api/v1/usages", "/api/v1/nowhere"])
def test_a_named_origin_may_read_answers_and_errors_without_credentials(shared, path):
    answer = shared.get(path, headers={"Origin": OURS})

    assert answer.status_code in (401, 404)
    assert told(answer) == {
        "Access-Control-Allow-Origin": OURS,
        "Access-Control-Expose-Headers": "ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, "
        "Retry-After, WWW-Authenticate, X-Pagination, X-Request-ID",
    }
    assert answer.headers["Vary"] == "Authorization, Origin"


def test_a_preflight_is_told_what_the_address_takes(shared):
    answer = shared.options("/api/v1/usages/1", headers={"Origin": OURS, **PREFLIGHT})

    assert answer.status_code == 200
    assert told(answer) == {
        "Access-Control-Allow-Origin": OURS,
        "Access-Control-Expose-Headers": told(shared.get("/api/v1/usages", headers={"Origin": OURS}))[
            "Access-Control-Expose-Headers"
        ],
        "Access-Control-Allow-Methods": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
        "Prefer, X-Request-ID",
        "Access-Control-Max-Age": "600",
    }


def test_caches_are_told_that_it_depends_on_the_origin_even_where_there_is_none(shared):
    answer = shared.get("/api/v1/usages")

    assert told(answer) == {}
    assert answer.headers["Vary"] == "Authorization, Origin"


def test_what_is_no_part_of_the_api_is_read_by_no_other_page(shared):
    assert told(shared.get("/openapi.json", headers={"Origin": OURS})) == {}


@pytest.mark.parametrize(("origin", "allowed"), [(OURS, OURS), ("https://evil.example", None)])
def test_a_refusal_before_the_application_is_asked_is_shared_alike(origin, allowed):
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/v1/usages", "REMOTE_ADDR": "::1", "HTTP_ORIGIN": origin}
    _, headers, _ = early_problem(Unavailable("Full."), environ, 0.1, frozenset({OURS}))

    assert dict(headers).get("Access-Control-Allow-Origin") == allowed
    assert dict(headers)["Vary"] == "Origin"
    assert dict(headers)["Retry-After"] == "2"


def test_no_cookie_signs_anybody_in_and_none_is_set(as_member, stranger, shared):
    token = as_member.tokens["access_token"]
    stranger.http.set_cookie("access_token_cookie", token)
    stranger.http.set_cookie("session", token)

    answers = [stranger.get(path) for path in ("/usages", "/auth/me", "/openapi.json", "/docs", "/health/live")]

    assert [answer.status_code for answer in answers] == [401, 401, 200, 200, 200]
    assert as_member.get("/usages").status_code == 200
    assert not any("Set-Cookie" in answer.headers for answer in [*answers, as_member.get("/usages")])

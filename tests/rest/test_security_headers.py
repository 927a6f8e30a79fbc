"""Security headers of all responses."""

import pytest

from carbonapi import create_app
from carbonapi.db import db
from carbonapi.errors import RequestTimeout
from carbonapi.rest import early_problem
from tests.support.apps import settings_for

PROTECTIVE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
ONCE = {name: [value] for name, value in PROTECTIVE.items()}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 302),
        ("GET", "/docs", 200),
        ("GET", "/docs/swagger-ui.css", 200),
        ("GET", "/static/docs.js", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/health/live", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/metrics", 404),
        ("GET", "/api/v1/usages", 200),
        ("HEAD", "/api/v1/usages", 200),
        ("OPTIONS", "/api/v1/usages", 200),
        ("GET", "/api/v1/usages/export", 200),
        ("GET", "/api/v1/usages?strat=1", 422),
        ("GET", "/api/v1/usages/12345", 404),
        ("DELETE", "/api/v1/auth/me", 405),
        ("POST", "/api/v1/usages", 415),
    ],
)
def test_every_response_has_security_headers(as_member, method, path, status):
    answer = as_member.http.open(
        path, method=method, headers={"Authorization": f"Bearer {as_member.tokens['access_token']}"}
    )

    answer.close()
    assert answer.status_code == status
    assert {name: answer.headers.getlist(name) for name in PROTECTIVE} == {
        name: [PROTECTIVE[name]] for name in PROTECTIVE
    }
    assert "Strict-Transport-Security" not in answer.headers
    assert answer.headers.get("Cache-Control") == "private, no-cache" or not path.startswith("/api/")


def test_dashboard_has_a_content_security_policy_of_its_own(as_member):
    answer = as_member.http.get("/dashboard")

    (policy,) = answer.headers.getlist("Content-Security-Policy")
    assert "trusted-types 'none'" in policy
    others = [name for name in PROTECTIVE if name != "Content-Security-Policy"]
    assert all(answer.headers.getlist(name) == ONCE[name] for name in others)


def test_internal_and_early_errors_have_security_headers(app, as_member, monkeypatch):
    monkeypatch.setattr("carbonapi.usages.views.Usage", None)
    answer = as_member.get("/usages/1")
    _, headers, _ = early_problem(
        RequestTimeout("Slow."), {"REQUEST_METHOD": "PUT", "PATH_INFO": "/", "REMOTE_ADDR": ""}, 1, None
    )

    assert answer.status_code == 500
    assert PROTECTIVE.items() <= dict(answer.headers).items()
    assert PROTECTIVE.items() <= dict(headers).items()


@pytest.mark.parametrize(
    ("proxies", "protocol", "expected"),
    [(0, "https", None), (1, "http", None), (1, "https", "max-age=31536000"), (1, "https, http", None)],
)
def test_hsts_depends_on_trusted_proxies_only(database_url, proxies, protocol, expected):
    app = create_app(settings_for(database_url, TRUSTED_PROXIES=proxies))
    answer = app.test_client().get("/health/live", headers={"X-Forwarded-Proto": protocol})
    with app.app_context():
        db.engine.dispose()

    assert answer.headers.get("Strict-Transport-Security") == expected

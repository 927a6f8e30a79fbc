"""The log line of each request, and /metrics."""

import datetime as dt

import pytest

from carbonapi import create_app
from carbonapi.db import db
from tests.support.apps import settings_for
from tests.support.client import Client

TOKEN = "a token of Prometheus"


@pytest.fixture
def measured(database_url):
    """A client of a service with /metrics."""
    app = create_app(settings_for(database_url, METRICS_TOKEN=TOKEN))
    yield app.test_client()
    with app.app_context():
        db.engine.dispose()


def test_log_line_has_actor_and_route_but_no_query(as_member, log_lines):
    answer = as_member.get("/usages/12345?x=secret", headers={"X-Request-ID": "of-the-caller"})

    assert answer.status_code == 422
    (line,) = log_lines()
    asked_at = dt.datetime.fromisoformat(line.pop("time"))
    assert asked_at.utcoffset() == dt.timedelta(0)
    assert abs(dt.datetime.now(dt.UTC) - asked_at) < dt.timedelta(minutes=1)
    assert 0 < line.pop("duration_ms") < 60_000
    assert line == {
        "level": "info",
        "message": "request",
        "request_id": "of-the-caller",
        "method": "GET",
        "route": "/api/v1/usages/<int:usage_id>",
        "path": "/api/v1/usages/12345",
        "actor_id": as_member.user.id,
        "organization_id": as_member.user.organization_id,
        "address": "127.0.0.1",
        "status": 422,
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "level", "route"),
    [
        ("GET", "/health/live", 200, "debug", "/health/live"),
        ("GET", "/docs", 200, "info", "/docs"),
        ("GET", "/nowhere/%0A%22x", 404, "info", None),
        ("POST", "/health/live", 405, "info", None),
        ("GET", "/metrics", 404, "info", None),
    ],
)
def test_log_line_has_level_and_route(stranger, log_lines, method, path, status, level, route):
    assert stranger.http.open(path, method=method).status_code == status

    (line,) = log_lines()
    assert (line["status"], line["level"], line["route"], line["actor_id"]) == (status, level, route, None)


def test_unavailable_database_is_logged_as_a_warning(log_lines):
    app = create_app(settings_for("postgresql+psycopg2://somebody:canary@127.0.0.1:1/nothing"))

    assert Client(app).get("/health/ready").status_code == 503

    reason, request = log_lines()
    assert (reason["level"], reason["message"]) == ("warning", "database unavailable: SQLSTATE none")
    assert reason["request_id"] == request["request_id"]
    assert (request["level"], request["status"]) == ("warning", 503)


def test_streamed_response_is_logged_at_its_end(committing, log_lines):
    answer = committing.get("/usages/export?format=csv")
    assert log_lines() == []

    answer.close()

    (line,) = log_lines()
    assert (line["status"], line["route"]) == (200, "/api/v1/usages/export")


def test_metrics_require_the_token(measured):
    for authorization in ("", "Bearer", "Bearer a token", f"Basic {TOKEN}", "Bearer ä", TOKEN):
        answer = measured.get("/metrics", headers={"Authorization": authorization})
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (
            401,
            'Bearer realm="carbonapi"' + (', error="invalid_token"' if authorization.startswith("Bearer ") else ""),
        )
        assert TOKEN not in answer.text

    answer = measured.get("/metrics", headers={"Authorization": f"bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    assert "carbonapi_requests_total" in answer.text


def test_invented_methods_and_paths_share_one_label(measured):
    for path in ("/canary-1", "/api/v1/canary-2"):
        measured.open(path, method="CANARY")

    text = measured.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert 'carbonapi_requests_total{method="other",route="unknown",status="404"}' in text
    assert "canary" not in text.lower()

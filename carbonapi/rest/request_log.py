"""The log line of each request, and the metrics of Prometheus at /metrics."""

import hmac
import logging
import time
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST

from ..errors import Unauthenticated
from ..observability import metrics
from ..observability.logging import request_fields, write_log

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
PROBES = {"/health/live", "/health/ready", "/metrics"}


def init_app(app: Flask) -> None:
    """Serve /metrics if there is a METRICS_TOKEN."""
    if app.config["METRICS_TOKEN"] is not None:
        app.add_url_rule("/metrics", "metrics", _metrics)


def start_timer() -> None:
    g.started_at = time.perf_counter()


def log_request(response: Response) -> Response:
    """Log and count the request. That of a streamed response is logged when the stream has ended."""
    fields, started_at, status = request_fields(), g.started_at, response.status_code
    method, route = request.method, fields["route"]

    def write() -> None:
        seconds = time.perf_counter() - started_at
        # Invented methods share one label, because Prometheus stores each label forever.
        metrics.count_request(method if method in METHODS else "other", str(route or "unknown"), status, seconds)
        write_log(_level(route, status), "request", **fields, status=status, duration_ms=round(seconds * 1000, 3))

    if response.is_streamed and method != "HEAD":
        response.call_on_close(write)
    else:
        write()
    return response


def log_early_problem(environ: Mapping[str, Any], request_id: str, status: int, seconds: float) -> None:
    """Log and count a request that was answered before it reached the application. It has no route and no actor."""
    method = environ["REQUEST_METHOD"]
    metrics.count_request(method if method in METHODS else "other", "refused", status, seconds)
    fields = {"request_id": request_id, "method": method, "route": None, "path": environ["PATH_INFO"]}
    fields |= {"actor_id": None, "organization_id": None, "address": environ["REMOTE_ADDR"]}
    write_log(_level(None, status), "request", **fields, status=status, duration_ms=round(seconds * 1000, 3))


def _level(route: object, status: int) -> int:
    if status >= 500:
        return logging.WARNING if status == 503 else logging.ERROR
    # Monitoring sends these every few seconds, so only failed ones are logged.
    return logging.DEBUG if route in PROBES and status < 400 else logging.INFO


def _metrics() -> Response:
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    expected: str = current_app.config["METRICS_TOKEN"]
    # WSGI decodes headers as latin-1.
    is_right = hmac.compare_digest(token.strip().encode("latin-1", "replace"), expected.encode())
    if scheme.lower() != "bearer" or not is_right:
        raise Unauthenticated("Send `Authorization: Bearer <the token of CARBONAPI_METRICS_TOKEN>`.")
    return Response(metrics.render(), content_type=CONTENT_TYPE_LATEST)

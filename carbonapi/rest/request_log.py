"""What is told of each request: a line of the log, and what Prometheus counts and reads at /metrics."""

import hmac
import logging
import time
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, current_app, g, request

from ..errors import Unauthenticated
from ..observability import metrics
from ..observability.logging import request_fields, write_log

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
PROBES = {"/health/live", "/health/ready", "/metrics"}


def init_app(app: Flask) -> None:
    """Tell of each request; to be called before others have a say, so that this begins first and ends last.

    Without a METRICS_TOKEN there is no /metrics.
    """
    app.before_request(_begin)
    app.after_request(_tell_of)
    if app.config["METRICS_TOKEN"] is not None:
        app.add_url_rule("/metrics", "metrics", _metrics)


def _begin() -> None:
    g.began_at = time.perf_counter()


def _tell_of(response: Response) -> Response:
    """Tell of a request that has its answer, or, if that is being written yet, will have it."""
    told, began_at, status = request_fields(), g.began_at, response.status_code
    method, route = request.method, told["route"]

    def end() -> None:
        seconds = time.perf_counter() - began_at
        # What callers make up is counted as one, for each label is kept for good.
        metrics.count_request(method if method in METHODS else "other", str(route or "unknown"), status, seconds)
        write_log(_level(route, status), "request", **told, status=status, duration_ms=round(seconds * 1000, 3))

    if response.is_streamed and method != "HEAD":
        response.call_on_close(end)
    else:
        end()
    return response


def log_early_problem(environ: Mapping[str, Any], request_id: str, status: int, seconds: float) -> None:
    """Tell of a request that was refused before the application was asked: it is of no route yet, and of nobody."""
    method = environ["REQUEST_METHOD"]
    metrics.count_request(method if method in METHODS else "other", "refused", status, seconds)
    told = {"request_id": request_id, "method": method, "route": None, "path": environ["PATH_INFO"]}
    told |= {"actor_id": None, "organization_id": None, "address": environ["REMOTE_ADDR"]}
    write_log(_level(None, status), "request", **told, status=status, duration_ms=round(seconds * 1000, 3))


def _level(route: object, status: int) -> int:
    if status >= 500:
        return logging.WARNING if status == 503 else logging.ERROR
    # Who asks every few seconds whether all is well is told of when it is not.
    return logging.DEBUG if route in PROBES and status < 400 else logging.INFO


def _metrics() -> Response:
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    expected: str = current_app.config["METRICS_TOKEN"]
    # A header comes as its bytes, one for each character.
    is_right = hmac.compare_digest(token.strip().encode("latin-1", "replace"), expected.encode())
    if scheme.lower() != "bearer" or not is_right:
        raise Unauthenticated("Send `Authorization: Bearer <the token of CARBONAPI_METRICS_TOKEN>`.")
    return Response(metrics.render(), content_type=metrics.CONTENT_TYPE)

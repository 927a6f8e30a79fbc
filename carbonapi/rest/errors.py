"""Every error as application/problem+json (RFC 9457). The one place that knows status codes."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import flask_smorest
import marshmallow as ma
import sqlalchemy as sa
from flask import Flask, Response, current_app, g, request
from psycopg2 import errorcodes
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from .. import errors
from ..db import constraint_message, db, is_transient, sqlstate
from ..observability import metrics
from .cors import cors_headers
from .request_log import log_early_problem
from .security_headers import SECURITY_HEADERS

STATUS: dict[type[errors.CarbonError], int] = {
    errors.BadRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.RequestTimeout: 408,
    errors.Conflict: 409,
    errors.LengthRequired: 411,
    errors.PreconditionFailed: 412,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.ValidationFailed: 422,
    errors.MissingFactor: 422,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
}
TITLES = {status: error.title for error, status in reversed(STATUS.items())}
RETRY_AFTER_SECONDS = 2
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ProblemSchema(ma.Schema):
    """What went wrong, and the way out (RFC 9457)."""

    type = ma.fields.String(
        required=True,
        metadata={
            "format": "uri",
            "description": "What kind of problem: for programs to rely on.",
            "example": "urn:carbonapi:problem:not-found",
        },
    )
    title = ma.fields.String(required=True, metadata={"description": "The kind in words.", "example": "Not found"})
    status = ma.fields.Integer(required=True, metadata={"description": "The status code.", "example": 404})
    detail = ma.fields.String(
        required=True, metadata={"description": "This very problem.", "example": "There is no usage 7."}
    )
    instance = ma.fields.String(
        required=True,
        metadata={"format": "uri-reference", "description": "The path asked for.", "example": "/api/v1/usages/7"},
    )
    request_id = ma.fields.String(
        required=True,
        metadata={"description": "Find it in the log by this.", "example": "0f8fad5bd9cb469fa16570867728950e"},
    )
    errors = ma.fields.Dict(
        keys=ma.fields.String(),
        values=ma.fields.Dict(keys=ma.fields.String(), values=ma.fields.List(ma.fields.String())),
        metadata={"description": "What is wrong with which field: by `json`, `query` or `file`, then field or line."},
    )


def problem_type(title: str) -> str:
    """The type of a problem, for programs to rely on: the title in lower case and hyphens."""
    return "urn:carbonapi:problem:" + re.sub(r"[^a-z0-9]+", "-", title.lower())


def problem_response(
    status: int, title: str, detail: str, messages: errors.Messages | None = None, headers: dict[str, str] | None = None
) -> Response:
    """A problem+json response."""
    text = _text_of(status, title, detail, request.path, g.get("request_id", ""), messages)
    response = Response(text, status, mimetype="application/problem+json")
    response.headers.update(headers or {})
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="carbonapi"'
    if status == 503:
        response.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return response


def early_problem(
    error: errors.CarbonError, environ: Mapping[str, Any], seconds: float, origins: frozenset[str] | None
) -> tuple[int, list[tuple[str, str]], bytes]:
    """The status, headers and body that answer a request (PEP 3333) that the application has not been asked.

    seconds: how long it took to refuse it. origins: whose pages may read the answer.
    """
    status, id_ = STATUS[type(error)], request_id(environ.get("HTTP_X_REQUEST_ID", ""))
    path = environ["PATH_INFO"]
    log_early_problem(environ, id_, status, seconds)
    headers = [
        *SECURITY_HEADERS.items(),
        *cors_headers(environ.get("HTTP_ORIGIN", ""), origins).items(),
        ("Content-Type", "application/problem+json"),
        ("Cache-Control", "private, no-cache"),
        ("X-Request-ID", id_),
        *([("Vary", "Origin")] if origins else []),
        *([("Retry-After", str(RETRY_AFTER_SECONDS))] if status == 503 else []),
    ]
    return status, headers, _text_of(status, error.title, str(error), path, id_, error.errors)


def _text_of(status: int, title: str, detail: str, path: str, id_: str, messages: errors.Messages | None) -> bytes:
    body = {
        "type": problem_type(title),
        "title": title,
        "status": status,
        "detail": detail,
        "instance": quote(path, safe="/:@!$&'()*+,;=~"),
        "request_id": id_,
    }
    if messages:
        body["errors"] = messages
    # A message may repeat what the caller sent: half a surrogate pair, which UTF-8 does not have, becomes a "?".
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def request_id(asked: str) -> str:
    """The id of a request: what the caller asks for, if it is one, or a new one."""
    return asked if _REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex


def init_app(app: Flask) -> None:
    """Answer every error as a problem."""
    app.register_error_handler(errors.CarbonError, _carbon_error)
    app.register_error_handler(StaleDataError, _stale_data)
    app.register_error_handler(sa.exc.DBAPIError, _database_error)
    app.register_error_handler(sa.exc.TimeoutError, _pool_is_empty)
    app.register_error_handler(Exception, _unforeseen)


class ProblemMixin:
    """Makes flask-smorest answer and document its errors as problems."""

    ERROR_SCHEMA = ProblemSchema

    def _register_responses(self: Any) -> None:
        usual, self.DEFAULT_RESPONSE_CONTENT_TYPE = self.DEFAULT_RESPONSE_CONTENT_TYPE, "application/problem+json"
        flask_smorest.Api._register_responses(self)
        self.DEFAULT_RESPONSE_CONTENT_TYPE = usual

    def handle_http_exception(self, error: HTTPException) -> Response:
        """Errors of routing, of reading the body and of validation."""
        db.session.rollback()
        assert error.code is not None
        data = getattr(error, "data", None) or {}
        headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After", "Location")}
        messages = _by_field(data.get("messages") or {})
        if error.code < 400:
            return Response(status=error.code, headers=headers)
        detail = _first_of(messages) if messages else _DETAILS.get(error.code, error.description or error.name)
        return problem_response(error.code, TITLES.get(error.code, error.name), detail, messages, headers)


_DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take that method; `Allow` says which it takes.",
    413: "The body is larger than this address takes.",
    500: "Something went wrong here. The log has more under the request id.",
}


def _by_field(messages: dict[str, Any]) -> errors.Messages:
    """marshmallow's messages as {place: {field: [message]}}: those of a list's elements are the field's."""
    return {
        place: {name: list(dict.fromkeys(_sentences(found))) for name, found in fields.items()}
        for place, fields in messages.items()
    }


def _sentences(found: Any) -> Iterator[str]:
    for part in found.values() if isinstance(found, dict) else found:
        if isinstance(part, str):
            yield part
        else:
            yield from _sentences(part)


def _first_of(messages: errors.Messages) -> str:
    """A sentence that sums validation messages up: which field the first of them is about, and what it says."""
    fields = next(iter(messages.values()))
    name, sentences = next(iter(fields.items()))
    return sentences[0] if name == "_schema" else f"{name}: {sentences[0]}"


def _carbon_error(error: errors.CarbonError) -> Response:
    db.session.rollback()
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, errors.RateLimited) else None
    return problem_response(STATUS[type(error)], error.title, str(error), error.errors, headers)


def _stale_data(error: StaleDataError) -> Response:
    return _carbon_error(errors.PreconditionFailed("The row has changed meanwhile. Read it again."))


def _database_error(error: sa.exc.DBAPIError) -> Response:
    """What the database refuses, known by SQLSTATE and by the name of the constraint; never by the driver's text."""
    db.session.rollback()
    state = sqlstate(error)
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None) or ""
    message, field = constraint_message(constraint) or (None, None)
    messages = {"json": {field: [message]}} if field and message else None
    if message and is_transient(constraint):
        return _carbon_error(errors.Unavailable(message))
    if state in (errorcodes.UNIQUE_VIOLATION, errorcodes.EXCLUSION_VIOLATION):
        return problem_response(409, "Conflict", message or "This contradicts what is stored already.", messages)
    if state == errorcodes.FOREIGN_KEY_VIOLATION and request.method == "DELETE":
        return problem_response(409, "Conflict", message or "It is in use, so it stays.")
    if state.startswith(("22", "23")):
        return problem_response(
            422, "Validation failed", message or "The database refuses a value in this request.", messages
        )
    # 57014 is a statement that took too long, the others are a database that is away, full, or busy with a lock.
    if state in (errorcodes.UNDEFINED_TABLE, errorcodes.UNDEFINED_COLUMN):
        metrics.DATABASE_UNAVAILABLE.inc()
        current_app.logger.error("the database has not been migrated: SQLSTATE %s", state)
        return _carbon_error(errors.Unavailable("The database has not been migrated yet. Try again shortly."))
    if state.startswith(("08", "53", "57", "25006")) or state in ("40001", "40P01", "55P03") or not state:
        metrics.DATABASE_UNAVAILABLE.inc()
        current_app.logger.warning("database unavailable: SQLSTATE %s", state or "none")
        return problem_response(503, "Unavailable", "The database is away or busy. Try again shortly.")
    return _unforeseen(error)


def _pool_is_empty(error: sa.exc.TimeoutError) -> Response:
    metrics.POOL_TIMEOUTS.inc()
    return problem_response(503, "Unavailable", "Too many requests at once. Try again shortly.")


def _unforeseen(error: Exception) -> Response:
    db.session.rollback()
    current_app.logger.error("unforeseen error", exc_info=error)
    return problem_response(500, "Internal Server Error", _DETAILS[500])

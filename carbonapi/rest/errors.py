"""Errors as application/problem+json (RFC 9457). Only this module knows the status codes of errors."""

import json
import logging
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import marshmallow as ma
import sqlalchemy as sa
from flask import Flask, Response, current_app, g, request
from psycopg2 import errorcodes
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from .. import errors
from ..db import constraint_message, is_transient, roll_back, sqlstate
from ..observability import metrics
from .base_path import url_of
from .cors import cors_headers
from .fields import returned
from .request_log import log_early_problem
from .security_headers import SECURITY_HEADERS

STATUS: dict[type[errors.CarbonError], int] = {
    errors.BadRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.RequestTimeout: 408,
    errors.Conflict: 409,
    errors.FileAlreadyImported: 409,
    errors.LengthRequired: 411,
    errors.PreconditionFailed: 412,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.ValidationFailed: 422,
    errors.MissingFactor: 422,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
}
ERROR_BY_STATUS = {status: error for error, status in reversed(STATUS.items())}
RETRY_AFTER_SECONDS = 2
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


_BUSY = (errors.Unavailable, "The database is unavailable or busy. Try again shortly.")
_NOT_MIGRATED = (errors.Unavailable, "The database has not been migrated yet. Try again shortly.")
_CONTRADICTION = (errors.Conflict, "This contradicts what is stored already.")
_INVALID_VALUE = (errors.ValidationFailed, "The database rejects a value in this request.")
# The error and its default message by SQLSTATE, or by the first two characters, its class.
DATABASE_ERRORS: dict[str, tuple[type[errors.CarbonError], str]] = {
    "": _BUSY,  # The connection broke.
    "08": _BUSY,
    "22": _INVALID_VALUE,
    "23": _INVALID_VALUE,
    errorcodes.UNIQUE_VIOLATION: _CONTRADICTION,
    errorcodes.EXCLUSION_VIOLATION: _CONTRADICTION,
    errorcodes.READ_ONLY_SQL_TRANSACTION: _BUSY,
    errorcodes.SERIALIZATION_FAILURE: _BUSY,
    errorcodes.DEADLOCK_DETECTED: _BUSY,
    errorcodes.UNDEFINED_TABLE: _NOT_MIGRATED,
    errorcodes.UNDEFINED_COLUMN: _NOT_MIGRATED,
    errorcodes.UNDEFINED_FUNCTION: _NOT_MIGRATED,
    "53": _BUSY,
    errorcodes.LOCK_NOT_AVAILABLE: _BUSY,
    "57": _BUSY,  # A timeout, or a shutdown.
}


MESSAGES = {"type": "array", "items": {"type": "string"}}
MESSAGES_BY_FIELD = {"type": "object", "additionalProperties": MESSAGES}


class ProblemSchema(ma.Schema):
    """An error, and how to resolve it (RFC 9457)."""

    type = returned(
        ma.fields.String,
        "urn:carbonapi:problem:not-found",
        "The kind of problem. It is stable, so programs can rely on it.",
        format="uri",
    )
    title = returned(ma.fields.String, "Not found", "The name of this kind of problem.")
    status = returned(ma.fields.Integer, 404, "The HTTP status code.")
    detail = returned(ma.fields.String, "There is no usage 7.", "The cause of this error.")
    instance = returned(ma.fields.String, "/api/v1/usages/7", "The path of the request.", format="uri-reference")
    request_id = returned(ma.fields.String, "0f8fad5bd9cb469fa16570867728950e", "The id of the request in the log.")
    errors = ma.fields.Dict(
        keys=ma.fields.String(),
        values=ma.fields.Dict(
            keys=ma.fields.String(), values=ma.fields.Raw(metadata={"anyOf": [MESSAGES, MESSAGES_BY_FIELD]})
        ),
        metadata={
            "description": "Messages by location (`json`, `query` or `file`), then by field or line. Those of a body "
            "that is an array are by location, index and field."
        },
    )


def problem_type(code: str) -> str:
    return f"urn:carbonapi:problem:{code}"


def _problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    messages: errors.Messages | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    body = _problem_body(status, code, title, detail, url_of(request.path), g.get("request_id", ""), messages)
    response = Response(body, status, mimetype="application/problem+json")
    response.headers.update(headers or {})
    if status == 401:
        # RFC 6750, section 3.1: a request without credentials gets no error code.
        is_token_invalid = request.headers.get("Authorization", "").lower().startswith("bearer ")
        error = ', error="invalid_token"' if is_token_invalid else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="carbonapi"{error}'
    if status == 503:
        response.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return response


def early_problem(
    error: errors.CarbonError, environ: Mapping[str, Any], seconds: float, origins: frozenset[str] | None
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return status, headers and body for a request (PEP 3333) that fails before it reaches the application.

    seconds: its duration. origins: the CORS origins.
    """
    status, id_ = STATUS[type(error)], request_id(environ.get("HTTP_X_REQUEST_ID", ""))
    path = environ.get("SCRIPT_NAME", "") + environ["PATH_INFO"]
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
    return status, headers, _problem_body(status, error.code, error.title, str(error), path, id_, error.errors)


def _problem_body(
    status: int, code: str, title: str, detail: str, path: str, id_: str, messages: errors.Messages | None
) -> bytes:
    body = {
        "type": problem_type(code),
        "title": title,
        "status": status,
        "detail": detail,
        "instance": quote(path, safe="/:@!$&'()*+,;=~"),
        "request_id": id_,
    }
    if messages:
        body["errors"] = messages
    # A message may repeat half a surrogate pair from the request, which UTF-8 cannot encode. It becomes a "?".
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def request_id(header: str) -> str:
    """Return the id in the X-Request-ID header if it is valid, or a new one."""
    return header if _REQUEST_ID.fullmatch(header) else uuid.uuid4().hex


def init_app(app: Flask) -> None:
    """Turn every exception into a problem."""
    app.register_error_handler(errors.CarbonError, _carbon_error)
    app.register_error_handler(StaleDataError, _stale_data)
    app.register_error_handler(sa.exc.DBAPIError, _database_error)
    app.register_error_handler(sa.exc.TimeoutError, _pool_timeout)
    app.register_error_handler(Exception, _unexpected_error)


class ProblemMixin:
    """Make flask-smorest return and document its errors as problems."""

    ERROR_SCHEMA = ProblemSchema

    def handle_http_exception(self, error: HTTPException) -> Response:
        """Turn errors of routing, parsing and validation into problems."""
        roll_back()
        assert error.code is not None
        data = getattr(error, "data", None) or {}
        headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After", "Location")}
        messages = _by_field(data.get("messages") or {})
        if error.code < 400:
            return Response(status=error.code, headers=headers)
        detail = _summary(messages) if messages else _DETAILS.get(error.code, error.description or error.name)
        kind = ERROR_BY_STATUS.get(error.code)
        code, title = (kind.code, kind.title) if kind else (error.name.lower().replace(" ", "-"), error.name)
        return _problem(error.code, code, title, detail, messages, headers)


_DETAILS = {
    404: "There is no resource at this URL.",
    405: "This URL does not support the method. `Allow` lists the methods that it supports.",
    413: "The body is too large for this URL.",
    500: "An unexpected error occurred. The log has its details, with the request id.",
}


def _by_field(messages: dict[str, Any]) -> errors.Messages:
    """Return marshmallow's messages as {location: {field: [message]}}. Messages of list elements become the field's.

    Those of the elements of a body that is an array are {location: {index: {field: [message]}}}.
    """
    return {
        location: {
            # Only the elements of an array have numbers for names.
            str(name): {field: _unique(each) for field, each in nested.items()}
            if isinstance(name, int)
            else _unique(nested)
            for name, nested in fields.items()
        }
        for location, fields in messages.items()
    }


def _unique(nested: Any) -> list[str]:
    return list(dict.fromkeys(_flatten(nested)))


def _flatten(nested: Any) -> Iterator[str]:
    for part in nested.values() if isinstance(nested, dict) else nested:
        if isinstance(part, str):
            yield part
        else:
            yield from _flatten(part)


def _summary(messages: errors.Messages) -> str:
    """Return the first message, with the name of its field, and its index in an array."""
    fields: Any = next(iter(messages.values()))
    name, found = next(iter(fields.items()))
    if isinstance(found, dict):
        return f"{len(fields)} invalid. At index {name}, {_summary({'json': found})}"
    return str(found[0] if name == "_schema" else f"{name}: {found[0]}")


def _carbon_error(error: errors.CarbonError) -> Response:
    roll_back()
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, errors.RateLimited) else None
    return _problem(STATUS[type(error)], error.code, error.title, str(error), error.errors, headers)


def _stale_data(error: StaleDataError) -> Response:
    return _carbon_error(errors.PreconditionFailed("The row has changed in the meantime. Read it again."))


def _database_error(error: sa.exc.DBAPIError) -> Response:
    """Turn an error of PostgreSQL into a problem, by its SQLSTATE and the name of the violated constraint."""
    state = sqlstate(error)
    kind, default = DATABASE_ERRORS.get(state) or DATABASE_ERRORS.get(state[:2]) or (None, "")
    if kind is None:
        return _unexpected_error(error)
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None) or ""
    message, field = constraint_message(constraint) or (None, None)
    if message and is_transient(constraint):
        return _carbon_error(errors.Unavailable(message))
    if state == errorcodes.FOREIGN_KEY_VIOLATION and request.method == "DELETE":
        return _carbon_error(errors.Conflict(message or "It is in use, so it cannot be deleted."))
    if kind is errors.Unavailable:
        metrics.DATABASE_UNAVAILABLE.inc()
        level = logging.ERROR if default == _NOT_MIGRATED[1] else logging.WARNING
        current_app.logger.log(level, "database unavailable: SQLSTATE %s", state or "none")
    return _carbon_error(kind(message or default, field=field))


def _pool_timeout(error: sa.exc.TimeoutError) -> Response:
    metrics.POOL_TIMEOUTS.inc()
    return _carbon_error(errors.Unavailable("Too many requests at once. Try again shortly."))


def _unexpected_error(error: Exception) -> Response:
    roll_back()
    current_app.logger.error("unexpected error", exc_info=error)
    return _problem(500, "internal-server-error", "Internal Server Error", _DETAILS[500])

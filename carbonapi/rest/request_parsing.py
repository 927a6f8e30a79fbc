"""Strict parsing of request paths, bodies and query strings."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import IO, Any

import marshmallow as ma
from flask import Flask, Request, Response, current_app, g, request
from flask.sessions import SessionInterface
from webargs.fields import DelimitedList
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_list_header
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter, ValidationError

from ..db import db
from ..errors import BadRequest, LengthRequired, UnsupportedMediaType, ValidationFailed
from .base_path import SetBasePath
from .errors import request_id
from .fields import MAX_ID, JSONSchema, parse_decimal

JSON_MAX_BYTES = 1024 * 1024
FORM = "multipart/form-data"
MAX_MEMORY_BYTES = 1024 * 1024  # Of a file; more goes to disk.
# The web servers that raise an error if the last chunk of a body is missing: serving/rsgi.py and gunicorn. granian's
# WSGI does not.
DETECT_TRUNCATED_CHUNKS = ("carbonapi", "gunicorn")


class IdConverter(BaseConverter):
    """An id in a path: a bigint in ASCII digits, without leading zeros."""

    regex = "[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        if int(value) > MAX_ID:
            raise ValidationError
        return int(value)

    def json_schema(self) -> JSONSchema:
        return {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID}


class NoSessions(SessionInterface):
    """No session in a cookie: tokens authenticate. By default, Flask looks for one in each request."""

    def open_session(self, app: Flask, request: Request) -> None:
        return None


class DetectTruncatedBodies:
    """WSGI middleware that lets Werkzeug detect truncated bodies.

    gunicorn and granian set `wsgi.input_terminated`, with which Werkzeug accepts a body of any length. Without it,
    Werkzeug expects Content-Length bytes, and raises an error if the client disconnects before. A body in chunks has
    no length: the server raises an error if the last one is missing.
    """

    def __init__(self, wsgi_app: Any) -> None:
        self.wsgi_app = wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "HTTP_TRANSFER_ENCODING" not in environ:
            environ.pop("wsgi.input_terminated", None)
        response: Iterable[bytes] = self.wsgi_app(environ, start_response)
        return response


def init_app(app: Flask) -> None:
    """Configure how ids, bodies and the client's address are read, and that cookies are not."""
    app.session_interface = NoSessions()
    app.url_map.converters["int"] = IdConverter
    app.url_map.strict_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = JSON_MAX_BYTES
    strict = DetectTruncatedBodies(app.wsgi_app)
    # Each proxy appends the address of its client. Earlier addresses may be forged.
    proxies = app.config["TRUSTED_PROXIES"]
    behind_proxies = ProxyFix(strict, x_for=proxies, x_proto=proxies, x_host=0) if proxies else strict
    # Flask documents this way of wrapping.
    app.wsgi_app = SetBasePath(behind_proxies, app.config)  # type: ignore[method-assign]


def assign_request_id() -> None:
    g.request_id = request_id(request.headers.get("X-Request-ID", ""))


def add_request_id(response: Response) -> Response:
    if "request_id" in g:
        response.headers["X-Request-ID"] = g.request_id
    return response


def reject_unreadable_bodies() -> None:
    if "Transfer-Encoding" in request.headers:
        if not request.environ.get("SERVER_SOFTWARE", "").startswith(DETECT_TRUNCATED_CHUNKS):
            raise LengthRequired("Send the body with a Content-Length, not in chunks.")
        if request.headers["Transfer-Encoding"].lower() != "chunked" or "Content-Length" in request.headers:
            raise BadRequest("A body must have either a Content-Length or `Transfer-Encoding: chunked`, and no others.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Compressed bodies are not taken: send it without Content-Encoding.")


def prefers_async() -> bool:
    """Return whether the client prefers a response before the work is done: `Prefer: respond-async` (RFC 7240)."""
    preferences = parse_list_header(request.headers.get("Prefer", ""))
    return any(preference.partition(";")[0].strip().lower() == "respond-async" for preference in preferences)


@contextlib.contextmanager
def uploaded_file(*media_types: str) -> Iterator[IO[bytes]]:
    """Yield the uploaded file: the body, with one of these media types, or `file` of a form.

    The upload is complete, and on disk if it is large, so a slow client does not hold a transaction open.
    """
    _allow_large_body()
    if request.mimetype in media_types:
        with tempfile.SpooledTemporaryFile(MAX_MEMORY_BYTES) as spooled:
            shutil.copyfileobj(request.stream, spooled, MAX_MEMORY_BYTES)
            spooled.seek(0)
            yield spooled
        return
    if request.mimetype != FORM:
        kinds = " or ".join(f"`Content-Type: {media_type}`" for media_type in media_types)
        raise UnsupportedMediaType(f"Send the file as {kinds}, or as `file` of a multipart/form-data form.")
    if "file" not in request.files:
        raise ValidationFailed("The form has no file named `file`.", {"file": {"file": ["Missing."]}})
    if len(request.files) > 1 or len(request.files.getlist("file")) > 1:
        names = ", ".join(f"`{name}`" for name in request.files if name != "file") or "`file`, several times"
        message = f"The form must have one file, named `file`. It also has {names}."
        raise ValidationFailed(message, {"file": {"file": ["Only one file is allowed."]}})
    with request.files["file"].stream as file:
        yield file


def _allow_large_body() -> None:
    request.max_content_length = current_app.config["IMPORT_MAX_BYTES"]
    db.session.rollback()  # Authentication has opened a transaction, which would occupy a connection during the upload.


class StrictParser(FlaskParser):
    """Parse bodies and query strings, and reject unknown fields, duplicates and invalid JSON."""

    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = dict.fromkeys(FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION)

    def load_json(self, req: Any, schema: ma.Schema) -> Any:
        if req.mimetype != "application/json":
            raise UnsupportedMediaType("Send the body as `Content-Type: application/json`.")
        try:
            body = req.get_data()
            req.stream.read(1)  # Of a longer body in chunks, Werkzeug has read the beginning. Here it raises 413.
            return json.loads(
                body.decode("utf-8"),
                parse_float=parse_decimal,
                parse_constant=Decimal,  # Accept NaN and Infinity here, so that the error can name the field.
                object_pairs_hook=_without_duplicates,
            )
        except HTTPException:
            raise
        except (ValueError, RecursionError) as error:
            reason = str(error) if isinstance(error, json.JSONDecodeError | _NotJson) else "it cannot be read"
            raise BadRequest(f"The body is not proper JSON: {reason}.") from None

    def load_querystring(self, req: Any, schema: ma.Schema) -> Any:
        """Return the arguments of the query, of an upload's form, and of the body of a DELETE."""
        sent = {name: list(values) for name, values in req.args.lists()}
        if getattr(schema, "reads_form", False) and req.mimetype == FORM:
            _allow_large_body()
            for name, values in req.form.lists():
                if name != "file":  # Text in place of the file, which `uploaded_file` rejects.
                    sent.setdefault(name, []).extend(values)
        arguments: dict[str, Any] = {}
        if req.method == "DELETE" and req.get_data():
            for name, value in self._load_reason(req, schema).items():
                sent.setdefault(name, []).append(value)
        for name, values in sent.items():
            # A DelimitedList, such as sort, has all its values in one string.
            field = schema.fields.get(name)
            is_repeatable = isinstance(field, ma.fields.List) and not isinstance(field, DelimitedList)
            if len(values) > 1 and not is_repeatable:
                raise ma.ValidationError({name: ["May be given once only."]})
            arguments[name] = values if is_repeatable else values[0]
        return arguments

    def _load_reason(self, req: Any, schema: ma.Schema) -> dict[str, Any]:
        """Return the fields of the body of a DELETE: nothing, or the reason if the operation has one."""
        fields = self.load_json(req, schema)
        if not isinstance(fields, dict):
            raise ValidationFailed(
                "The body must be a JSON object, or empty.", {"json": {"_schema": ["Not an object."]}}
            )
        unknown = fields.keys() - ({"reason"} & schema.fields.keys())
        if unknown:
            allowed = "only `reason`" if "reason" in schema.fields else "no fields"
            message = f"The body of this DELETE may have {allowed}. Send all other arguments in the query."
            raise ValidationFailed(message, {"json": {name: ["Unknown field."] for name in sorted(unknown)}})
        return fields


class _NotJson(ValueError):
    """Text that Python accepts and JSON does not."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _NotJson("an object has a duplicate name")
    return fields

"""Bodies and addresses as they arrive: read strictly, and whole or not at all."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import IO, Any

import marshmallow as ma
from flask import Flask, Response, current_app, g, request
from webargs.fields import DelimitedList
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_list_header
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter, ValidationError

from ..db import db
from ..errors import BadRequest, LengthRequired, UnsupportedMediaType, ValidationFailed
from .errors import request_id
from .fields import MAX_ID, JSONSchema, parse_decimal

JSON_MAX_BYTES = 1024 * 1024
MAX_MEMORY_BYTES = 1024 * 1024  # Of a file; more goes to disk.


class IdConverter(BaseConverter):
    """An id in a path: ASCII digits, no more of them than a bigint has, and no zeros before them."""

    regex = "[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        if int(value) > MAX_ID:
            raise ValidationError
        return int(value)

    def json_schema(self) -> JSONSchema:
        return {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID}


class DetectTruncatedBodies:
    """WSGI layer that lets Werkzeug notice a body that was cut off.

    gunicorn and granian say `wsgi.input_terminated`, which makes Werkzeug read to the end of what came, however
    short. Without it, it reads Content-Length bytes, and a client that went away amid them is an error.
    """

    def __init__(self, wsgi_app: Any) -> None:
        self.wsgi_app = wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ.pop("wsgi.input_terminated", None)
        response: Iterable[bytes] = self.wsgi_app(environ, start_response)
        return response


def init_app(app: Flask) -> None:
    """Read ids, bodies, request ids and the caller's address as described here."""
    app.url_map.converters["int"] = IdConverter
    app.url_map.strict_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = JSON_MAX_BYTES
    layers = DetectTruncatedBodies(app.wsgi_app)
    # Each proxy adds whom it was asked by, so what stands before the last of them may be anybody's invention.
    proxies = app.config["TRUSTED_PROXIES"]
    layered = ProxyFix(layers, x_for=proxies, x_proto=proxies, x_host=0) if proxies else layers
    app.wsgi_app = layered  # type: ignore[method-assign]  # Flask documents this way of wrapping.
    app.before_request(_name_request)
    app.before_request(_refuse_partial_bodies)
    app.after_request(_echo_request_id)


def _name_request() -> None:
    g.request_id = request_id(request.headers.get("X-Request-ID", ""))


def _echo_request_id(response: Response) -> Response:
    if "request_id" in g:
        response.headers["X-Request-ID"] = g.request_id
    return response


def _refuse_partial_bodies() -> None:
    if "Transfer-Encoding" in request.headers:
        raise LengthRequired("Send the body with a Content-Length, not in chunks.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Compressed bodies are not taken: send it without Content-Encoding.")


def prefers_async() -> bool:
    """Whether the caller asks to be answered before the work is done: `Prefer: respond-async` (RFC 7240)."""
    preferences = parse_list_header(request.headers.get("Prefer", ""))
    return any(preference.partition(";")[0].strip().lower() == "respond-async" for preference in preferences)


@contextlib.contextmanager
def uploaded_file(*media_types: str) -> Iterator[IO[bytes]]:
    """The file that the request brings, as a body of one of these media types, or as `file` of a form.

    It is whole, and on disk if it is large: who sends slowly keeps no transaction waiting.
    """
    request.max_content_length = current_app.config["IMPORT_MAX_BYTES"]
    db.session.rollback()  # What was read to know the actor. It would keep a connection for as long as the file takes.
    if request.mimetype in media_types:
        with tempfile.SpooledTemporaryFile(MAX_MEMORY_BYTES) as spooled:
            shutil.copyfileobj(request.stream, spooled, MAX_MEMORY_BYTES)
            spooled.seek(0)
            yield spooled
        return
    if request.mimetype != "multipart/form-data":
        kinds = " or ".join(f"`Content-Type: {media_type}`" for media_type in media_types)
        raise UnsupportedMediaType(f"Send the file as {kinds}, or as `file` of a multipart/form-data form.")
    if "file" not in request.files:
        raise ValidationFailed("The form has no file named `file`.", {"file": {"file": ["Missing."]}})
    with request.files["file"].stream as file:
        yield file


class StrictParser(FlaskParser):
    """Reads arguments for the schemas: what is unknown, repeated, or no proper JSON is refused."""

    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = dict.fromkeys(FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION)

    def load_json(self, req: Any, schema: ma.Schema) -> Any:
        if req.mimetype != "application/json":
            raise UnsupportedMediaType("Send the body as `Content-Type: application/json`.")
        try:
            return json.loads(
                req.get_data().decode("utf-8"),
                parse_float=parse_decimal,
                parse_constant=Decimal,  # NaN and Infinity are no JSON, but a field can be named that refuses them.
                object_pairs_hook=_without_duplicates,
            )
        except HTTPException:
            raise
        except (ValueError, RecursionError) as error:
            reason = str(error) if isinstance(error, json.JSONDecodeError | _NotJson) else "it cannot be read"
            raise BadRequest(f"The body is not proper JSON: {reason}.") from None

    def load_querystring(self, req: Any, schema: ma.Schema) -> Any:
        arguments: dict[str, Any] = {}
        for name, values in req.args.lists():
            # A DelimitedList, such as sort, takes its several values in one text.
            field = schema.fields.get(name)
            takes_several = isinstance(field, ma.fields.List) and not isinstance(field, DelimitedList)
            if len(values) > 1 and not takes_several:
                raise ma.ValidationError({name: ["May be given once only."]})
            arguments[name] = values if takes_several else values[0]
        return arguments


class _NotJson(ValueError):
    """What Python would read and JSON does not allow."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _NotJson("a name stands twice in one object")
    return fields

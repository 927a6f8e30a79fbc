"""The REST conventions of this service, each stated once. Knows no feature, and no table but its own."""

import json
from decimal import Decimal
from typing import Any

import flask
import orjson
from flask.json.provider import JSONProvider

from . import (
    cors,
    docs_pages,
    errors,
    rate_limit_headers,
    request_log,
    request_parsing,
    security_headers,
)
from .blueprint import Blueprint
from .copy_stream import create_slots
from .errors import early_problem
from .etag import lock_for_update
from .fields import format_decimal, now
from .health import health
from .openapi import Api
from .query import (
    ExportQuerySchema,
    FilterSchema,
    IdsSchema,
    ListQuerySchema,
    QuerySchema,
    Schema,
    Sort,
    any_of,
    as_of,
    equal_to,
    time_range,
    time_zone,
)
from .request_parsing import JSON_MAX_BYTES, prefers_async
from .view_rules import public, raises, rate_limited, requires, shown_once, single_statement

__all__ = [
    "JSON_MAX_BYTES", "Api", "Blueprint", "ExportQuerySchema", "FilterSchema", "IdsSchema", "ListQuerySchema",
    "QuerySchema", "Schema", "Sort", "any_of", "as_of", "create_slots", "dump_json", "early_problem", "equal_to",
    "health", "init_app", "load_json", "lock_for_update", "now", "prefers_async", "public", "raises", "rate_limited",
    "requires", "shown_once", "single_statement", "time_range", "time_zone",
]  # fmt: skip


class ExactJSON(JSONProvider):
    """JSON in which a Decimal stands with its exact digits, never a float's."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return dump_json(obj)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> flask.Response:
        body = orjson.dumps(self._prepare_response_obj(args, kwargs), default=_digits)
        return flask.Response(body, mimetype="application/json")


def dump_json(value: Any) -> str:
    """JSON in which a Decimal stands with its exact digits."""
    return orjson.dumps(value, default=_digits).decode()


def load_json(text: str | bytes) -> Any:
    """What `exact_json` wrote. A number with a fraction, or too large for an integer of orjson, is a Decimal."""
    return json.loads(text, parse_float=Decimal, parse_int=_whole)


def _whole(digits: str) -> int | Decimal:
    number = int(digits)
    return number if abs(number) < 2**63 else Decimal(digits)


def _digits(value: Any) -> orjson.Fragment:
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} does not go into JSON")
    return orjson.Fragment(format_decimal(value))


def init_app(app: flask.Flask) -> Api:
    """Give the app its conventions, its document and its pages; features register with the Api returned."""
    app.json = ExactJSON(app)
    request_log.init_app(app)
    rate_limit_headers.init_app(app)
    request_parsing.init_app(app)
    errors.init_app(app)
    api = Api(app)
    app.register_blueprint(docs_pages.pages)
    cors.init_app(app)
    app.after_request(security_headers.set_headers)
    return api

"""The HTTP conventions of the API. Independent of its features."""

import json
from decimal import Decimal
from typing import Any

import flask
import orjson
from flask.json.provider import JSONProvider

from . import docs_pages, errors, request_log, request_parsing
from .base_path import set_base_path, url_of
from .blueprint import Blueprint
from .copy_stream import create_slots
from .errors import early_problem
from .etag import lock_for_update
from .fields import format_decimal, now
from .health import health
from .hooks import register_hooks
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
    changes_of,
    equal_to,
    flag,
    time_range,
    time_zone,
    words_in,
)
from .request_parsing import JSON_MAX_BYTES, prefers_async
from .view_rules import (
    counted_by,
    not_cached,
    public,
    raises,
    rate_limited,
    requires,
    shown_once,
    single_statement,
)

__all__ = [
    "JSON_MAX_BYTES", "Api", "Blueprint", "ExportQuerySchema", "FilterSchema", "IdsSchema", "ListQuerySchema",
    "QuerySchema", "Schema", "Sort", "any_of", "as_of", "changes_of", "counted_by", "create_slots", "dump_json",
    "early_problem", "equal_to", "flag", "health", "init_app", "load_json", "lock_for_update", "not_cached", "now",
    "prefers_async", "public", "raises", "rate_limited", "requires", "set_base_path", "shown_once",
    "single_statement", "time_range", "time_zone", "url_of", "words_in",
]  # fmt: skip


class ExactJSON(JSONProvider):
    """JSON with exact decimals."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return dump_json(obj)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return orjson.loads(s)


def dump_json(value: Any) -> str:
    """Return JSON with the exact digits of decimals."""
    return orjson.dumps(value, default=_write_decimal).decode()


def load_json(text: str | bytes) -> Any:
    """Parse JSON. Numbers with a fraction, and integers beyond 64 bits, become decimals, as `dump_json` needs them."""
    return json.loads(text, parse_float=Decimal, parse_int=_parse_integer)


def _parse_integer(digits: str) -> int | Decimal:
    number = int(digits)
    return number if abs(number) < 2**63 else Decimal(digits)


def _write_decimal(value: Any) -> orjson.Fragment:
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    return orjson.Fragment(format_decimal(value))


def init_app(app: flask.Flask) -> Api:
    """Configure the app, and return the Api that features register with."""
    app.json = ExactJSON(app)
    request_log.init_app(app)
    request_parsing.init_app(app)
    errors.init_app(app)
    api = Api(app)
    app.register_blueprint(docs_pages.pages)
    register_hooks(app)
    return api

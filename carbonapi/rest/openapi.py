"""The OpenAPI document: what the schemas and the views say, completed by what follows from the conventions."""

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import flask
import flask_smorest
import marshmallow as ma
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_cls

from .. import errors
from ..auth import EVERYONE
from .errors import STATUS, ProblemMixin, problem_type
from .fields import DecimalInput, ExactDecimal, UtcDateTime, UtcDateTimeOrDate
from .idempotency import HEADER
from .introduction import INTRODUCTION
from .rate_limit_headers import LEFT, POLICY
from .request_parsing import IdConverter

PLACES = ("total", "total_pages", "first_page", "last_page", "page")
NEIGHBOURS = ("previous_page", "next_page")
PAGINATION = {
    "type": "object",
    "properties": {
        **{name: {"type": "integer", "minimum": 0} for name in PLACES},
        **{name: {"type": ["integer", "null"], "minimum": 1} for name in NEIGHBOURS},
    },
    "required": [*PLACES, *NEIGHBOURS],
    "example": {**dict.fromkeys(PLACES, 1), **dict.fromkeys(NEIGHBOURS)},
}


def _header(description: str, example: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": "string", "example": example, **schema}}


LIMITS = {
    POLICY: {
        "description": "The limits, by account and by address: q in w seconds. Not where there is none.",
        "required": False,
        "schema": {"type": "string", "example": '"login";q=10;w=300, "login-per-ip";q=100;w=300'},
    },
    LEFT: {
        "description": "What is left of these: r, for the next t seconds. Others may spend of it, too.",
        "required": False,
        "schema": {"type": "string", "example": '"login";r=9;t=300, "login-per-ip";r=99;t=300'},
    },
}

# The headers of an answer that goes well, by convention; and of an error, by its class.
HEADERS: dict[str, dict[str, Any]] = {
    "paged": {
        "X-Pagination": {
            "description": "Where the page stands in the whole list; not with a cursor.",
            "required": False,
            "content": {"application/json": {"schema": PAGINATION}},
        },
        "Link": _header(
            "The first, prev, next and last page, or the next by cursor (RFC 8288).",
            '</api/v1/usages?page=2>; rel="next"',
        ),
    },
    "tagged": {"ETag": _header("The version of the resource, for If-Match and If-None-Match (RFC 9110).", '"1"')},
    "attached": {"Content-Disposition": _header("The name of the file (RFC 6266).", 'attachment; filename="rows.csv"')},
    "defers": {
        "Location": _header("Where to ask how far it is.", "/api/v1/imports/1", format="uri-reference"),
        "Preference-Applied": _header("That what was preferred is done (RFC 7240).", "respond-async"),
        "Retry-After": _header("Seconds after which to ask.", "1", pattern="^[0-9]+$"),
    },
    "rate_limited": LIMITS,
    "created": {"Location": _header("The address of the new resource.", "/api/v1/usages/1", format="uri-reference")},
}
ERROR_HEADERS: dict[type[errors.CarbonError], dict[str, Any]] = {
    errors.Unauthenticated: {"WWW-Authenticate": _header("How to sign in (RFC 6750).", 'Bearer realm="carbonapi"')},
    errors.RateLimited: {
        "Retry-After": _header("Seconds after which to try again.", "60", pattern="^[0-9]+$"),
        **LIMITS,
    },
    errors.Unavailable: {"Retry-After": _header("Seconds after which to try again.", "2", pattern="^[0-9]+$")},
}
ONCE = (
    "Of your own making, such as a UUID. Who sends a request again with its key, within 24 hours, is given the first "
    "answer again, with `Idempotency-Replayed: true`, and nothing is done twice. While the first is running it is 409; "
    "with another path, query or body it is 422. An error is not kept: mend the request and send it with the same key."
)
NOTHING = object()  # No example, which is not the same as null.


def schema_name(schema: Any) -> str:
    """The name of a schema in the document: its class's, without `Schema`."""
    schema_class: Any = resolve_schema_cls(schema)
    return str(schema_class.__name__).removesuffix("Schema")


class Api(ProblemMixin, flask_smorest.Api):
    """flask-smorest's, with this service's errors, and a document completed by its conventions."""

    DEFAULT_ERROR_RESPONSE_NAME = None  # Every operation tells which errors it has.

    def __init__(self, app: flask.Flask) -> None:
        plugin = MarshmallowPlugin(schema_name_resolver=schema_name)
        super().__init__(
            app,
            spec_kwargs={
                "title": "carbonapi",
                "version": "v1",
                "openapi_version": "3.1.0",
                "marshmallow_plugin": plugin,
                "info": {
                    "description": INTRODUCTION,
                    "license": {"name": "MIT", "identifier": "MIT"},
                    "contact": {"name": "The carbonapi maintainers"},
                },
                "servers": [{"url": "/", "description": "Where this document came from"}],
            },
        )
        converter = plugin.converter
        assert converter is not None
        for field in (DecimalInput, ExactDecimal, UtcDateTime, UtcDateTimeOrDate):
            converter.map_to_openapi_type(field, None, None)
        converter.add_attribute_function(_described)
        self.register_converter(IdConverter, IdConverter.json_schema)
        bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        self.spec.components.security_scheme(
            "access_token", bearer | {"description": "From `/auth/login`; or an API key, which is no JWT."}
        )
        self.spec.components.security_scheme(
            "refresh_token", bearer | {"description": "From `/auth/login`, for `/auth/refresh` alone."}
        )

    @cached_property
    def document(self) -> dict[str, Any]:
        """The whole OpenAPI document."""
        document: dict[str, Any] = self.spec.to_dict()
        components = document["components"]
        components["responses"] = {}
        del components["schemas"]["PaginationMetadata"]  # flask-smorest's, of whose paging there is none here.
        for path, operations in document["paths"].items():
            for parameter in operations.get("parameters", []):
                parameter["description"] = f"The id of the {parameter['name'].removesuffix('_id').replace('_', ' ')}."
            for method, operation in operations.items():
                if isinstance(operation, dict):
                    _complete(path, method, operation, document)
        return document


def _described(self: Any, field: ma.fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
    """What JSON Schema says of our own fields; of other whole numbers, that they may be as large as an id."""
    if hasattr(field, "json_schema"):
        described: dict[str, Any] = field.json_schema()
        return described
    return {"format": "int64"} if isinstance(field, ma.fields.Integer) else {}


def _complete(path: str, method: str, operation: dict[str, Any], document: dict[str, Any]) -> None:
    """Add to an operation what follows from the conventions: its id, errors, headers and examples."""
    conventions = operation.pop("x-conventions", {})
    conventions["idempotent"] = method == "post" and conventions.get("idempotent")
    summary = re.sub(r"\b(a|an|the|your|several) |[^a-z ]", "", operation["summary"].lower())
    operation["operationId"] = summary.replace(" ", "_")
    if not conventions["accepts_api_keys"]:
        operation["description"] += "\n\nNot with an API key."
    roles = conventions.get("roles")
    operation.setdefault("security", [{"access_token": []}] if roles is not None else [])
    if roles is not None and roles != EVERYONE:
        *most, last = sorted(roles)
        named = f"{', '.join(most)} and {last}" if most else last
        operation["description"] = f"{operation['description']}\n\nFor the role{'s' * bool(most)} {named}."
    _add_preconditions(operation, conventions)
    for error in _possible_errors(path, operation, conventions):
        document["components"]["responses"].setdefault(error.__name__, _response(error))
        operation["responses"][str(STATUS[error])] = {"$ref": f"#/components/responses/{error.__name__}"}
    for parameter in operation.get("parameters", []):
        # In words only: Swagger UI fills an example in, and so would send a filter that nobody asked for.
        if "example" in parameter["schema"] and not parameter.get("required"):
            parameter["description"] += f" For example `{parameter['schema'].pop('example')}`."
    for content in _contents(operation):
        example = _example(content["schema"], document)
        if example is not NOTHING:
            content.setdefault("example", example)
    for convention, headers in HEADERS.items():
        if conventions.get(convention):
            special = {"created": {"201"}, "defers": {"202"}, "rate_limited": {"200", "201", "202", "204"}}
            statuses = special.get(convention, {"200", "201", "304"})
            for status in operation["responses"].keys() & statuses:
                operation["responses"][status].setdefault("headers", {}).update(headers)


def _add_preconditions(operation: dict[str, Any], conventions: dict[str, Any]) -> None:
    """Document the headers of a request that an operation heeds: of the conditional ones, Prefer, Idempotency-Key."""
    if _heeds_if_match(operation, conventions):
        description = "Only if the resource still has this ETag; else 412."
        _add_header(operation, "If-Match", description)
    elif conventions.get("tagged") and "requestBody" not in operation:
        _add_header(operation, "If-None-Match", "Only if the resource no longer has this ETag; else 304.")
        operation["responses"]["304"] = {"description": "Not modified: the caller has this version already."}
    if conventions.get("defers"):
        _add_header(operation, "Prefer", "`respond-async`: answer 202 at once, and do it afterwards (RFC 7240).")
    if conventions["idempotent"]:
        withheld = f" `{conventions['secret']}` is not kept either." if conventions.get("secret") else ""
        _add_header(operation, HEADER, ONCE + withheld, minLength=1, maxLength=255, pattern="^[!-~]+$")


def _heeds_if_match(operation: dict[str, Any], conventions: dict[str, Any]) -> bool:
    changes = conventions.get("tagged") and "requestBody" in operation and "201" not in operation["responses"]
    return bool(conventions.get("conditional") or changes)


def _add_header(operation: dict[str, Any], name: str, description: str, **schema: Any) -> None:
    header = {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}
    operation.setdefault("parameters", []).append(header)


def _possible_errors(
    path: str, operation: dict[str, Any], conventions: dict[str, Any]
) -> Iterator[type[errors.CarbonError]]:
    """The errors that an operation may answer with."""
    yield errors.ValidationFailed  # If only for a query argument that there is not.
    yield from conventions.get("raises", ())
    if operation["security"]:
        yield errors.Unauthenticated
    is_for_all = conventions.get("roles") == EVERYONE and conventions["reads"] and conventions["accepts_api_keys"]
    if conventions.get("roles") is not None and not is_for_all:
        yield errors.Forbidden
    if "{" in path or any(parameter["name"] == "id" for parameter in operation.get("parameters", [])):
        yield errors.NotFound
    if conventions.get("conflicts") or conventions["idempotent"]:
        yield errors.Conflict
    if "requestBody" in operation:
        yield from (errors.BadRequest, errors.LengthRequired, errors.PayloadTooLarge, errors.UnsupportedMediaType)
    if _heeds_if_match(operation, conventions):
        yield errors.PreconditionFailed
    if conventions.get("rate_limited"):
        yield errors.RateLimited
    if path.startswith("/api/"):
        yield errors.Unavailable


def _response(error: type[errors.CarbonError]) -> dict[str, Any]:
    """The answer that tells of this error, in the words of its class."""
    meaning = inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    example = {
        "type": problem_type(error.title),
        "title": error.title,
        "status": STATUS[error],
        "detail": meaning,
        "instance": "/api/v1/usages/7",
        "request_id": "0f8fad5bd9cb469fa16570867728950e",
        **({"errors": {"json": {"amount": ["Must not be negative."]}}} if error is errors.ValidationFailed else {}),
    }
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    response = {"description": meaning, "content": {"application/problem+json": content}}
    return response | ({"headers": ERROR_HEADERS[error]} if error in ERROR_HEADERS else {})


def _contents(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The bodies of an operation: what it takes, and what it gives when all is well."""
    yield from operation.get("requestBody", {}).get("content", {}).values()
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            yield from response.get("content", {}).values()


def _example(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """An example of a whole schema, put together from those of its fields; NOTHING if there is none."""
    if "$ref" in schema:
        return _example(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]], document)
    if "example" in schema:
        return schema["example"]
    if schema.get("type") == "array":
        element = _example(schema["items"], document)
        return NOTHING if element is NOTHING else [element]
    fields = {name: _example(field, document) for name, field in schema.get("properties", {}).items()}
    return {name: example for name, example in fields.items() if example is not NOTHING} or NOTHING

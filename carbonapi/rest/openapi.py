"""The OpenAPI document: flask-smorest's, completed by what follows from the conventions of the API."""

import inspect
import re
import threading
from collections.abc import Iterator
from importlib.resources import files
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
from .rate_limit_headers import POLICY, REMAINING
from .request_parsing import IdConverter

POSITIONS = ("total", "total_pages", "first_page", "last_page", "page")
ADJACENT_PAGES = ("previous_page", "next_page")
PAGINATION = {
    "type": "object",
    "properties": {
        **{name: {"type": "integer", "minimum": 0} for name in POSITIONS},
        **{name: {"type": ["integer", "null"], "minimum": 1} for name in ADJACENT_PAGES},
    },
    "required": [*POSITIONS, *ADJACENT_PAGES],
    "example": {**dict.fromkeys(POSITIONS, 1), **dict.fromkeys(ADJACENT_PAGES)},
}


def _header(description: str, example: str, *, required: bool = True, **schema: str) -> dict[str, Any]:
    schema = {"type": "string", "example": example, **schema}
    return {"description": description, "required": required, "schema": schema}


LIMITS = {
    POLICY: _header(
        "The rate limits, by account and by IP address: q requests in w seconds.",
        '"login";q=10;w=300, "login-per-ip";q=100;w=300',
        required=False,
    ),
    REMAINING: _header(
        "What remains of each limit: r requests in the next t seconds. Other clients may share it.",
        '"login";r=9;t=300, "login-per-ip";r=99;t=300',
        required=False,
    ),
}

# The headers of successful responses by convention, and of errors by class.
HEADERS: dict[str, dict[str, Any]] = {
    "paged": {
        "X-Pagination": {
            "description": "The position of the page in the list. Not sent with a cursor.",
            "required": False,
            "content": {"application/json": {"schema": PAGINATION}},
        },
        "Link": _header(
            "The first, prev, next and last page, or the next cursor (RFC 8288).",
            '</api/v1/usages?page=2>; rel="next"',
        ),
    },
    "tagged": {"ETag": _header("The version of the resource, for If-Match and If-None-Match (RFC 9110).", '"1"')},
    "attached": {"Content-Disposition": _header("The name of the file (RFC 6266).", 'attachment; filename="rows.csv"')},
    "defers": {
        "Location": _header("The URL that shows the progress.", "/api/v1/imports/1", format="uri-reference"),
        "Preference-Applied": _header("The preference that was applied (RFC 7240).", "respond-async"),
        "Retry-After": _header("Seconds to wait before checking the progress.", "1", pattern="^[0-9]+$"),
    },
    "rate_limited": LIMITS,
    "created": {"Location": _header("The URL of the new resource.", "/api/v1/usages/1", format="uri-reference")},
}
ERROR_HEADERS: dict[type[errors.CarbonError], dict[str, Any]] = {
    errors.Unauthenticated: {
        "WWW-Authenticate": _header("The authentication scheme (RFC 6750).", 'Bearer realm="carbonapi"')
    },
    errors.RateLimited: {
        "Retry-After": _header("Seconds to wait before trying again.", "60", pattern="^[0-9]+$"),
        **LIMITS,
    },
    errors.Unavailable: {"Retry-After": _header("Seconds to wait before trying again.", "2", pattern="^[0-9]+$")},
}
IDEMPOTENCY_KEY = (
    "A unique key of your choice, such as a UUID. A repeated request with the same key, within 24 hours, returns the "
    "first response with `Idempotency-Replayed: true` and has no further effect. It is 409 while the first request is "
    "still running, and 422 if path, query or body differ. Errors are not stored: fix the request and use the same key."
)
NO_EXAMPLE = object()  # Unlike null, which is an example.


def schema_name(schema: Any) -> str:
    """Return the name of a schema in the document: that of its class, without `Schema`."""
    schema_class: Any = resolve_schema_cls(schema)
    return str(schema_class.__name__).removesuffix("Schema")


class Api(ProblemMixin, flask_smorest.Api):
    """flask-smorest's Api, with problems as errors, and a completed document, which is built when it is first read.

    Building it takes longer than the rest of `create_app`, and most processes never read it.
    """

    DEFAULT_ERROR_RESPONSE_NAME = None  # Every operation lists its errors.

    def __init__(self, app: flask.Flask) -> None:
        self._blueprints: list[Any] = []
        self._document: dict[str, Any] | None = None
        self._building = threading.Lock()
        super().__init__(app)

    def _init_spec(self, **_: Any) -> None:
        """Do nothing yet. `document` describes the API."""

    def register_blueprint(self, blueprint: Any) -> None:
        self._app.register_blueprint(blueprint)
        self._blueprints.append(blueprint)

    @property
    def document(self) -> dict[str, Any]:
        """The complete OpenAPI document."""
        with self._building:
            if self._document is None:
                self._describe()
                self._document = self._completed()
            return self._document

    def _describe(self) -> None:
        """Describe the registered blueprints in a new `spec`."""
        plugin = MarshmallowPlugin(schema_name_resolver=schema_name)
        super()._init_spec(
            title="carbonapi",
            version="v1",
            openapi_version="3.1.0",
            marshmallow_plugin=plugin,
            info={
                "description": files(__package__).joinpath("openapi_introduction.md").read_text(encoding="utf-8"),
                "license": {"name": "MIT", "identifier": "MIT"},
                "contact": {"name": "The carbonapi maintainers"},
            },
            servers=[{"url": self._app.config["BASE_PATH"] or "/", "description": "This server"}],
        )
        converter = plugin.converter
        assert converter is not None
        for field in (DecimalInput, ExactDecimal, UtcDateTime, UtcDateTimeOrDate):
            converter.map_to_openapi_type(field, None, None)
        converter.add_attribute_function(_json_schema)
        self.register_converter(IdConverter, IdConverter.json_schema)
        bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        self.spec.components.security_scheme(
            "access_token", bearer | {"description": "The access token from `/auth/login`, or an API key."}
        )
        self.spec.components.security_scheme(
            "refresh_token", bearer | {"description": "The refresh token from `/auth/login`. Only for `/auth/refresh`."}
        )
        for blueprint in self._blueprints:
            blueprint.register_views_in_doc(self, self._app, self.spec, name=blueprint.name, parameters=None)
            self.spec.tag({"name": blueprint.name, "description": blueprint.description})

    def _completed(self) -> dict[str, Any]:
        document: dict[str, Any] = self.spec.to_dict()
        components = document["components"]
        components["responses"] = {}
        del components["schemas"]["PaginationMetadata"]  # Of flask-smorest's own paging, which is not used.
        for path, operations in document["paths"].items():
            for parameter in operations.get("parameters", []):
                parameter["description"] = f"The id of the {parameter['name'].removesuffix('_id').replace('_', ' ')}."
            for method, operation in operations.items():
                if isinstance(operation, dict):
                    _complete(path, method, operation, document)
        return document


def _json_schema(self: Any, field: ma.fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
    """Return the JSON Schema of our own fields. Other integers are 64 bits wide."""
    if hasattr(field, "json_schema"):
        schema: dict[str, Any] = field.json_schema()
        return schema
    return {"format": "int64"} if isinstance(field, ma.fields.Integer) else {}


def _complete(path: str, method: str, operation: dict[str, Any], document: dict[str, Any]) -> None:
    """Add what follows from the conventions: operation id, errors, headers and examples."""
    conventions = operation.pop("x-conventions", {})
    conventions["idempotent"] = method == "post" and conventions.get("idempotent")
    summary = re.sub(r"\b(a|an|the|your|several) |[^a-z ]", "", operation["summary"].lower())
    operation["operationId"] = summary.replace(" ", "_")
    if not conventions["accepts_api_keys"]:
        operation["description"] += "\n\nAPI keys are not accepted."
    roles = conventions.get("roles")
    operation.setdefault("security", [{"access_token": []}] if roles is not None else [])
    if roles is not None and roles != EVERYONE:
        *most, last = sorted(roles)
        named = f"{', '.join(most)} and {last}" if most else last
        operation["description"] = f"{operation['description']}\n\nAllowed role{'s' * bool(most)}: {named}."
    if not operation.get("parameters"):
        operation.pop("parameters", None)
    _add_preconditions(operation, conventions)
    for error in _possible_errors(path, operation, conventions):
        document["components"]["responses"].setdefault(error.__name__, _response(error))
        operation["responses"][str(STATUS[error])] = {"$ref": f"#/components/responses/{error.__name__}"}
    for parameter in operation.get("parameters", []):
        # As text: Swagger UI would fill in an example, and send a filter that the user did not choose.
        if "example" in parameter["schema"] and not parameter.get("required"):
            parameter["description"] += f" For example `{parameter['schema'].pop('example')}`."
    for content in _contents(operation):
        _add_examples(content, document)
    array = conventions.get("array", False)
    for convention, headers in HEADERS.items():
        if conventions.get(convention):
            special = {"created": {"201"}, "defers": {"202"}, "rate_limited": {"200", "201", "202", "204"}}
            statuses = special.get(convention, {"200", "201", "304"})
            for status in operation["responses"].keys() & statuses:
                # The response to an array has neither ETag nor Location.
                sent = {name: header | {"required": False} for name, header in headers.items()} if array else headers
                operation["responses"][status].setdefault("headers", {}).update(sent)


def _add_preconditions(operation: dict[str, Any], conventions: dict[str, Any]) -> None:
    """Document the request headers: If-Match, If-None-Match, Prefer and Idempotency-Key."""
    if _supports_if_match(operation, conventions):
        description = "Proceed only if the resource still has this ETag. Otherwise 412."
        _add_header(operation, "If-Match", description)
    elif conventions.get("tagged") and "requestBody" not in operation:
        _add_header(operation, "If-None-Match", "Return the resource only if its ETag has changed. Otherwise 304.")
        operation["responses"]["304"] = {"description": "Not modified. The client already has this version."}
    if conventions.get("defers"):
        _add_header(
            operation, "Prefer", "`respond-async`: return 202 at once and process the file afterwards (RFC 7240)."
        )
    if conventions["idempotent"]:
        unstored = f" `{conventions['secret']}` is not stored either." if conventions.get("secret") else ""
        _add_header(operation, HEADER, IDEMPOTENCY_KEY + unstored, minLength=1, maxLength=255, pattern="^[!-~]+$")


def _supports_if_match(operation: dict[str, Any], conventions: dict[str, Any]) -> bool:
    changes = conventions.get("tagged") and "requestBody" in operation and "201" not in operation["responses"]
    return bool(conventions.get("conditional") or changes)


def _add_header(operation: dict[str, Any], name: str, description: str, **schema: Any) -> None:
    header = {"name": name, "in": "header", "description": description, "schema": {"type": "string", **schema}}
    operation.setdefault("parameters", []).append(header)


def _possible_errors(
    path: str, operation: dict[str, Any], conventions: dict[str, Any]
) -> Iterator[type[errors.CarbonError]]:
    """Yield the errors that an operation can return."""
    yield errors.ValidationFailed  # At least for an unknown query argument.
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
    if _supports_if_match(operation, conventions):
        yield errors.PreconditionFailed
    if conventions.get("rate_limited"):
        yield errors.RateLimited
    if path.startswith("/api/"):
        yield errors.Unavailable


def _response(error: type[errors.CarbonError]) -> dict[str, Any]:
    """Return the response for an error, described by its docstring."""
    meaning = inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    example = {
        "type": problem_type(error.code),
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
    """Yield the request bodies and the successful response bodies of an operation."""
    yield from operation.get("requestBody", {}).get("content", {}).values()
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            yield from response.get("content", {}).values()


def _add_examples(content: dict[str, Any], document: dict[str, Any]) -> None:
    """Add the example of a body, or an example of each kind if it can be an object or an array."""
    kinds = {"one": content["schema"]}
    if "oneOf" in content["schema"]:
        kinds = dict(zip(("one", "several"), content["schema"]["oneOf"], strict=True))
    examples = {name: {"value": _example(schema, document)} for name, schema in kinds.items()}
    if len(examples) > 1:
        content["examples"] = examples
    elif examples["one"]["value"] is not NO_EXAMPLE:
        content.setdefault("example", examples["one"]["value"])


def _example(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """Return an example of a schema, built from those of its fields, or NO_EXAMPLE."""
    if "$ref" in schema:
        return _example(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]], document)
    if "example" in schema:
        return schema["example"]
    if schema.get("type") == "array":
        element = _example(schema["items"], document)
        return NO_EXAMPLE if element is NO_EXAMPLE else [element]
    fields = {name: _example(field, document) for name, field in schema.get("properties", {}).items()}
    return {name: example for name, example in fields.items() if example is not NO_EXAMPLE} or NO_EXAMPLE

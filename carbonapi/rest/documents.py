"""The OpenAPI document and Swagger UI, served where the API runs."""

import re
from collections.abc import Iterator
from functools import cached_property
from http import HTTPStatus
from typing import Any

import flask
import flask_smorest
import marshmallow as ma
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_cls

from ..access import EVERYONE
from .errors import ProblemMixin
from .fields import Figure, Instant, InstantOrDate, Quantity, Region, Whole

DESCRIPTION = """\
carbonapi keeps a ledger of **usages**: so much electricity, water or heating, when, and the kg of CO2e that it caused.

* **Sign in**: `POST /api/v1/auth/register`, then `/login`; press *Authorize* and paste the access token.
* A **usage** has a **usage type** (electricity in kwh), an `amount` and the instant it was used at.
* Its `co2e_kg` is `amount` times the **emission factor** in force at `usage_at`, frozen into it: a later factor
  moves no recorded number. Numbers are exact decimals, from the request to the answer.
* Lists page (`page`, `page_size`, `X-Pagination`, `Link`), sort (`sort=-usage_at`) and filter; time ranges are
  half-open: `[start, end)`. An unknown query argument is refused.
* Errors are `application/problem+json` (RFC 9457) that name the field. What you may not see is 404.
"""

PROBLEM = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
HEADERS = {
    "paged": {
        "X-Pagination": "Where the page stands: a JSON object of total, total_pages, first_page, last_page, page, "
        "previous_page and next_page.",
        "Link": "The first, prev, next and last page (RFC 8288).",
    },
    "tagged": {"ETag": "The version of the resource, for If-Match and If-None-Match (RFC 9110)."},
    "created": {"Location": "The address of the new resource."},
}


def schema_name(schema: Any) -> str:
    """The name of a schema in the document: its class's, without `Schema`."""
    schema_class: Any = resolve_schema_cls(schema)
    return str(schema_class.__name__).removesuffix("Schema")


class Api(ProblemMixin, flask_smorest.Api):
    """flask-smorest's, with this service's errors, and a document completed by its conventions."""

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
                    "description": DESCRIPTION,
                    "license": {"name": "MIT", "identifier": "MIT"},
                    "contact": {"name": "The carbonapi maintainers", "url": "https://github.com/carbonapi/carbonapi"},
                },
                "servers": [{"url": "/", "description": "Where this document came from"}],
            },
        )
        converter = plugin.converter
        assert converter is not None
        for field in (Quantity, Figure, Instant, InstantOrDate):
            converter.map_to_openapi_type(field, None, None)
        converter.add_attribute_function(_described)
        bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        self.spec.components.security_scheme("access_token", bearer | {"description": "From `/auth/login`."})
        self.spec.components.security_scheme(
            "refresh_token", bearer | {"description": "From `/auth/login`, for `/auth/refresh` alone."}
        )
        app.extensions["carbonapi-api"] = self

    @cached_property
    def document(self) -> dict[str, Any]:
        """The whole OpenAPI document."""
        document: dict[str, Any] = self.spec.to_dict()
        document["components"]["responses"] = {}
        for path, operations in document["paths"].items():
            for operation in operations.values():
                if isinstance(operation, dict):
                    _complete(path, operation, document)
        return document


def _described(self: Any, field: ma.fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
    """What JSON Schema says of our own fields."""
    null = ["null"] if field.allow_none else []
    if isinstance(field, Figure):
        return {"type": ["number", *null] if null else "number"}
    if isinstance(field, Quantity):
        number = {"type": "number", "minimum": 0, "exclusiveMaximum": 10**12}
        digits = {"type": "string", "pattern": rf"^[0-9]{{1,12}}(\.[0-9]{{1,{field.fraction_digits}}})?$"}
        return {"anyOf": [number, digits]}
    if isinstance(field, InstantOrDate):
        return {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}
    if isinstance(field, Instant):
        return {"type": ["string", *null] if null else "string", "format": "date-time"}
    if isinstance(field, Region):
        return {"pattern": f"^{Region.PATTERN}$"}
    if isinstance(field, Whole):
        return {"format": "int64"}
    return {}


def _complete(path: str, operation: dict[str, Any], document: dict[str, Any]) -> None:
    """Add to an operation what follows from the conventions: its id, errors, headers and examples."""
    conventions = operation.pop("x-conventions", {})
    roles = conventions.get("roles")
    responses = operation.setdefault("responses", {})
    operation["operationId"] = re.sub(r"\b(a|an|the) |[^a-z ]", "", operation["summary"].lower()).replace(" ", "_")
    parameters = operation.setdefault("parameters", [])
    statuses = {"UNPROCESSABLE_ENTITY": 422}
    if roles is not None:
        operation.setdefault("security", [{"access_token": []}])
        statuses["UNAUTHORIZED"] = 401
        if roles != EVERYONE:
            statuses["FORBIDDEN"] = 403
            operation["description"] = (
                operation.get("description", "") + f"\n\nFor {' and '.join(sorted(roles))}."
            ).strip()
    elif operation.get("security"):
        statuses["UNAUTHORIZED"] = 401
    else:
        operation["security"] = []
    if "{" in path or "id" in {parameter.get("name") for parameter in parameters}:
        statuses["NOT_FOUND"] = 404
    if conventions.get("conflicts"):
        statuses["CONFLICT"] = 409
    if "requestBody" in operation:
        statuses |= {"BAD_REQUEST": 400, "REQUEST_ENTITY_TOO_LARGE": 413, "UNSUPPORTED_MEDIA_TYPE": 415}
    if conventions.get("conditional") or (
        conventions.get("tagged") and "requestBody" in operation and "201" not in responses
    ):
        statuses["PRECONDITION_FAILED"] = 412
        parameters.append(_header("If-Match", "Only if the resource still has this ETag; else 412."))
    if conventions.get("tagged") and "requestBody" not in operation:
        parameters.append(_header("If-None-Match", "Only if the resource no longer has this ETag; else 304."))
        responses["304"] = {"description": "Not modified: the caller has this version already."}
    for name, status in statuses.items():
        document["components"]["responses"].setdefault(name, PROBLEM | {"description": HTTPStatus(status).phrase})
        responses[str(status)] = {"$ref": f"#/components/responses/{name}"}
    for content in _contents(operation):
        example = _example(content.get("schema", {}), document)
        if example is not None:
            content.setdefault("example", example)
    for convention, headers in HEADERS.items():
        if conventions.get(convention):
            for status in responses.keys() & {"200", "201"}:
                responses[status]["headers"] = responses[status].get("headers", {}) | {
                    name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
                }
    if not parameters:
        del operation["parameters"]


def _contents(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The bodies of an operation: what it takes, and what it gives when all is well."""
    yield from operation.get("requestBody", {}).get("content", {}).values()
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            yield from response.get("content", {}).values()


def _example(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """An example of a whole schema, put together from those of its fields; None if there is none."""
    if "$ref" in schema:
        return _example(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]], document)
    if "example" in schema:
        return schema["example"]
    if schema.get("type") == "array":
        item = _example(schema["items"], document)
        return None if item is None else [item]
    fields = {name: _example(field, document) for name, field in schema.get("properties", {}).items()}
    return {name: example for name, example in fields.items() if example is not None} or None


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}

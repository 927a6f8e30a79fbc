"""Requests and chapters of the Postman collection, and values that several requests share."""

from dataclasses import dataclass, field
from typing import Any

from ..errors import CarbonError


@dataclass(frozen=True)
class Request:
    """A request: the documented example of an operation, with the changes given here.

    Values may contain variables, such as `{{usage_id}}`. The query is not percent-encoded.
    status: the expected status, if the operation has several for success; error: the expected error.
    expects: further checks, as JavaScript expressions of `answer` and their values.
    saves: variables to set, and the JavaScript expressions of their values.
    bearer: the variable with the token, if it is not the usual one.
    prerequest: a script to run before the request.
    """

    operation: str
    name: str | None = None
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    status: int | None = None
    error: type[CarbonError] | None = None
    saves: dict[str, str] = field(default_factory=dict)
    expects: dict[str, Any] = field(default_factory=dict)
    bearer: str | None = None
    prerequest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chapter:
    """A folder of the collection. Without a description, it has that of its tag in the OpenAPI document.

    bearer: the variable with the token of its requests; prerequest: a script to run before each of them.
    """

    name: str
    requests: tuple[Request, ...]
    description: str = ""
    bearer: str | None = None
    prerequest: tuple[str, ...] = ()


ETAG = {"etag": 'pm.response.headers.get("ETag")'}
IF_MATCH = {"If-Match": "{{etag}}"}
CREDENTIALS = {"email": "{{email}}", "password": "{{password}}"}

"""What a request of the Postman collection asks, keeps and expects, and what several of them share."""

from dataclasses import dataclass, field
from typing import Any

from ..errors import CarbonError

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Request:
    """A request: an operation's documented example, but for what is told here.

    Values may name variables, `{{usage_id}}`. keeps: variables, and where in the answer they are found; expects:
    what else holds of the answer; both are expressions in JavaScript. first: a script that goes before.
    bearer: the variable that signs it, where it is not the usual one. status: that of the answer, where several are
    good; fails: the error that it is, where none is.
    """

    operation: str
    name: str | None = None
    query: Query = ()
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    status: int | None = None
    fails: type[CarbonError] | None = None
    keeps: dict[str, str] = field(default_factory=dict)
    expects: dict[str, Any] = field(default_factory=dict)
    bearer: str | None = None
    first: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chapter:
    """A folder: that of a tag, unless it has a description of its own.

    first: a script that goes before each of its requests; bearer: the variable that signs them.
    """

    name: str
    steps: tuple[Request, ...]
    description: str = ""
    bearer: str | None = None
    first: tuple[str, ...] = ()


ETAG = {"etag": 'pm.response.headers.get("ETag")'}
IF_MATCH = {"If-Match": "{{etag}}"}
CREDENTIALS = {"email": "{{email}}", "password": "{{password}}"}

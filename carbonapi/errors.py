"""The errors of the domain, independent of HTTP."""

import re
from collections.abc import Mapping
from typing import Any

MAX_ERRORS_SHOWN = 100  # Of the invalid rows of a file.
# By location, and by field or line. Of the elements of an array: by location, index and field.
Messages = Mapping[str, Mapping[str, list[str] | Mapping[str, list[str]]]]


class CarbonError(Exception):
    """Base of the errors that a caller can act on. Its message is shown to them.

    code: the stable name of the kind of error, for programs. title: its name for people. Both are words of the class's
    name: NotFound has the code `not-found` and the title `Not found`.
    errors: messages by location, which is "json", "query" or "file", and by field or line. Of an array: by location,
    index and field.
    """

    code: str
    title: str

    def __init_subclass__(cls) -> None:
        words = re.findall("[A-Z][a-z]+", cls.__name__)
        cls.code, cls.title = "-".join(words).lower(), " ".join(words).capitalize()

    def __init__(self, message: str, errors: Messages | None = None, *, field: str | None = None) -> None:
        super().__init__(message)
        self.errors: Messages = errors or ({"json": {field: [message]}} if field else {})


class Unauthenticated(CarbonError):
    """The request has no valid access token or API key."""


class Forbidden(CarbonError):
    """The actor's role or API key does not permit this."""


class NotFound(CarbonError):
    """The row does not exist, or the actor may not see it."""


class Conflict(CarbonError):
    """The request contradicts what is stored."""


class FileAlreadyImported(Conflict):
    """The file was imported before."""


class PreconditionFailed(CarbonError):
    """The row has changed since the caller read it."""


class RateLimited(CarbonError):
    """A rate limit has been reached."""

    def __init__(self, message: str, retry_after: int) -> None:
        """retry_after: seconds until the limit is reset."""
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(CarbonError):
    """The service is temporarily unable to respond."""


class BadRequest(CarbonError):
    """The request cannot be parsed."""


class RequestTimeout(CarbonError):
    """The body did not arrive in time."""


class UnsupportedMediaType(CarbonError):
    """The body has a media type that the endpoint does not accept."""


class PayloadTooLarge(CarbonError):
    """The body is larger than the endpoint accepts."""


class LengthRequired(CarbonError):
    """The body has no length, and the web server does not detect a truncated one: granian's WSGI."""


class ValidationFailed(CarbonError):
    """The request has invalid values."""


class MissingFactor(ValidationFailed):
    """No emission factor is valid at the requested time."""


def rows_rejected(
    errors: Mapping[int, list[str]], outcome: str = "nothing was recorded", count: int | None = None
) -> ValidationFailed:
    """Return an error with the first messages by line, and the outcome for the file.

    count: the number of invalid rows, if `errors` has only the first of them.
    """
    count = count or len(errors)
    shown = {str(line): errors[line] for line in sorted(errors)[:MAX_ERRORS_SHOWN]}
    rows = "1 invalid row" if count == 1 else f"{count} invalid rows"
    return ValidationFailed(f"{rows}; {outcome}. First error: line {min(errors)}.", {"file": shown})


def elements_rejected(errors: Mapping[int, CarbonError]) -> CarbonError:
    """Return an error with those of the elements of an array, by index.

    It is of their class if they have the same one; else a Conflict if all are conflicts, or ValidationFailed.
    """
    kinds = {type(error) for error in errors.values()}
    kind = kinds.pop() if len(kinds) == 1 else Conflict if all(issubclass(each, Conflict) for each in kinds) else None
    first = min(errors)
    elements = "1 element" if len(errors) == 1 else f"{len(errors)} elements"
    message = f"{elements} rejected, so nothing was recorded. First error, at index {first}: {errors[first]}"
    by_index: dict[str, Any] = {
        str(index): errors[index].errors.get("json", {"_schema": [str(errors[index])]}) for index in sorted(errors)
    }
    return (kind or ValidationFailed)(message, {"json": by_index})

"""What can go wrong, in words of the domain. Knows nothing of HTTP."""

Messages = dict[str, dict[str, list[str]]]


class CarbonError(Exception):
    """Base of the errors that a caller can act on; the message is shown to them.

    `errors` names what is wrong: {"json" | "query" | "file": {field or line: [messages]}}.
    """

    title = "Error"

    def __init__(self, message: str, errors: Messages | None = None, *, field: str | None = None) -> None:
        super().__init__(message)
        self.errors: Messages = errors or ({"json": {field: [message]}} if field else {})


class Unauthenticated(CarbonError):
    """Nobody is signed in, or the token is not good."""

    title = "Unauthenticated"


class Forbidden(CarbonError):
    """The actor's role may not do this."""

    title = "Forbidden"


class NotFound(CarbonError):
    """There is no such row, or the actor may not see it."""

    title = "Not found"


class Conflict(CarbonError):
    """The request contradicts what is stored."""

    title = "Conflict"


class PreconditionFailed(CarbonError):
    """The row has changed since the caller read it."""

    title = "Precondition failed"


class RateLimited(CarbonError):
    """This was done as often as it may be within a time."""

    title = "Rate limited"

    def __init__(self, message: str, retry_after: int) -> None:
        """retry_after: seconds until it may be done again."""
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(CarbonError):
    """The service cannot answer now; it can soon."""

    title = "Unavailable"


class BadRequest(CarbonError):
    """The request cannot be read at all."""

    title = "Bad request"


class RequestTimeout(CarbonError):
    """The body has not arrived in time."""

    title = "Request timeout"


class UnsupportedMediaType(CarbonError):
    """The body is of a kind that is not taken here."""

    title = "Unsupported media type"


class PayloadTooLarge(CarbonError):
    """The body is larger than this address takes."""

    title = "Payload too large"


class LengthRequired(CarbonError):
    """A body must say how long it is, so that half of it cannot pass for the whole."""

    title = "Length required"


class ValidationFailed(CarbonError):
    """The request is understood, and cannot be carried out as it stands."""

    title = "Validation failed"


class MissingFactor(ValidationFailed):
    """No emission factor is in force at the moment asked for."""

    title = "Missing factor"

"""The errors of the domain, independent of HTTP."""

Messages = dict[str, dict[str, list[str]]]


class CarbonError(Exception):
    """Base of the errors that a caller can act on. Its message is shown to them.

    errors: messages by location, which is "json", "query" or "file", and by field or line.
    """

    title = "Error"

    def __init__(self, message: str, errors: Messages | None = None, *, field: str | None = None) -> None:
        super().__init__(message)
        self.errors: Messages = errors or ({"json": {field: [message]}} if field else {})


class Unauthenticated(CarbonError):
    """The request has no valid access token or API key."""

    title = "Unauthenticated"


class Forbidden(CarbonError):
    """The actor's role or API key does not permit this."""

    title = "Forbidden"


class NotFound(CarbonError):
    """The row does not exist, or the actor may not see it."""

    title = "Not found"


class Conflict(CarbonError):
    """The request contradicts what is stored."""

    title = "Conflict"


class PreconditionFailed(CarbonError):
    """The row has changed since the caller read it."""

    title = "Precondition failed"


class RateLimited(CarbonError):
    """A rate limit has been reached."""

    title = "Rate limited"

    def __init__(self, message: str, retry_after: int) -> None:
        """retry_after: seconds until the limit is reset."""
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(CarbonError):
    """The service is temporarily unable to respond."""

    title = "Unavailable"


class BadRequest(CarbonError):
    """The request cannot be parsed."""

    title = "Bad request"


class RequestTimeout(CarbonError):
    """The body did not arrive in time."""

    title = "Request timeout"


class UnsupportedMediaType(CarbonError):
    """The body has a media type that the endpoint does not accept."""

    title = "Unsupported media type"


class PayloadTooLarge(CarbonError):
    """The body is larger than the endpoint accepts."""

    title = "Payload too large"


class LengthRequired(CarbonError):
    """The body has no length, so that a truncated one could not be detected."""

    title = "Length required"


class ValidationFailed(CarbonError):
    """The request has invalid values."""

    title = "Validation failed"


class MissingFactor(ValidationFailed):
    """No emission factor is valid at the requested time."""

    title = "Missing factor"

"""The errors of the domain, independent of HTTP."""

Messages = dict[str, dict[str, list[str]]]


class CarbonError(Exception):
    """Base of the errors that a caller can act on. Its message is shown to them.

    code: the stable name of the kind of error, for programs. title: its name for people.

    errors: messages by location, which is "json", "query" or "file", and by field or line.
    """

    code = "error"
    title = "Error"

    def __init__(self, message: str, errors: Messages | None = None, *, field: str | None = None) -> None:
        super().__init__(message)
        self.errors: Messages = errors or ({"json": {field: [message]}} if field else {})


class Unauthenticated(CarbonError):
    """The request has no valid access token or API key."""

    code = "unauthenticated"
    title = "Unauthenticated"


class Forbidden(CarbonError):
    """The actor's role or API key does not permit this."""

    code = "forbidden"
    title = "Forbidden"


class NotFound(CarbonError):
    """The row does not exist, or the actor may not see it."""

    code = "not-found"
    title = "Not found"


class Conflict(CarbonError):
    """The request contradicts what is stored."""

    code = "conflict"
    title = "Conflict"


class PreconditionFailed(CarbonError):
    """The row has changed since the caller read it."""

    code = "precondition-failed"
    title = "Precondition failed"


class RateLimited(CarbonError):
    """A rate limit has been reached."""

    code = "rate-limited"
    title = "Rate limited"

    def __init__(self, message: str, retry_after: int) -> None:
        """retry_after: seconds until the limit is reset."""
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(CarbonError):
    """The service is temporarily unable to respond."""

    code = "unavailable"
    title = "Unavailable"


class BadRequest(CarbonError):
    """The request cannot be parsed."""

    code = "bad-request"
    title = "Bad request"


class RequestTimeout(CarbonError):
    """The body did not arrive in time."""

    code = "request-timeout"
    title = "Request timeout"


class UnsupportedMediaType(CarbonError):
    """The body has a media type that the endpoint does not accept."""

    code = "unsupported-media-type"
    title = "Unsupported media type"


class PayloadTooLarge(CarbonError):
    """The body is larger than the endpoint accepts."""

    code = "payload-too-large"
    title = "Payload too large"


class LengthRequired(CarbonError):
    """The body has no length, so that a truncated one could not be detected."""

    code = "length-required"
    title = "Length required"


class ValidationFailed(CarbonError):
    """The request has invalid values."""

    code = "validation-failed"
    title = "Validation failed"


class MissingFactor(ValidationFailed):
    """No emission factor is valid at the requested time."""

    code = "missing-factor"
    title = "Missing factor"

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


class NotSignedIn(CarbonError):
    """Nobody is signed in, or the token is not good."""

    title = "Not signed in"


class NotAllowed(CarbonError):
    """The actor's role may not do this."""

    title = "Not allowed"


class NotFound(CarbonError):
    """There is no such row, or the actor may not see it."""

    title = "Not found"


class Conflict(CarbonError):
    """The request contradicts what is stored."""

    title = "Conflict"


class Stale(CarbonError):
    """The row has changed since the caller read it."""

    title = "Changed meanwhile"


class TooMany(CarbonError):
    """This was done as often as it may be within a time."""

    title = "Too many requests"

    def __init__(self, message: str, retry_after: int) -> None:
        """retry_after: seconds until it may be done again."""
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(CarbonError):
    """The service cannot answer now; it can soon."""

    title = "Unavailable"


class Malformed(CarbonError):
    """The request cannot be read at all."""

    title = "Malformed request"


class TooSlow(CarbonError):
    """The body has not arrived in time."""

    title = "Too slow"


class UnsupportedMedia(CarbonError):
    """The body is of a kind that is not taken here."""

    title = "Unsupported media type"


class TooLarge(CarbonError):
    """The body is larger than this address takes."""

    title = "Too large"


class LengthRequired(CarbonError):
    """A body must say how long it is, so that half of it cannot pass for the whole."""

    title = "Length required"


class Invalid(CarbonError):
    """The request is understood, and cannot be carried out as it stands."""

    title = "Invalid"


class NoFactor(Invalid):
    """No emission factor is in force at the moment asked for."""

    title = "No emission factor"

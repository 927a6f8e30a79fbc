"""The log: a JSON object a line, on stderr. No line holds what a caller keeps secret."""

import contextlib
import datetime as dt
import logging
import os
import traceback
from typing import Any

import orjson
from flask import g, has_request_context, request

STDERR = 2
LOG = logging.getLogger("carbonapi")  # The name of the app, too.


def configure_logging(level: str) -> None:
    """Let all that this process says be lines of the log: our own from this level on, of libraries the warnings."""
    LOG.handlers.clear()
    LOG.setLevel(level.upper())
    logging.root.handlers = [JsonHandler()]
    logging.root.setLevel(max(LOG.level, logging.WARNING))
    logging.captureWarnings(True)


def write_log(level: int, message: str, **fields: object) -> None:
    """Write a line if its level is one that is told. A record of `logging` would cost three times as much."""
    if LOG.isEnabledFor(level):
        _write(level, message, fields)


def request_fields() -> dict[str, object]:
    """What a line tells of the request: where it went and who asked, without its query, headers and body."""
    actor = g.get("actor")
    rule = request.url_rule
    return {
        "request_id": g.get("request_id"),
        "method": request.method,
        "route": rule and rule.rule,
        "path": request.path,
        "actor_id": actor and actor.id,
        "organization_id": actor and actor.organization_id,
        "address": request.remote_addr,
    }


class JsonHandler(logging.Handler):
    """Writes what is told by `logging` as lines, an exception with its stack."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = {"logger": record.name} | (request_fields() if has_request_context() else {})
            if record.exc_info and record.exc_info[1]:
                fields["stack"] = _stack(record.exc_info[1])
            # Half a surrogate pair, which UTF-8 does not have, becomes a "?".
            _write(record.levelno, record.getMessage().encode("utf-8", "replace").decode(), fields)
        except Exception:
            self.handleError(record)


def _write(level: int, message: str, fields: dict[str, Any]) -> None:
    head = {"time": dt.datetime.now(dt.UTC), "level": logging.getLevelName(level).lower(), "message": message}
    line = orjson.dumps(head | fields, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE, default=str)
    # One call, so that lines of several workers do not mix. A log that nobody takes stops nobody's request.
    with contextlib.suppress(OSError):
        os.write(STDERR, line)


def _stack(error: BaseException) -> str:
    """The stack of an exception, below those of the exceptions that led to it."""
    told: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        frames = "".join(traceback.format_tb(cause.__traceback__))
        told.insert(0, f"{frames}{type(cause).__module__}.{type(cause).__qualname__}{_said(cause)}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n\n".join(told)


def _said(error: BaseException) -> str:
    """What an exception says, if it speaks of the code or of the system: others may quote what a caller has sent."""
    state = getattr(getattr(error, "orig", error), "pgcode", None)
    if state:
        return f": SQLSTATE {state}"
    if isinstance(error, OSError):
        return f": {error.strerror}"
    return f": {error}" if isinstance(error, AttributeError | ImportError | NameError) else ""

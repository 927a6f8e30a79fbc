"""The hooks around every request, in the order in which they run."""

from flask import Flask

from . import base_path, compression, cors, rate_limit_headers, request_log, request_parsing, security_headers

# The timer starts first, so that the log has the whole duration. The request id comes before anything that can fail,
# because every problem contains it.
BEFORE_REQUEST = (
    request_log.start_timer,
    rate_limit_headers.reset_limit_statuses,
    request_parsing.assign_request_id,
    request_parsing.reject_unreadable_bodies,
)
# Headers first, in any order. The log line comes last, when the response is complete.
AFTER_REQUEST = (
    security_headers.set_headers,
    base_path.make_location_relative,
    cors.add_cors_headers,
    request_parsing.add_request_id,
    rate_limit_headers.add_rate_limit_headers,
    compression.compress,
    request_log.log_request,
)


def register_hooks(app: Flask) -> None:
    for before in BEFORE_REQUEST:
        app.before_request(before)
    for after in reversed(AFTER_REQUEST):  # Flask runs the last one registered first.
        app.after_request(after)

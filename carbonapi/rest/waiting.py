"""Waiting within a request, without the resources that other requests need."""

from flask import request

from ..db import db

WAITER = "carbonapi.waiter"  # In the WSGI environment: the web server's way to wait. Other servers have none.


def sleep_while_idle(seconds: float) -> bool:
    """Sleep without a database connection and without the request's slot. Return False at once if that cannot be."""
    waiter = request.environ.get(WAITER)
    if waiter is None:
        return False
    db.session.close()
    return bool(waiter.sleep(seconds))

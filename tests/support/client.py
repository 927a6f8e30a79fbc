"""A client of the API within the test's process."""

from urllib.parse import quote

import flask

from carbonapi.db import db
from carbonapi.rest.fields import format_datetime

from . import factories


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def query_now():
    """Return the current time as a value for a query string."""
    return quote(format_datetime(factories.now()))


class Client:
    """A client that sends requests below /api/v1, with an access token if it has one."""

    def __init__(self, app, tokens=None, user=None):
        self.http = app.test_client()
        self.tokens = tokens
        self.user = user

    def open(self, path, method="GET", headers=None, **kwargs):
        authorization = bearer(self.tokens["access_token"]) if self.tokens else {}
        # Start each request with a new database session, as a request over HTTP does.
        if flask.has_app_context():
            db.session.commit()
            db.session.remove()
        url = path if path.startswith(("/api/", "/health", "/openapi", "/docs")) else f"/api/v1{path}"
        return self.http.open(url, method=method, headers=authorization | (headers or {}), **kwargs)

    def get(self, path, **kwargs):
        return self.open(path, "GET", **kwargs)

    def post(self, path, **kwargs):
        return self.open(path, "POST", **kwargs)

    def put(self, path, **kwargs):
        return self.open(path, "PUT", **kwargs)

    def patch(self, path, **kwargs):
        return self.open(path, "PATCH", **kwargs)

    def delete(self, path, **kwargs):
        return self.open(path, "DELETE", **kwargs)

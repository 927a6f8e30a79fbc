"""Hooks of schemathesis that authenticate its requests.

Each request is sent as another user of one organization. A request that changes its user or session, such as a logout,
therefore never affects the next, and all requests see the same rows. CARBONAPI_TEST_ROLE sets the role.
"""

import datetime as dt
import os
import uuid

import schemathesis
from hypothesis import strategies

from carbonapi import audit, create_app
from carbonapi.accounts import sessions
from carbonapi.accounts.models import User
from carbonapi.db import db
from tests.support.apps import operator_context

from . import factories, schemathesis_files  # noqa: F401  # It registers a serializer.

# tests/rest/test_request_parsing.py covers compressed bodies, and tests/serving/test_rsgi.py framing.
FRAMING = {
    "connection", "content-encoding", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
app = create_app()


def tokens_of_new_users():
    """Yield the tokens of a new user each time.

    Users are created as late as possible: a request with a random ID may delete an earlier one.
    """
    with operator_context(app):
        organization_id = factories.organization("Tested by schemathesis").id
    while True:
        with operator_context(app):
            user = User(
                organization_id=organization_id,
                role=os.environ["CARBONAPI_TEST_ROLE"],
                email=f"{uuid.uuid4().hex}@example.org",
                name="A user",
                password_hash=factories.PASSWORD_HASH,
            )
            db.session.add(user)
            audit.flush()
            tokens = sessions.create(user, factories.now())
            db.session.commit()
        yield tokens


new_tokens = tokens_of_new_users()

# JSON Schema cannot express the years 1900 to 2200.
first, last = dt.datetime(1900, 1, 2), dt.datetime(2200, 12, 30)
instants = strategies.datetimes(first, last, timezones=strategies.just(dt.UTC))
schemathesis.openapi.format("date-time", instants.map(dt.datetime.isoformat))
schemathesis.openapi.format("date", strategies.dates(first.date(), last.date()).map(dt.date.isoformat))


@schemathesis.hook
def filter_headers(context, headers):
    """Drop generated framing headers before the request is built.

    If they were removed later, schemathesis would treat invalid requests as valid.
    """
    return not FRAMING & {name.lower() for name in headers or ()}


@schemathesis.auth(refresh_interval=None)
class NewUserAuth:
    """Authenticate each request with the kind of token that its operation requires."""

    def get(self, case, context):
        kinds = {kind for scheme in context.operation.definition.raw["security"] for kind in scheme}
        return next(new_tokens)["refresh_token" if "refresh_token" in kinds else "access_token"]

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"

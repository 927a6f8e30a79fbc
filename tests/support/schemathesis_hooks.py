"""What schemathesis must know to test the service as somebody who is signed in.

Every request is another user's, of one organization: whatever a test does to a user or a session, such as logging out,
the next one acts undisturbed and sees the same rows. CARBONAPI_TEST_ROLE says which role they have.
"""

import datetime as dt
import os
import uuid

import schemathesis
from hypothesis import strategies

from carbonapi import create_app
from carbonapi.accounts import sessions
from carbonapi.accounts.models import User
from carbonapi.db import db
from tests.support.apps import operator_context

from . import factories, schemathesis_files  # noqa: F401  # What registers itself.

# A body that says it is compressed is 415 anywhere: tests/rest/test_bodies.py tries that.
FRAMING = {
    "connection", "content-encoding", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
app = create_app()


def logged_in():
    """The tokens of one new user after the other, each made as it is asked for.

    A user made earlier than that could be deleted, by a request that guesses its id, before it has acted.
    """
    with operator_context(app):
        organization_id = factories.organization("Tested by schemathesis").id
    while True:
        with operator_context(app):
            user = User(
                organization_id=organization_id,
                role=os.environ["CARBONAPI_TEST_ROLE"],
                email=f"{uuid.uuid4().hex}@example.org",
                name="Somebody",
                password_hash=factories.PASSWORD_HASH,
            )
            db.session.add(user)
            db.session.flush()
            tokens = sessions.create(user, factories.now())
            db.session.commit()
        yield tokens


people = logged_in()

# The document has the years 1900 to 2200 in words, since JSON Schema cannot say them.
first, last = dt.datetime(1900, 1, 2), dt.datetime(2200, 12, 30)
instants = strategies.datetimes(first, last, timezones=strategies.just(dt.UTC))
schemathesis.openapi.format("date-time", instants.map(dt.datetime.isoformat))
schemathesis.openapi.format("date", strategies.dates(first.date(), last.date()).map(dt.date.isoformat))


@schemathesis.hook
def filter_headers(context, headers):
    """Make up no headers that say how a message is framed: the web server judges them, and test_wire.py it.

    Taken away later, they would make schemathesis think anew of whether a request that it has spoilt is valid.
    """
    return not FRAMING & {name.lower() for name in headers or ()}


@schemathesis.auth(refresh_interval=None)
class SomebodySignedIn:
    """Signs each request with a token of the kind that its operation wants."""

    def get(self, case, context):
        kinds = {kind for scheme in context.operation.definition.raw["security"] for kind in scheme}
        return next(people)["refresh_token" if "refresh_token" in kinds else "access_token"]

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"

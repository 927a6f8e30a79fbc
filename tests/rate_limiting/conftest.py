"""A settable clock, and several workers on one database."""

import datetime as dt

import pytest

from carbonapi import create_app
from carbonapi.accounts import sessions
from carbonapi.db import db
from tests.support import factories
from tests.support.apps import operator_context, settings_for
from tests.support.client import Client


@pytest.fixture
def clock(monkeypatch):
    """The time at which requests count, in a list. At first a window of the limits starts at it."""
    moment = [factories.now().replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=1)]
    for module in ("carbonapi.rest.rate_limit_headers", "carbonapi.accounts.views"):
        monkeypatch.setattr(f"{module}.now", lambda: moment[0])
    return moment


@pytest.fixture
def workers(fresh_database_url, clock):
    """Return a function that creates workers, with Ada as their manager, on a database that commits."""
    apps = []

    def make(number, **settings):
        apps.extend(create_app(settings_for(fresh_database_url, **settings)) for _ in range(number))
        with operator_context(apps[0]):
            user = factories.user(factories.organization(), "manager", email="ada@example.org")
            tokens = sessions.create(user, factories.now())
            db.session.commit()
            db.session.remove()
        return [Client(app, tokens, user) for app in apps]

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()

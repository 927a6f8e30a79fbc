"""Pipelines of writing views: commits, and retries of aborted transactions."""

import threading

import pytest
import sqlalchemy as sa
from flask.views import MethodView

from carbonapi import create_app
from carbonapi.accounts.models import Organization
from carbonapi.db import db, row_security
from carbonapi.rest import Blueprint, public, single_statement
from tests.support import factories
from tests.support.apps import operator_context, settings_for
from tests.support.client import Client

FILE = {"data": "a\n1\n", "content_type": "text/csv"}
NAMES = sa.select(Organization.name).where(Organization.name.like("Tried%")).order_by(Organization.id)


def fail_with(state):
    db.session.execute(sa.text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$"))


class Trials:
    """Views that write a row with each try, and what becomes of a try: a SQLSTATE, or nothing."""

    def __init__(self):
        self.outcomes = []
        self.tried = 0

    def write(self):
        self.tried += 1
        self.add_row()
        if self.outcomes:
            fail_with(self.outcomes.pop(0))

    def write_by_one_statement(self):
        self.tried += 1
        if self.outcomes:
            fail_with(self.outcomes.pop(0))
        else:
            self.add_row()

    @row_security.for_all_organizations()
    def add_row(self):
        db.session.execute(sa.insert(Organization).values(name=f"Tried {self.tried}", version=1))

    def blueprint(self):
        trials = self
        tried = Blueprint("Trials", __name__, description="Views for this test.")

        @tried.route("/trials")
        class Public(MethodView):
            @tried.post(None, None)
            @public
            def post(self):
                """Write a row"""
                trials.write()

            @tried.patch(None, None)
            @public
            @single_statement
            def patch(self):
                """Write a row by one statement"""
                trials.write_by_one_statement()

            @tried.delete()
            @public
            def delete(self):
                """Write another row"""
                trials.write()

            @tried.upload(None, None, {"csv": "a"}, 200)
            @public
            def put(self, file):
                """Write a row for a file"""
                assert file.read() == b"a\n1\n"
                trials.write()

        return tried


@pytest.fixture
def trials():
    return Trials()


@pytest.fixture
def client(fresh_database_url, trials, crossing):
    app = create_app(settings_for(fresh_database_url))
    for blueprint in (trials.blueprint(), crossing.blueprint()):
        app.extensions["carbonapi"].api.register_blueprint(blueprint)
    yield Client(app)
    with operator_context(app):
        db.session.remove()
        db.engine.dispose()


def names(client):
    with operator_context(client.http.application):
        return db.session.scalars(NAMES).all()


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("state", ["40P01", "40001"])
def test_aborted_transaction_is_retried_up_to_three_times(client, trials, method, state):
    trials.outcomes = [state] * 3

    answer = client.open("/trials", method)

    assert (answer.status_code, trials.tried) == (204, 4)
    assert names(client) == ["Tried 4"]


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_fourth_abort_is_503_and_stores_nothing(client, trials, method):
    trials.outcomes = ["40P01"] * 4

    answer = client.open("/trials", method)

    assert (answer.status_code, answer.headers["Retry-After"], trials.tried) == (503, "2", 4)
    assert names(client) == []


@pytest.mark.parametrize(("state", "status"), [("55P03", 503), ("57014", 503), ("22003", 422), ("23505", 409)])
def test_other_database_errors_are_not_retried(client, trials, state, status):
    trials.outcomes = [state]

    answer = client.post("/trials")

    assert (answer.status_code, trials.tried) == (status, 1)
    assert names(client) == []


def test_upload_is_not_retried(client, trials):
    trials.outcomes = ["40P01"]

    assert client.put("/trials", **FILE).status_code == 503
    assert (trials.tried, names(client)) == (1, [])
    assert client.put("/trials", **FILE).status_code == 200
    assert (trials.tried, names(client)) == (2, ["Tried 2"])


class Crossing:
    """A view that adds 1 to two organizations, in the order of its path, and waits for another request in between."""

    def __init__(self):
        self.halfway = threading.Barrier(2)
        self.tried = []

    def blueprint(self):
        crossing = self
        crossed = Blueprint("Crossing", __name__, description="A view for this test.")

        @crossed.route("/crossing/<int:organization_id>/<int:other_id>")
        class Public(MethodView):
            @crossed.post(None, None)
            @public
            def post(self, organization_id, other_id):
                """Add 1 to both"""
                is_first_try = organization_id not in crossing.tried
                crossing.tried.append(organization_id)
                add_one_to(organization_id)
                if is_first_try:
                    crossing.halfway.wait(10)
                add_one_to(other_id)

        return crossed


@row_security.for_all_organizations()
def add_one_to(organization_id):
    more = sa.update(Organization).values(significance_threshold=Organization.significance_threshold + 1)
    db.session.execute(more.where(Organization.id == organization_id))


@pytest.fixture
def crossing():
    return Crossing()


def test_deadlocked_requests_both_succeed_once(client, crossing):
    with operator_context(client.http.application):
        ids = [factories.organization().id for _ in range(2)]
    statuses = {}

    def cross(first, second):
        statuses[first] = Client(client.http.application).post(f"/crossing/{first}/{second}").status_code

    threads = [threading.Thread(target=cross, args=order) for order in (ids, ids[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == dict.fromkeys(ids, 204)
    assert len(crossing.tried) > 2, "PostgreSQL undid none of them"
    with operator_context(client.http.application):
        thresholds = sa.select(Organization.significance_threshold).where(Organization.id.in_(ids))
        assert db.session.scalars(thresholds).all() == [7, 7]  # It is 5 by default.

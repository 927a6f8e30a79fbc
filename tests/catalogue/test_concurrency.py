"""Corrections of factors while usages are recorded."""

import threading
import time
from decimal import Decimal

import pytest
import sqlalchemy as sa

from carbonapi.auth import Actor, acting_as, get_visible
from carbonapi.catalogue import service
from carbonapi.catalogue.models import EmissionFactor
from carbonapi.db import db
from tests.support import factories
from tests.support.apps import operator_context

USAGE = {"usage_at": "2024-06-01T00:00:00Z", "amount": 1}
FACTOR = {"factor": 2.01, "valid_from": "2024-01-01T00:00:00Z", "source": "A"}


@pytest.fixture
def record_during(committing):
    """Return a function that records a usage while a correction of its factor is about to be committed."""
    type_id = committing.post("/usage-types", json={"name": "gas", "unit": "kwh"}).json["id"]
    factor_id = committing.post(f"/usage-types/{type_id}/factors", json=FACTOR).json["id"]

    def record(correct):
        answers = []
        usage = USAGE | {"usage_type_id": type_id}
        thread = threading.Thread(target=lambda: answers.append(committing.post("/usages", json=usage)))
        operator = Actor(id=0, organization_id=0, role="admin", timezone="UTC")
        with operator_context(committing.http.application), acting_as(operator):
            correct(get_visible(EmissionFactor, factor_id, lock=True))
            thread.start()
            time.sleep(0.5)
            db.session.commit()
        thread.join(10)
        return answers[0], committing.get(f"/usage-types/{type_id}/factors/{factor_id}").json

    return record


def test_usage_gets_the_factor_that_supersedes_meantime(record_during):
    answer, factor = record_during(
        lambda factor: service.supersede_factor(factor, factories.now(), "Misread", factor=Decimal("0.201"), source="A")
    )

    assert (answer.status_code, answer.json["factor"]) == (201, 0.201)
    assert answer.json["emission_factor_id"] > factor["id"]
    assert factor["superseded_reason"] == "Misread"


def test_usage_gets_the_new_value_of_a_changed_factor(record_during):
    answer, factor = record_during(lambda factor: service.change_factor(factor, factor=Decimal("0.201")))

    assert (answer.status_code, answer.json["factor"], factor["factor"]) == (201, 0.201, 0.201)


def test_usage_never_has_a_valuation_that_is_deleted_meantime(committing, record_during):
    def change(factor):
        # Another usage of this choice was about to be recorded before.
        factories.valuation(committing.user.organization_id, factor.usage_type_id, "2024-06-01")
        db.session.commit()
        service.change_factor(get_visible(EmissionFactor, factor.id, lock=True), factor=Decimal("0.201"))

    answer, factor = record_during(change)

    assert factor["factor"] == 0.201
    assert (answer.status_code, "Repeat the request" in answer.json["detail"]) == (503, True)


def test_valuation_lines_and_usage_are_written_together(committing):
    usage = committing.post("/usages", json=USAGE | {"usage_type_id": 100}).json

    with operator_context(committing.http.application):
        transactions = db.session.scalars(
            sa.text(
                """
                SELECT xmin::text FROM valuations WHERE id = :valuation_id
                UNION SELECT xmin::text FROM valuation_lines WHERE valuation_id = :valuation_id
                UNION SELECT xmin::text FROM usages WHERE id = :id
                """
            ),
            usage,
        ).all()
    assert len(transactions) == 1

"""The days of the ledger under several hands at once, on a database that really commits."""

import threading
import time
from decimal import Decimal

import pytest
import sqlalchemy as sa

from carbonapi.accounts.models import Organization
from carbonapi.accounts.service import change_organization
from carbonapi.auth import Actor, acting_as
from carbonapi.db import db
from carbonapi.usages import ledger, service
from carbonapi.usages.models import Usage
from tests.support import factories
from tests.support.apps import operator_context
from tests.support.daily_totals import assert_totals_match_usages, stored_totals

MORNING, EVENING, LATER = "2024-01-02T01:00:00Z", "2024-01-02T20:00:00Z", "2024-01-02T20:30:00Z"
WAITING = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def manager(committing):
    user = committing.user
    with operator_context(committing.http.application):
        with acting_as(Actor(user.id, user.organization_id, "manager", "UTC")):
            yield committing
        db.session.remove()


def commit_while_waiting(*requests):
    """Commit this transaction when each of these requests waits for it. Returns their answers."""
    answers = [None] * len(requests)

    def run(place):
        answers[place] = requests[place]()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(requests))]
    for number, thread in enumerate(threads, 1):
        thread.start()
        begun_at = time.monotonic()
        # A transaction would see the same all the time.
        with db.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as watcher:
            while watcher.scalar(WAITING) < number:
                assert time.monotonic() < begun_at + 4, "The request did not have to wait."
                time.sleep(0.01)
    db.session.commit()
    for thread in threads:
        thread.join()
    return answers


def recording(manager, usage_at):
    return lambda: manager.post("/usages", json={"usage_type_id": 100, "usage_at": usage_at, "amount": 1})


def deleting(manager, usage_id):
    return lambda: manager.delete(f"/usages/{usage_id}")


def moving(manager):
    path = f"/organizations/{manager.user.organization_id}"
    return lambda: manager.patch(path, json={"timezone": "Asia/Tokyo"})


def recounting(manager):
    def recount():
        with operator_context(manager.http.application):
            counted = ledger.rebuild_daily_totals(manager.user.organization_id)
            db.session.commit()
            return counted

    return recount


def record_and_hold(manager, usage_at):
    """Record a usage, in a transaction that goes on."""
    fields = {"user_id": manager.user.id, "usage_type_id": 100, "amount": Decimal(1)}
    return service.record(usage_at=factories.at(usage_at), **fields)


def delete_and_hold(usage_id):
    usage = db.session.scalars(sa.select(Usage).where(Usage.id == usage_id).with_for_update()).one()
    service.delete([usage])


def move_and_hold(manager):
    change_organization(db.session.get_one(Organization, manager.user.organization_id), timezone="Asia/Tokyo")


def days_of(manager):
    """The number of usages of each day, and the hours of these usages. They must equal those of the ledger."""
    assert_totals_match_usages(manager.user.organization_id)
    return {
        str(key[1]): (figures[0], figures[4]) for key, figures in stored_totals(manager.user.organization_id).items()
    }


# In Tokyo, the morning is of the same day as in UTC, the evening is not.
@pytest.mark.parametrize(
    ("before", "days"),
    [([], {"2024-01-03": (1, 1 << 5)}), ([MORNING], {"2024-01-02": (1, 1 << 10), "2024-01-03": (1, 1 << 5)})],
)
def test_time_zone_change_waits_for_running_writes(manager, before, days):
    for usage_at in before:
        factories.usage(manager.user, usage_at=usage_at)
    record_and_hold(manager, EVENING)

    (moved,) = commit_while_waiting(moving(manager))

    assert moved.status_code == 200
    assert days_of(manager) == days


@pytest.mark.parametrize(
    ("before", "days"),
    [([], {}), ([MORNING], {"2024-01-02": (1, 1 << 10)}), ([EVENING], {"2024-01-03": (1, 1 << 5)})],
)
def test_write_in_the_old_time_zone_must_be_retried(manager, before, days):
    for usage_at in before:
        factories.usage(manager.user, usage_at=usage_at)
    move_and_hold(manager)

    (rejected,) = commit_while_waiting(recording(manager, EVENING))

    detail = "The organization's time zone changed at the same time. Retry the request."
    assert (rejected.status_code, rejected.headers["Retry-After"], rejected.json["detail"]) == (503, "2", detail)
    assert days_of(manager) == days
    assert len(manager.get("/usages").json) == len(before)
    assert recording(manager, EVENING)().status_code == 201
    assert days_of(manager)["2024-01-03"] == (1 + before.count(EVENING), 1 << 5)


def test_delete_in_the_old_time_zone_keeps_the_usage(manager):
    usage_id = factories.usage(manager.user, usage_at=MORNING).id
    move_and_hold(manager)

    (rejected,) = commit_while_waiting(deleting(manager, usage_id))

    assert rejected.status_code == 503
    assert days_of(manager) == {"2024-01-02": (1, 1 << 10)}
    assert manager.get(f"/usages/{usage_id}").json["version"] == 1


def test_hour_survives_delete_during_two_other_writes(manager):
    usage_id = factories.usage(manager.user, usage_at=EVENING).id
    delete_and_hold(usage_id)

    answers = commit_while_waiting(recording(manager, LATER), recording(manager, LATER))

    assert [answer.status_code for answer in answers] == [201, 201]
    assert days_of(manager) == {"2024-01-02": (2, 1 << 20)}


def test_hour_survives_delete_during_another_write(manager):
    usage_id = factories.usage(manager.user, usage_at=EVENING).id
    record_and_hold(manager, LATER)

    (deleted,) = commit_while_waiting(deleting(manager, usage_id))

    assert deleted.status_code == 204
    assert days_of(manager) == {"2024-01-02": (1, 1 << 20)}


def test_write_during_rebuild_is_counted_once(manager):
    factories.usage(manager.user, usage_at=MORNING)
    ledger.rebuild_daily_totals(manager.user.organization_id)

    (recorded,) = commit_while_waiting(recording(manager, EVENING))
    record_and_hold(manager, "2024-01-05T20:00:00Z")
    (recounted,) = commit_while_waiting(recounting(manager))

    assert (recorded.status_code, recounted) == (201, (2, 0))
    assert days_of(manager) == {"2024-01-02": (2, 1 << 1 | 1 << 20), "2024-01-05": (1, 1 << 20)}

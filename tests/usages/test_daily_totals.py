"""The days of the ledger say what its usages add up to, whatever has been done to them."""

import datetime as dt
import random
from zoneinfo import ZoneInfo

import pytest

from carbonapi.rest.fields import format_datetime
from tests.support import factories
from tests.support.daily_totals import assert_totals_match_usages, stored_totals
from tests.support.scale import examples


@pytest.mark.parametrize(
    "timezone", ["UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"]
)
def test_daily_totals_equal_the_usages_after_random_writes(sign_in, timezone):
    dice = random.Random(timezone)
    organization = factories.organization(timezone=timezone)
    manager = sign_in(factories.user(organization, "manager"))
    types = [factories.usage_type(factor=factor) for factor in ("0.123456789012", "3")]
    factories.emission_factor(types[0], "0.1", region="GB")
    zone = ZoneInfo(timezone)

    def moment():
        # Around both changes of the clocks, where there are any.
        date, hours = dice.choice([(3, 9), (3, 30), (4, 6), (10, 5), (10, 26), (11, 2)]), 72
        day = dt.datetime(2024, *date, tzinfo=zone)
        if timezone == "America/St_Johns":  # One minute past midnight they were set back to 23:01.
            day, hours = dt.datetime(2010, 11, 6, 22, tzinfo=zone), 5
        return day.astimezone(dt.UTC) + dice.randrange(hours * 60) * dt.timedelta(minutes=1)

    def span():
        start = moment()
        until = start + dice.randrange(1, 10 * 24 * 3600) * dt.timedelta(seconds=1)
        return {
            "usage_at": format_datetime(start),
            "usage_until": format_datetime(until) if dice.random() < 0.4 else None,
        }

    def fields():
        usage_type = dice.choice(types)
        return span() | {
            "usage_type_id": usage_type.id,
            "amount": dice.randrange(10**6) / 1000,
            "region": dice.choice(["GB", "FR", None]),
            "quality": dice.choice(["measured", "estimated"]),
        }

    def imported(mode="reject"):
        names = ["external_id", *fields()]
        lines = [",".join(names)]
        for _ in range(12):
            values = fields() | {"external_id": f"{dice.randrange(8 if mode == 'replace' else 10**9)}"}
            lines.append(",".join("" if values[name] is None else str(values[name]) for name in names))
        ids = {line.split(",")[0]: line for line in lines}
        file = "".join(f"{line}\n" for line in ids.values())
        return manager.post(f"/imports?on_conflict={mode}", data=file, content_type="text/csv")

    def a_usage():
        return dice.choice(manager.get("/usages?page_size=1000").json)["id"]

    for _ in range(8):
        assert manager.post("/usages", json=fields()).status_code == 201
    for step in range(examples(20, 40)):
        match dice.randrange(8):
            case 0:
                answer = manager.post("/usages", json=fields())
            case 1:
                answer = manager.patch(
                    f"/usages/{a_usage()}", json=dice.choice([{"amount": 1}, {"quality": "measured"}])
                )
            case 2:
                answer = manager.patch(f"/usages/{a_usage()}", json=span())
            case 3:
                answer = manager.patch(f"/usages/{a_usage()}", json={"usage_type_id": types[1].id})
            case 4:
                answer = manager.delete(f"/usages?id={a_usage()}&id={a_usage()}")
            case 5:
                answer = imported(dice.choice(["reject", "replace", "replace"]))
            case 6:
                answer = manager.post(f"/imports/{imported().json['id']}/revert", json={})
            case 7:
                factor = {"factor": 0.5, "valid_from": "2024-01-01T00:00:00Z", "source": "x"}
                if step % 2:
                    manager.post(f"/usage-types/{types[1].id}/factors", json=factor)
                body = {"usage_type_ids": [types[1].id], "reason": "x", "mode": "apply"}
                answer = manager.post("/restatements", json=body)
        assert answer.status_code in (200, 201, 204), answer.text
        assert_totals_match_usages(organization.id)
    assert len(stored_totals(organization.id)) > 15


def test_daily_totals_follow_the_time_zone(as_manager):
    organization_id = as_manager.user.organization_id
    factories.usage(as_manager.user, usage_at="2024-01-02T20:00")
    factories.usage(as_manager.user, "48", usage_at="2024-01-02", usage_until=factories.at("2024-01-04"))
    day = {"2024-01-02": (2, 0, 25), "2024-01-03": (0, 1, 24)}
    assert {str(key[1]): figures[:3] for key, figures in stored_totals(organization_id).items()} == day

    answer = as_manager.patch(f"/organizations/{organization_id}", json={"timezone": "Asia/Tokyo"})

    assert answer.status_code == 200
    day = {"2024-01-02": (1, 0, 15), "2024-01-03": (1, 1, 25), "2024-01-04": (0, 1, 9)}
    assert {str(key[1]): figures[:3] for key, figures in stored_totals(organization_id).items()} == day
    assert_totals_match_usages(organization_id)

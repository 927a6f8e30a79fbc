"""Why emissions changed between two ranges, to the last digit."""

import datetime as dt
import json
import random
from decimal import Decimal
from urllib.parse import quote

import pytest

from carbonapi.rest.fields import format_datetime
from tests.support import factories
from tests.support.client import query_now

PARTS = ("activity_kg", "factor_kg", "restated_kg", "started_kg", "ended_kg")
YEARS = "compare_start=2023-01-01&compare_end=2024-01-01&start=2024-01-01&end=2025-01-01"


def bridge(client, query):
    answer = client.get(f"/emissions/bridge?{query}")
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text, parse_float=Decimal)


def parts(figures):
    return {name: figures[name] for name in PARTS if figures[name]}


def restate(client, usage_type, **fields):
    answer = client.post(
        "/restatements", json={"usage_type_ids": [usage_type.id], "reason": "r", "mode": "apply"} | fields
    )
    assert answer.status_code == 201
    return answer.json["id"]


@pytest.fixture
def power(as_manager):
    """A usage type whose factor is 2 until 2024 and 1.5 from then on."""
    usage_type = factories.usage_type("power", "kWh", factor=None)
    factories.emission_factor(usage_type, "2", valid_until="2024-01-01")
    factories.emission_factor(usage_type, "1.5", "2024-01-01")
    return usage_type


def test_bridge_separates_activity_and_factor(as_manager, power):
    factories.usage(as_manager.user, "10", "2023-05-01", power.id)
    factories.usage(as_manager.user, "15", "2024-05-01", power.id)

    found = bridge(as_manager, YEARS)

    of_power = found.pop("by_usage_type")[0]
    assert found == {
        "before_kg": 20,
        "after_kg": Decimal("22.5"),
        "difference_kg": Decimal("2.5"),
        "activity_kg": 10,
        "factor_kg": Decimal("-7.5"),
        "restated_kg": 0,
        "started_kg": 0,
        "ended_kg": 0,
        "restatement_ids": [],
    }
    del found["restatement_ids"]
    named = {"id": power.id, "name": "power", "unit": "kWh", "before_amount": 10, "after_amount": 15}
    assert of_power == named | found


def test_bridge_has_started_and_ended_types_largest_first(as_manager):
    wood, coal = factories.usage_type("wood"), factories.usage_type("coal")
    factories.usage(as_manager.user, "3", "2023-05-01", coal.id)
    factories.usage(as_manager.user, "1", "2024-05-01", wood.id)

    found = bridge(as_manager, YEARS)

    assert parts(found) == {"started_kg": 2, "ended_kg": -6}
    assert [(of_type["name"], parts(of_type)) for of_type in found["by_usage_type"]] == [
        ("coal", {"ended_kg": -6}),
        ("wood", {"started_kg": 2}),
    ]


def test_bridge_separates_restatements_of_corrected_usages(as_manager, power):
    usage = factories.usage(as_manager.user, "10", "2023-05-01", power.id)
    factories.usage(as_manager.user, "15", "2024-05-01", power.id)
    before = query_now()
    factories.emission_factor(power, "2.5", valid_until="2024-01-01", organization_id=usage.organization_id)
    restatement_id = restate(as_manager, power)
    as_manager.patch(f"/usages/{usage.id}", json={"amount": 12})

    found = bridge(as_manager, YEARS)

    # Recorded first: 12 × 2 = 24 and 15 × 1.5 = 22.5. Restated, the first is 12 × 2.5 = 30.
    assert parts(found) == {"activity_kg": 6, "factor_kg": Decimal("-7.5"), "restated_kg": -6}
    assert (found["before_kg"], found["after_kg"], found["restatement_ids"]) == (30, Decimal("22.5"), [restatement_id])
    then = bridge(as_manager, f"{YEARS}&as_of={before}")
    assert parts(then) == {"activity_kg": 10, "factor_kg": Decimal("-7.5")}


def test_bridge_from_zero_amount_is_all_activity(as_manager, power):
    factories.usage(as_manager.user, "0", "2023-05-01", power.id)
    factories.usage(as_manager.user, "15", "2024-05-01", power.id)

    assert parts(bridge(as_manager, YEARS)) == {"activity_kg": Decimal("22.5")}


def test_bridge_prorates_a_bill_to_each_range(as_manager, power):
    factories.usage(as_manager.user, "20", "2023-12-22", power.id, usage_until=factories.at("2024-01-11"))

    found = bridge(as_manager, YEARS)

    assert (found["before_kg"], found["after_kg"], parts(found)) == (20, 15, {"factor_kg": -5})


def test_bridge_without_usages_is_zero(as_manager):
    found = bridge(as_manager, YEARS)

    assert (found["before_kg"], found["difference_kg"], found["by_usage_type"]) == (0, 0, [])


def test_bridge_is_by_one_method(as_manager):
    grid = factories.usage_type(scope=2, factor="2")
    factories.emission_factor(grid, "1", method="market")
    factories.usage(as_manager.user, "10", "2023-05-01", grid.id)
    factories.usage(as_manager.user, "15", "2024-05-01", grid.id)

    assert parts(bridge(as_manager, f"{YEARS}&method=market")) == {"activity_kg": 5}
    assert (
        parts(bridge(as_manager, f"{YEARS}&method=location")) == parts(bridge(as_manager, YEARS)) == {"activity_kg": 10}
    )


def test_bridge_shows_members_their_own_usages(as_manager, as_member, power):
    factories.usage(as_manager.user, "10", "2023-05-01", power.id)
    factories.usage(as_member.user, "15", "2024-05-01", power.id)

    assert parts(bridge(as_member, YEARS)) == {"started_kg": Decimal("22.5")}


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {"start", "end", "compare_start", "compare_end"}),
        ("start=2024-01-01&end=2025-01-01&compare_start=2023-01-01", {"compare_end"}),
        ("start=2024-01-01&end=2025-01-01&compare_start=2023-01-01&compare_end=2023-01-01", {"compare_end"}),
        ("start=2024-01-01&end=2023-01-01&compare_start=2023-01-01&compare_end=2024-01-01", {"end"}),
    ],
)
def test_bridge_requires_two_ranges(as_manager, query, fields):
    answer = as_manager.get(f"/emissions/bridge?{query}")

    assert answer.status_code == 422
    assert answer.json["errors"]["query"].keys() == fields


@pytest.mark.parametrize("seed", range(4))
def test_bridge_parts_add_up_exactly_for_random_ranges(as_manager, seed):
    chance = random.Random(seed)
    types = [factories.usage_type(factor=f"0.{chance.randrange(10**12):012}") for _ in range(4)]
    begin = factories.at("2023-01-01")

    def day():
        return begin + dt.timedelta(minutes=chance.randrange(60 * 24 * 700))

    for _ in range(60):
        at, amount = day(), Decimal(chance.randrange(10**9)) / 10**6
        until = at + dt.timedelta(minutes=chance.randrange(1, 10**5)) if chance.random() < 0.4 else None
        usage_type = chance.choice(types)
        factories.usage(as_manager.user, amount, at.isoformat(), usage_type.id, usage_until=until)
    for usage_type in types[:2]:
        own = {"organization_id": as_manager.user.organization_id}
        factories.emission_factor(usage_type, f"1.{chance.randrange(10**12):012}", **own)
        restate(as_manager, usage_type, start="2023-06-01T00:00:00Z")
    for _ in range(40):
        (first, second), (third, fourth) = (sorted((day(), day())) for _ in range(2))
        names = ("compare_start", "compare_end", "start", "end")
        query = "&".join(
            f"{name}={quote(format_datetime(value))}"
            for name, value in zip(names, (first, second, third, fourth), strict=True)
        )
        found = bridge(as_manager, query)

        for figures in (found, *found["by_usage_type"]):
            assert sum(figures[name] for name in PARTS) == figures["difference_kg"]
            assert figures["after_kg"] - figures["before_kg"] == figures["difference_kg"]
        for side, start, end in (("before", first, second), ("after", third, fourth)):
            range_ = f"start={quote(format_datetime(start))}&end={quote(format_datetime(end))}"
            summary = as_manager.get(f"/emissions/summary?{range_}").text
            assert json.loads(summary, parse_float=Decimal)["co2e_kg"] == found[f"{side}_kg"]

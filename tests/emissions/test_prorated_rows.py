"""Periods spread over time: real bills, and random ones in all time zones."""

import csv
import datetime as dt
import gzip
import random
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from carbonapi.auth import Actor, acting_as, visible
from carbonapi.emissions.service import UsageSelection
from carbonapi.emissions.summary import summary
from carbonapi.emissions.trend import trend
from carbonapi.rest.fields import format_datetime, timezone_names
from carbonapi.usages.models import Usage
from tests.support import factories
from tests.support.scale import examples

CHICAGO = "America/Chicago"
HOURLY = Path(__file__).parents[1] / "data" / "il-electricity-hourly-kwh.csv.gz"
# The lengths of twelve bills in days, from this day on: they contain all of 2016.
FIRST_BILL = dt.date(2015, 12, 29)
MICROSECOND = dt.timedelta(microseconds=1)
BILLS = (33, 28, 31, 33, 29, 33, 33, 30, 33, 28, 31, 33)


def midnight(day):
    return dt.datetime.combine(day, dt.time(), ZoneInfo(CHICAGO)).astimezone(dt.UTC)


def load(client, lines):
    """Import lines of usage_at, usage_until and amount."""
    file = "usage_at,usage_until,amount\n" + "".join(f"{','.join(map(str, line))}\n" for line in lines)
    answer = client.post("/imports?usage_type_id=100", data=file, content_type="text/csv")
    assert answer.status_code == 201, answer.text


def months_of_2016(client):
    answer = client.get(f"/emissions/trend?timezone={CHICAGO}&start=2016-01-01&end=2017-01-01")
    return [Decimal(str(bucket.get("amount", 0))) for bucket in answer.json]


@pytest.fixture
def hourly():
    """The kWh of each hour in which a load in Illinois was metered."""
    with gzip.open(HOURLY, "rt") as file:
        return {
            dt.datetime.fromisoformat(row["start"]).astimezone(dt.UTC): Decimal(row["value"])
            for row in csv.DictReader(file)
            if row["value"]
        }


def test_prorated_bills_approximate_metered_months(sign_in, organization, hourly):
    """These bills are one of the schedules for which proration is closer in every single month.

    Over random schedules of two years of this load, a month's spread bills were off by 49 kWh on average, bills
    recorded by their begin by 165, by their end by 168; spreading was closer in three months of four.
    """
    days = list(accumulate(BILLS, lambda day, length: day + dt.timedelta(days=length), initial=FIRST_BILL))
    spans = list(pairwise(map(midnight, days)))
    begin, end = spans[0][0], spans[-1][1]
    metered = {moment: kwh for moment, kwh in hourly.items() if begin <= moment < end}
    assert len(metered) == (end - begin) / dt.timedelta(hours=1) == sum(BILLS) * 24
    bills = [sum(kwh for moment, kwh in metered.items() if first <= moment < last) for first, last in spans]
    meter, customer, by_begin, by_end = (sign_in(factories.user(organization)) for _ in range(4))
    load(meter, [(format_datetime(moment), "", kwh) for moment, kwh in metered.items()])
    load(
        customer,
        [(format_datetime(first), format_datetime(last), kwh) for (first, last), kwh in zip(spans, bills, strict=True)],
    )
    load(by_begin, [(format_datetime(first), "", kwh) for (first, _), kwh in zip(spans, bills, strict=True)])
    load(
        by_end,
        [(format_datetime(last - dt.timedelta(hours=1)), "", kwh) for (_, last), kwh in zip(spans, bills, strict=True)],
    )

    whole = [client.get(f"/emissions/trend?timezone={CHICAGO}").json for client in (meter, customer)]
    total = sum(bills)
    for buckets in whole:
        assert sum(Decimal(str(bucket["amount"])) for bucket in buckets) == total
        assert [bucket["coverage"] for bucket in buckets[1:-1]] == [1] * 12
    truth = months_of_2016(meter)
    spread, begun, ended = (months_of_2016(client) for client in (customer, by_begin, by_end))
    for month in range(12):
        off = abs(spread[month] - truth[month])
        assert off < abs(begun[month] - truth[month]), month
        assert off < abs(ended[month] - truth[month]), month


@pytest.mark.parametrize("seed", range(examples(3, 8)))
def test_random_intervals_in_all_zones_add_up_exactly(as_manager, seed):
    """1,000 periods: each part is its exact share to the last digit, and all are the whole, however they are cut."""
    chance = random.Random(seed)
    zones = sorted(timezone_names())
    usage_type = factories.usage_type(factor="0.123456789012")
    actor = Actor(as_manager.user.id, as_manager.user.organization_id, "manager", "UTC")
    for _ in range(125):
        begin = factories.at("2015-01-01") + dt.timedelta(microseconds=chance.randrange(10**14))
        length = dt.timedelta(microseconds=chance.choice([1, 10**3, 10**9, 10**11, 10**13, 10**14]))
        end = begin + chance.randint(1, 1000) * length / 1000 + dt.timedelta(microseconds=1)
        amount = Decimal(chance.randrange(10 ** chance.randint(1, 18))) / 10**6
        usage = factories.usage(as_manager.user, amount, begin.isoformat(), usage_type.id, usage_until=end)
        zone = chance.choice(zones)
        bucket = chance.choice(["day", "week", "month", "quarter", "year"])
        with acting_as(actor):
            this = UsageSelection(visible(Usage).where(Usage.id == usage.id), None, "UTC")
            buckets = trend(this, bucket, zone)
            cut = begin + (end - begin) * chance.random()
            spans = [(None, cut), (cut, None)] if begin < cut < end else [(None, None)]
            halves = [summary(this, *span, ["user"]) for span in spans]

        assert sum(bucket["amount"] for bucket in buckets) == amount
        assert sum(bucket["co2e_kg"] for bucket in buckets) == usage.co2e_kg == amount * Decimal("0.123456789012")
        assert sum(half["co2e_kg"] for half in halves) == usage.co2e_kg
        for bucket in buckets:
            seconds = min(end, bucket["bucket_end"]) - max(begin, bucket["bucket_start"])
            share = Fraction(amount) * Fraction(seconds // MICROSECOND, (end - begin) // MICROSECOND)
            assert abs(Fraction(bucket["amount"]) - share) < Fraction(1, 10**12)
            assert bucket["co2e_kg"] == bucket["amount"] * Decimal("0.123456789012")
            assert bucket["usage_count"] == 1


def test_day_of_25_hours_gets_25_hours_worth(as_member):
    factories.usage(
        as_member.user, "73", "2023-10-28T00:00:00+02:00", usage_until=factories.at("2023-10-31T00:00+01:00")
    )

    trend = as_member.get("/emissions/trend?bucket=day&timezone=Europe/Berlin").json

    assert [bucket["amount"] for bucket in trend] == [24, 25, 24]


def test_rounded_days_add_up_to_months(as_member):
    factories.usage(as_member.user, "10", "2024-01-30", usage_until=factories.at("2024-02-02"))

    days = as_member.get("/emissions/trend?bucket=day").text
    months = as_member.get("/emissions/trend?bucket=month").text

    for part in ('"amount":3.333333333333,', '"amount":3.333333333334,'):
        assert part in days
    assert '"amount":6.666666666667,' in months
    assert '"co2e_kg":10.0000000000005,' in months
    assert '"amount":3.333333333333,' in months


def test_range_takes_its_part_of_an_interval(as_member):
    usage_type = factories.usage_type(factor="2", scope=1)
    factories.usage(as_member.user, "31", "2024-01-01", usage_type.id, usage_until=factories.at("2024-02-01"))
    inside = "start=2024-01-11&end=2024-01-21"

    (bucket,) = as_member.get(f"/emissions/trend?{inside}&group_by=scope").json
    summary = as_member.get(f"/emissions/summary?{inside}").json

    assert (bucket["amount"], bucket["co2e_kg"], bucket["usage_count"], bucket["partial"]) == (10, 20, 1, True)
    assert (bucket["groups"][0]["amount"], bucket["groups"][0]["id"]) == (10, 1)
    assert (summary["amount"], summary["by_user"][0]["co2e_kg"]) == (10, 20)
    assert as_member.get("/emissions/summary?end=2024-01-01").json["usage_count"] == 0
    assert as_member.get("/emissions/summary?start=2024-02-01").json["usage_count"] == 0
    assert as_member.get("/emissions/trend?start=2024-02-01").json == []


def test_adjustment_with_an_interval_is_prorated(as_manager):
    factories.usage(as_manager.user, "5", "2020-01-01")
    period_id = as_manager.post("/closed-periods", json={"until": "2024-01-01T00:00:00Z"}).json["id"]
    credit = {"usage_type_id": 100, "amount": -1, "adjusts_closed_period_id": period_id}
    span = {"usage_at": "2024-01-31T00:00:00Z", "usage_until": "2024-02-03T00:00:00Z"}
    assert as_manager.post("/usages", json=credit | span).status_code == 201

    trend = as_manager.get("/emissions/trend?start=2024-01-01")

    assert '"amount":-0.333333333333,' in trend.text
    assert '"amount":-0.666666666667,' in trend.text
    assert [bucket["coverage"] for bucket in trend.json] == [0, 0]

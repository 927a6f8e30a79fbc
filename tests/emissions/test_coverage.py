"""How much of the time there is data for, and how much of it was estimated."""

import datetime as dt
import random
from zoneinfo import ZoneInfo

import pytest

from tests.support import factories

DAY, HOUR, MINUTE = dt.timedelta(days=1), dt.timedelta(hours=1), dt.timedelta(minutes=1)


def read(client, *moments, usage_type_id=100, **fields):
    for moment in moments:
        factories.usage(client.user, "1", moment, usage_type_id, **fields)


def read_hourly(client, start, hours, **fields):
    read(client, *((factories.at(start) + hour * HOUR).isoformat() for hour in hours), **fields)


def coverage(client, query, name="coverage"):
    answer = client.get(f"/emissions/trend?{query}")
    assert answer.status_code == 200, answer.text
    return [bucket[name] for bucket in answer.json]


def test_reading_covers_at_most_the_usual_step(as_member):
    read_hourly(as_member, "2024-01-01", set(range(48)) - {5, 6, 30})

    assert coverage(as_member, "start=2024-01-01&end=2024-01-04&bucket=day") == [0.916666, 0.958333, 0]
    assert coverage(as_member, "start=2024-01-01T04:00:00Z&end=2024-01-01T08:00:00Z&bucket=hour") == [1, 0, 0, 1]


def test_time_outside_the_range_counts_as_missing(as_member):
    read_hourly(as_member, "2024-01-01", range(24))

    assert coverage(as_member, "start=2024-01-01T12:00:00Z&end=2024-01-02&bucket=day") == [0.5]


def test_coverage_of_days_of_any_length_is_whole(as_member):
    berlin = ZoneInfo("Europe/Berlin")
    daily, monthly = factories.usage_type().id, factories.usage_type().id
    days = [dt.datetime(2024, 1, 1, tzinfo=berlin) + dt.timedelta(days=day) for day in range(366)]
    read(as_member, *(day.isoformat() for day in days), usage_type_id=daily)
    read(as_member, *(day.isoformat() for day in days if day.day == 1), usage_type_id=monthly)
    query = "timezone=Europe/Berlin&start=2024-01-01&end=2025-01-01"

    assert coverage(as_member, f"{query}&bucket=day&usage_type_id={daily}") == [1] * 366
    assert coverage(as_member, f"{query}&bucket=month&usage_type_id={monthly}") == [1] * 12


def test_short_range_uses_the_usual_step_around_it(as_member):
    read(as_member, *(f"2024-03-{day:02}" for day in range(1, 32) if day != 20))

    assert coverage(as_member, "start=2024-03-19&end=2024-03-22&bucket=day") == [1, 0, 1]
    assert coverage(as_member, "start=2024-03-30&end=2024-04-02&bucket=day") == [1, 1, 0]


def test_bill_covers_its_interval_lone_reading_nothing(as_member):
    factories.usage(as_member.user, "1", "2024-02-10", usage_until=factories.at("2024-03-05"))
    read(as_member, "2024-04-01")

    assert coverage(as_member, "start=2024-02-01&end=2024-05-01") == [0.689655, 0.129032, 0]


def test_overlapping_bills_count_once_and_fill_gaps(as_member):
    factories.usage(as_member.user, "1", "2024-01-01", usage_until=factories.at("2024-01-02"))
    factories.usage(as_member.user, "1", "2024-01-01T12:00", usage_until=factories.at("2024-01-02T12:00"))
    read_hourly(as_member, "2024-01-02T06:00", range(12))

    assert coverage(as_member, "start=2024-01-01&end=2024-01-03&bucket=day") == [1, 0.75]


def test_coverage_is_the_mean_of_the_requested_types(as_member):
    read_hourly(as_member, "2024-01-01", range(24))
    read_hourly(as_member, "2024-01-01T12:00", range(12), usage_type_id=101)
    day = "start=2024-01-01&end=2024-01-02&bucket=day"

    assert coverage(as_member, day) == [0.75]
    assert coverage(as_member, f"{day}&usage_type_id=101") == [0.5]
    assert coverage(as_member, f"{day}&usage_type_id=100&usage_type_id=101&usage_type_id=102") == [0.5]
    assert coverage(as_member, f"{day}&usage_type_id=102") == [0]


def test_ended_type_is_missing_for_two_months(as_member):
    read_hourly(as_member, "2024-03-01", range(24 * 31))
    read(as_member, "2024-01-30", "2024-01-31", usage_type_id=101)

    assert coverage(as_member, "start=2024-03-01&end=2024-04-01") == [0.5]
    assert coverage(as_member, "start=2024-03-01&end=2024-04-01&usage_type_id=100") == [1]
    assert coverage(as_member, "start=2024-01-01&end=2024-04-01") == [0.032258, 0, 0.5]


def test_two_meters_of_a_type_share_their_usual_step(as_manager, as_member):
    read_hourly(as_manager, "2024-01-01", range(24))
    read_hourly(as_member, "2024-01-01T00:01", [hour for hour in range(24) if hour not in (3, 4)])
    day = "start=2024-01-01&end=2024-01-02&bucket=day"

    assert coverage(as_manager, day) == [1]
    assert coverage(as_manager, f"{day}&user_id={as_member.user.id}") == [0.916666]


def test_adjustment_is_not_a_reading(as_manager):
    period_id = as_manager.post("/closed-periods", json={"until": "2024-01-01T00:00:00Z"}).json["id"]
    read(as_manager, "2024-01-01", "2024-01-02", adjusts_closed_period_id=period_id)

    assert coverage(as_manager, "start=2024-01-01&end=2024-01-02&bucket=day") == [0]


def test_compared_bucket_has_its_own_coverage(as_member):
    read_hourly(as_member, "2023-01-01", range(12))
    read_hourly(as_member, "2024-01-01", range(24), quality="estimated")

    (bucket,) = as_member.get("/emissions/trend?start=2024-01-01&end=2024-01-02&bucket=day&compare=previous_year").json

    assert (bucket["coverage"], bucket["previous"]["coverage"]) == (1, 0.5)
    assert (bucket["estimated_share"], bucket["previous"]["estimated_share"]) == (1, 0)


def test_estimated_share_is_of_co2e_or_null(as_member):
    read(as_member, "2024-01-01")
    factories.usage(as_member.user, "2", "2024-01-20", quality="estimated", usage_until=factories.at("2024-02-09"))

    assert coverage(as_member, "start=2024-01-01&end=2024-04-01", "estimated_share") == [0.545455, 1, None]


def test_coverage_supports_as_of(as_member):
    read_hourly(as_member, "2024-01-01", range(24))
    before = factories.now().isoformat().replace("+00:00", "Z")
    usages = as_member.get("/usages?sort=usage_at").json
    for usage in usages[6:12]:
        as_member.delete(f"/usages/{usage['id']}")

    assert coverage(as_member, "start=2024-01-01&end=2024-01-02&bucket=day") == [0.75]
    assert coverage(as_member, f"start=2024-01-01&end=2024-01-02&bucket=day&as_of={before}") == [1]


def local_hours(begin, end, zone):
    """The hours of the local clock that [begin, end) has a part of, as (day, hour)."""
    first, last = begin.astimezone(zone), (end - dt.timedelta(microseconds=1)).astimezone(zone)
    hours = {(first.date(), hour) for hour in range(first.hour, 24)}
    hours &= {(first.date(), hour) for hour in range(last.hour + 1)} if first.date() == last.date() else hours
    for days in range(1, (last.date() - first.date()).days + 1):
        day = first.date() + days * DAY
        hours |= {(day, hour) for hour in range(24 if day < last.date() else last.hour + 1)}
    return hours


def median(values):
    return sorted(values)[(len(values) - 1) // 2]


def lasting(read):
    """The hours for which these hours with readings last, calculated independently."""
    days = {day: sorted(hour for of, hour in read if of == day) for day, _ in read}
    if median([len(hours) for hours in days.values()]) > 1:
        steps = [
            (2 * (hours[-1] - hours[0]) + len(hours) - 1) // (2 * (len(hours) - 1))
            for hours in days.values()
            if len(hours) > 1
        ]
        return {
            (day + (hour + more) // 24 * DAY, (hour + more) % 24) for day, hour in read for more in range(median(steps))
        }
    gaps = [(later - sooner).days for sooner, later in zip(sorted(days), sorted(days)[1:], strict=False)]
    if not gaps:
        return set()
    return {
        (day + (hour + more) // 24 * DAY, (hour + more) % 24) for day, hour in read for more in range(24 * median(gaps))
    }


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Kathmandu", "Pacific/Auckland"])
@pytest.mark.parametrize("usual", [15, 60, 120, 360, 1440, 2880])
def test_coverage_equals_counted_hours(sign_in, timezone, usual):
    """Random readings and bills of two people, against sets of hours; from days, and from usages."""
    chance, zone = random.Random(f"{timezone} {usual}"), ZoneInfo(timezone)
    organization = factories.organization(timezone=timezone)
    manager, member = (sign_in(factories.user(organization, role)) for role in ("manager", "member"))
    start, days = dt.datetime(2024, 6, 1, 7, tzinfo=zone), 6
    read_hours, hours = set(), set()
    for client in (manager, member):
        ticks = [start + place * usual * MINUTE for place in range(days * 1440 // usual) if chance.random() < 0.7]
        file = "usage_at,amount\n" + "".join(f"{tick.isoformat()},1\n" for tick in ticks)
        assert client.post("/imports?usage_type_id=100", data=file, content_type="text/csv").status_code == 201
        read_hours |= {(tick.date(), tick.hour) for tick in ticks}
        begin = start + chance.randrange(-600, 1440 * days) * MINUTE
        end = begin + chance.randrange(1, 3000) * MINUTE
        factories.usage(client.user, "1", begin.isoformat(), usage_until=end)
        hours |= local_hours(begin, end, zone)
    hours |= lasting(read_hours)
    dates = [dt.date(2024, 5, 30) + place * DAY for place in range(12)]
    expected = [len({hour for hour in hours if hour[0] == date}) * 10**6 // 24 / 10**6 for date in dates]
    query = "start=2024-05-30&end=2024-06-11&bucket=day"

    assert coverage(manager, query) == expected
    assert coverage(manager, f"{query}&as_of={factories.now().isoformat().replace('+00:00', 'Z')}") == expected

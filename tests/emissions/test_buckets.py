"""Where buckets of local time begin: the awkward zones and days."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonapi.emissions.buckets import BUCKETS, MAX_BUCKETS, bucket_edges
from carbonapi.errors import ValidationFailed
from tests.support.factories import at


def begins(start, end, bucket, timezone):
    """The boundaries as they read in UTC."""
    return [edge.strftime("%m-%d %H:%M") for edge in bucket_edges(at(start), at(end), bucket, timezone)]


@pytest.mark.parametrize(
    ("bucket", "timezone", "start", "end", "expected"),
    [
        # The clock goes forward and back: days of 23 and 25 hours.
        ("day", "Europe/London", "2021-03-28", "2021-03-28T23:00", ["03-28 00:00", "03-28 23:00"]),
        ("day", "Europe/London", "2021-10-30T23:00", "2021-11-01", ["10-30 23:00", "11-01 00:00"]),
        # Offsets of half an hour and of three quarters.
        ("day", "Asia/Kolkata", "2021-01-01T18:30", "2021-01-02T18:30", ["01-01 18:30", "01-02 18:30"]),
        ("hour", "Asia/Kathmandu", "2021-01-01T00:15", "2021-01-01T02:15",
         ["01-01 00:15", "01-01 01:15", "01-01 02:15"]),
        ("day", "Australia/Eucla", "2021-01-01T15:15", "2021-01-02T15:15", ["01-01 15:15", "01-02 15:15"]),
        # Lord Howe moves its clock by half an hour: an hour of 90 minutes, and one of 30.
        ("hour", "Australia/Lord_Howe", "2021-04-03T14:00", "2021-04-03T16:30",
         ["04-03 14:00", "04-03 15:30", "04-03 16:30"]),
        ("hour", "Australia/Lord_Howe", "2021-10-02T14:30", "2021-10-02T17:00",
         ["10-02 14:30", "10-02 15:30", "10-02 16:00", "10-02 17:00"]),
        # London's hour from one to two comes twice in October and not at all in March.
        ("hour", "Europe/London", "2021-10-31T00:00", "2021-10-31T02:00",
         ["10-31 00:00", "10-31 01:00", "10-31 02:00"]),
        ("hour", "Europe/London", "2021-03-28T00:00", "2021-03-28T02:00",
         ["03-28 00:00", "03-28 01:00", "03-28 02:00"]),
        # Havana's midnight comes twice, the day begins at the first; Sao Paulo's is skipped, it begins at one.
        ("day", "America/Havana", "2021-11-07T04:00", "2021-11-08T05:00", ["11-07 04:00", "11-08 05:00"]),
        ("day", "America/Sao_Paulo", "2018-11-03T03:00", "2018-11-05T02:00",
         ["11-03 03:00", "11-04 03:00", "11-05 02:00"]),
        # Samoa went without 30 December 2011.
        ("day", "Pacific/Apia", "2011-12-29T10:00", "2011-12-31T10:00", ["12-29 10:00", "12-30 10:00", "12-31 10:00"]),
        # ISO weeks at New Year: the week of 1 January 2021 began on 28 December 2020.
        ("week", "UTC", "2021-01-01", "2021-01-05", ["12-28 00:00", "01-04 00:00", "01-11 00:00"]),
        ("quarter", "UTC", "2021-05-05", "2021-08-01", ["04-01 00:00", "07-01 00:00", "10-01 00:00"]),
        ("month", "UTC", "2021-01-31", "2021-03-01", ["01-01 00:00", "02-01 00:00", "03-01 00:00"]),
        ("year", "America/New_York", "2020-06-01", "2020-06-02", ["01-01 05:00", "01-01 05:00"]),
        ("day", "UTC", "1900-01-01", "1900-01-02", ["01-01 00:00", "01-02 00:00"]),
        ("year", "UTC", "2200-12-31", "2201-01-01", ["01-01 00:00", "01-01 00:00"]),
    ],
)  # fmt: skip
def test_buckets_begin_at_local_time(bucket, timezone, start, end, expected):
    assert begins(start, end, bucket, timezone) == expected


@given(
    start=st.datetimes(dt.datetime(1950, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC)),
    minutes=st.integers(1, 200_000),
    bucket=st.sampled_from(BUCKETS),
    timezone=st.sampled_from(
        ["Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Havana", "Pacific/Apia", "America/St_Johns",
         "Africa/Casablanca", "Asia/Gaza", "Antarctica/Troll", "America/Godthab"]
    ),
)  # fmt: skip
def test_buckets_cover_the_range_without_gaps(start, minutes, bucket, timezone):
    end = start + dt.timedelta(minutes=minutes)

    edges = bucket_edges(start, end, bucket, timezone)

    assert edges[0] <= start < edges[1]
    assert edges[-2] < end <= edges[-1]
    assert edges == sorted(set(edges))
    for instant in edges:
        local = instant.astimezone(ZoneInfo(timezone))
        before = (instant - dt.timedelta(seconds=1)).astimezone(ZoneInfo(timezone))
        # Either the clock shows the boundary, or it jumped over it at that instant.
        assert period(local, bucket) != period(before, bucket) or (bucket == "hour" and local.minute == 0)


def period(local, bucket):
    """Return a value that differs between adjacent buckets of local time."""
    return {
        "hour": (local.date(), local.hour),
        "day": local.date(),
        "week": local.isocalendar()[:2],
        "month": (local.year, local.month),
        "quarter": (local.year, (local.month - 1) // 3),
        "year": local.year,
    }[bucket]


def test_too_many_buckets_are_rejected_early():
    with pytest.raises(ValidationFailed) as error:
        bucket_edges(at("1900-01-01"), at("2200-01-01"), "hour", "UTC")
    assert list(error.value.errors["query"]) == ["bucket"]
    assert (
        len(bucket_edges(at("2021-01-01"), at("2021-01-01") + dt.timedelta(hours=MAX_BUCKETS), "hour", "UTC")) == 10_001
    )
    with pytest.raises(ValidationFailed):
        bucket_edges(at("2021-01-01"), at("2021-01-01") + dt.timedelta(hours=MAX_BUCKETS + 1), "hour", "UTC")

"""Buckets of local time: where each hour, day, week, month, quarter and year of a time zone begins.

The time zone database of Python decides, not the server's, and every boundary is an instant: what happens between two
of them is in the bucket, on days of 23 and of 25 hours, where clocks move by half an hour or skip midnight.
"""

import datetime as dt
from zoneinfo import ZoneInfo

from ..errors import ValidationFailed

BUCKETS = ("hour", "day", "week", "month", "quarter", "year")
MAX_BUCKETS = 10_000
# No bucket is shorter, so a range can be refused before its boundaries are counted out.
_SHORTEST = {"hour": dt.timedelta(minutes=30), "day": dt.timedelta(hours=20), "week": dt.timedelta(days=6)}
_LONGEST_SHIFT = dt.timedelta(days=2)


def bucket_edges(start: dt.datetime, end: dt.datetime, bucket: str, timezone: str) -> list[dt.datetime]:
    """The instants at which the buckets of [start, end) begin, and the one at which the last ends; in UTC, ascending.

    The first is at or before `start`, the last at or after `end`. Raises Invalid for more than MOST_BUCKETS.
    """
    if (end - start) / _SHORTEST.get(bucket, dt.timedelta(days=27)) > 2 * MAX_BUCKETS:
        raise _too_many(bucket)
    zone = ZoneInfo(timezone)
    found: set[dt.datetime] = set()
    # Clocks may have moved between the beginning of a bucket and `start`: begin a little earlier and cut.
    local = _floor((start - _LONGEST_SHIFT).astimezone(zone).replace(tzinfo=None), bucket)
    while True:
        instants = _instants(local, bucket, zone)
        found.update(instants)
        if instants[0] >= end:
            break
        local = _next(local, bucket)
    ordered = sorted(found)
    first = max(index for index, instant in enumerate(ordered) if instant <= start)
    last = min(index for index, instant in enumerate(ordered) if instant >= end)
    if last - first > MAX_BUCKETS:
        raise _too_many(bucket)
    return ordered[first : last + 1]


def _instants(local: dt.datetime, bucket: str, zone: ZoneInfo) -> list[dt.datetime]:
    """When a clock of `zone` shows `local`: once; twice for an hour that is repeated; the jump for one it skips.

    PEP 495: fold 0 is the earlier of two, and of a time that is skipped the instant of the jump.
    """
    once = local.replace(tzinfo=zone)
    again = once.replace(fold=1)
    repeated = once.utcoffset() > again.utcoffset()  # type: ignore[operator]  # A ZoneInfo always has an offset.
    instants = [once, again] if bucket == "hour" and repeated else [once]
    return [instant.astimezone(dt.UTC) for instant in instants]


def _floor(local: dt.datetime, bucket: str) -> dt.datetime:
    """The beginning of the bucket that `local` falls into, by the calendar. Weeks are ISO's: they begin on Mondays."""
    if bucket == "hour":
        return local.replace(minute=0, second=0, microsecond=0, fold=0)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    match bucket:
        case "week":
            return day - dt.timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(month=day.month - (day.month - 1) % 3, day=1)
        case "year":
            return day.replace(month=1, day=1)
        case _:
            return day


def _next(local: dt.datetime, bucket: str) -> dt.datetime:
    """The beginning of the bucket after the one that begins at `local`."""
    match bucket:
        case "hour":
            return local + dt.timedelta(hours=1)
        case "day":
            return local + dt.timedelta(days=1)
        case "week":
            return local + dt.timedelta(weeks=1)
        case _:
            # Into the next bucket, whatever its length, and back to its beginning.
            return _floor(local + dt.timedelta(days={"month": 31, "quarter": 92, "year": 366}[bucket]), bucket)


def _too_many(bucket: str) -> ValidationFailed:
    message = f"More than {MAX_BUCKETS} buckets of a {bucket}. Ask for a shorter range or longer buckets."
    return ValidationFailed(message, {"query": {"bucket": [message]}})

"""Buckets of local time: the instants at which the hours, days, weeks, months, quarters and years of a time zone begin.

They come from Python's time zone database, not from PostgreSQL's. Every edge is an instant, so days of 23 and 25 hours,
clocks that move by half an hour and skipped midnights need no special case.
"""

import datetime as dt
from zoneinfo import ZoneInfo

from ..errors import ValidationFailed

BUCKETS = ("hour", "day", "week", "month", "quarter", "year")
MAX_BUCKETS = 10_000
# No bucket is shorter, so a range with too many buckets is rejected before they are computed.
_SHORTEST = {"hour": dt.timedelta(minutes=30), "day": dt.timedelta(hours=20), "week": dt.timedelta(days=6)}
_LONGEST_SHIFT = dt.timedelta(days=2)


def bucket_edges(start: dt.datetime, end: dt.datetime, bucket: str, timezone: str) -> list[dt.datetime]:
    """Return the instants at which the buckets of [start, end) begin, and the end of the last, ascending and in UTC.

    The first is at or before `start`, the last at or after `end`. Raises ValidationFailed for more than MAX_BUCKETS.
    """
    if (end - start) / _SHORTEST.get(bucket, dt.timedelta(days=27)) > 2 * MAX_BUCKETS:
        raise _too_many(bucket)
    zone = ZoneInfo(timezone)
    found: set[dt.datetime] = set()
    # The clock may have moved between the start of a bucket and `start`: begin earlier, and cut.
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
    """Return the instants at which a clock shows `local`: two for a repeated hour; the jump for a skipped one.

    PEP 495: fold 0 is the earlier instant of a repeated time, and the instant of the jump of a skipped time.
    """
    once = local.replace(tzinfo=zone)
    second = once.replace(fold=1)
    repeated = once.utcoffset() > second.utcoffset()  # type: ignore[operator]  # A ZoneInfo always has an offset.
    instants = [once, second] if bucket == "hour" and repeated else [once]
    return [instant.astimezone(dt.UTC) for instant in instants]


def _floor(local: dt.datetime, bucket: str) -> dt.datetime:
    """Return the start of the bucket that contains `local`. Weeks are ISO weeks, which begin on Mondays."""
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
    """Return the start of the bucket after the one that begins at `local`."""
    match bucket:
        case "hour":
            return local + dt.timedelta(hours=1)
        case "day":
            return local + dt.timedelta(days=1)
        case "week":
            return local + dt.timedelta(weeks=1)
        case _:
            # Move into the next bucket, whatever its length, and back to its start.
            return _floor(local + dt.timedelta(days={"month": 31, "quarter": 92, "year": 366}[bucket]), bucket)


def _too_many(bucket: str) -> ValidationFailed:
    message = f"The range has more than {MAX_BUCKETS} buckets of a {bucket}. Set a shorter range or a longer bucket."
    return ValidationFailed(message, {"query": {"bucket": [message]}})

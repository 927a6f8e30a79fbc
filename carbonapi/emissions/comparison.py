"""The comparison of a trend: the same buckets, one period or one year earlier.

A year earlier, an edge has the same date and hour of the local calendar; weeks keep their weekday, 52 weeks earlier.
29 February has no counterpart in most years. It is folded into 28 February, whose bucket then ends at 1 March. In a
leap year the bucket of 29 February itself has an empty counterpart. Both are marked `folded`.
"""

import datetime as dt
from decimal import Decimal
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

from .buckets import bucket_edges

COMPARISONS = ("previous_period", "previous_year")
# Longer than any two buckets: the search for the earlier edges begins this much before them.
_MARGIN = {
    "hour": dt.timedelta(hours=4),
    "day": dt.timedelta(days=3),
    "week": dt.timedelta(weeks=3),
    "month": dt.timedelta(days=65),
    "quarter": dt.timedelta(days=190),
    "year": dt.timedelta(days=735),
}
PER_DAY_DIGITS = Decimal("0.000001")
DAY = dt.timedelta(days=1)


def comparison_range(
    edges: list[dt.datetime], start: dt.datetime, end: dt.datetime, compare: str, bucket: str, timezone: str
) -> tuple[list[dt.datetime], dt.datetime, dt.datetime]:
    """Return the edges to compare with `edges`, one for each, and the range within them to compare with [start, end).

    Raises ValidationFailed for too many buckets.
    """
    if compare == "previous_year":
        moved = [_year_earlier(edge, bucket, timezone) for edge in (*edges, start, end)]
        return list(accumulate(moved[:-2], max)), moved[-2], moved[-1]
    length = edges[-1] - edges[0]
    before = bucket_edges(edges[0] - length * 1.05 - _MARGIN[bucket], edges[0], bucket, timezone)[-len(edges) :]
    # A bucket that the range cuts is compared with the same length of its counterpart, which may be shorter.
    cut_start = min(before[0] + (start - edges[0]), before[1])
    cut_end = before[-1] if end == edges[-1] else min(before[-2] + (end - edges[-2]), before[-1])
    return before, cut_start, cut_end


def is_folded(bucket: str, length: dt.timedelta, previous_length: dt.timedelta) -> bool:
    """Return whether the counterpart of an hour or a day includes 29 February, or is that of 29 February."""
    return bucket in ("hour", "day") and (not previous_length or previous_length - length > DAY / 2)


def per_day(co2e_kg: Any, length: dt.timedelta) -> Decimal | None:
    """Return the average kg CO2e per day, to six digits; None if the length is zero."""
    seconds = Decimal(length // dt.timedelta(seconds=1))
    return (Decimal(co2e_kg) * 86_400 / seconds).quantize(PER_DAY_DIGITS) if seconds else None


def _year_earlier(instant: dt.datetime, bucket: str, timezone: str) -> dt.datetime:
    local = instant.astimezone(ZoneInfo(timezone))
    if bucket == "week":
        return (local.replace(tzinfo=None) - dt.timedelta(weeks=52)).replace(tzinfo=local.tzinfo).astimezone(dt.UTC)
    if (local.month, local.day) == (2, 29):
        return dt.datetime(local.year - 1, 3, 1, tzinfo=local.tzinfo).astimezone(dt.UTC)
    return local.replace(year=local.year - 1).astimezone(dt.UTC)

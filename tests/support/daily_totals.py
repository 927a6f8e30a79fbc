"""Daily totals as the database stores them, and as Python computes them from the usages."""

import datetime as dt
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from carbonapi.accounts.models import Organization
from carbonapi.catalogue.valuations import ValuationSegment
from carbonapi.db import db
from carbonapi.rest.fields import start_of_day
from carbonapi.usages.models import DailyTotal, Usage

DAY, MICROSECOND = dt.timedelta(days=1), dt.timedelta(microseconds=1)


def amount_until(usage, moment):
    """Return the part of a usage's amount before this moment."""
    elapsed = min(max(moment, usage.usage_at), usage.usage_until) - usage.usage_at
    length = usage.usage_until - usage.usage_at
    share = usage.amount_in_type_unit * (elapsed // MICROSECOND) / (length // MICROSECOND)
    return share.quantize(Decimal("1e-12"), ROUND_HALF_UP)


def local_clock(moment, timezone):
    """Return the local date and time. Once a day has begun, the date never returns to the day before."""
    shown = moment.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
    next_midnight = dt.datetime.combine(shown.date() + DAY, dt.time())
    return next_midnight if moment >= start_of_day(next_midnight.date(), timezone) else shown


def segments_of(usage):
    """Return the valuations of a usage, each with the time at which it begins, in order."""
    if usage.split_co2e_kg is None:
        return [(usage.valuation_id, usage.usage_at)]
    rows = db.session.execute(
        sa.select(ValuationSegment.segment_id, ValuationSegment.starts_at)
        .where(ValuationSegment.valuation_id == usage.valuation_id)
        .order_by(ValuationSegment.starts_at)
    )
    return [(id_, max(starts_at, usage.usage_at)) for id_, starts_at in rows]


def split_by_day(usage, timezone):
    """Yield the parts of a usage on each local day: the day, its valuation, its counts, its amount and its hours."""
    first = local_clock(usage.usage_at, timezone)
    if usage.usage_until is None:
        yield first.date(), usage.valuation_id, (1, 0), usage.amount_in_type_unit, {first.hour}
        return
    segments = segments_of(usage)
    ends = [start for _, start in segments[1:]] + [usage.usage_until]
    last = local_clock(usage.usage_until - MICROSECOND, timezone)
    day = first.date()
    while day <= last.date():
        start, end = start_of_day(day, timezone), start_of_day(day + DAY, timezone)
        hours = set(range(first.hour if day == first.date() else 0, (last.hour if day == last.date() else 23) + 1))
        counts = (1, 0) if day == first.date() else (0, 1)
        for (valuation_id, segment_start), segment_end in zip(segments, ends, strict=True):
            since, until = max(start, segment_start), min(end, segment_end)
            if since < until:
                yield day, valuation_id, counts, amount_until(usage, until) - amount_until(usage, since), hours
                counts = (0, 0)
        day += DAY


def expected_totals(organization_id):
    """Return the totals by key, computed in Python from the usages of the organization."""
    timezone = db.session.scalar(sa.select(Organization.timezone).where(Organization.id == organization_id))
    totals = defaultdict(lambda: [0, 0, Decimal(0), Decimal(0), set(), set()])
    for usage in db.session.scalars(sa.select(Usage).where(Usage.organization_id == organization_id)):
        for day, valuation_id, counts, amount, hours in split_by_day(usage, timezone):
            total = totals[usage.usage_type_id, day, valuation_id, usage.restatement_id or 0]
            total[:2] = (total[0] + counts[0], total[1] + counts[1])
            total[2] += amount
            total[3] += amount * (usage.quality == "estimated")
            if usage.adjusts_closed_period_id is None:
                total[4 if usage.usage_until is None else 5] |= hours
    return {
        key: (*total[:4], *(sum(1 << hour for hour in hours) for hours in total[4:])) for key, total in totals.items()
    }


def stored_totals(organization_id):
    """Return the stored totals by key, without those that are zero throughout."""
    db.session.expire_all()
    rows = db.session.scalars(sa.select(DailyTotal).where(DailyTotal.organization_id == organization_id))
    totals = {}
    for row in rows:
        assert not row.hours_stale
        figures = (
            row.usage_count, row.carried_count, row.amount, row.estimated_amount, row.reading_hours, row.period_hours,
        )  # fmt: skip
        if any(figures):
            totals[row.usage_type_id, row.day, row.valuation_id, row.restatement_id] = figures
    return totals


def assert_totals_match_usages(organization_id):
    assert stored_totals(organization_id) == expected_totals(organization_id)

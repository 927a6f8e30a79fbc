"""Recalculate usages with their current valuations, and report the changes by month and usage type."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from .. import audit
from ..accounts.models import Organization
from ..auth import current_actor, get_all_referenced, get_referenced, get_visible
from ..catalogue.models import FactorSet, UsageType
from ..catalogue.usage_valuations import usage_parts
from ..catalogue.valuations import Valuation
from ..db import allow, db
from ..local_time.clock import MICROSECOND, first_instant, local_clock
from ..local_time.proration import prorated_amount
from ..sites.service import get_referenced_site
from ..sites.tree import is_within
from ..usages import ledger
from ..usages.candidates import is_in_region
from ..usages.models import Usage
from .models import Restatement

FACTORS = ("old_factor", "new_factor", "old_market_factor", "new_market_factor")
SPLITS = ("old_split_id", "new_split_id", "old_split_id", "new_split_id")
TOTALS = ("location_total", "location_total", "market_total", "market_total")
KILOGRAMS = ("before_kg", "after_kg", "market_before_kg", "market_after_kg")
AUDITED = ("usage_type_ids", "factor_set_id", "start", "end", "region", "site_id", "usage_count")


def restate(now: dt.datetime, mode: str, **fields: Any) -> Restatement:
    """Return the changes of a restatement. With `mode` "apply", make them in one transaction.

    fields: usage_type_ids, factor_set_id, start, end, region, site_id and reason. Only usages of the actor's
    organization change. A restatement without changes is not stored and has no id.
    """
    organization = get_visible(Organization, current_actor().organization_id)
    if fields["usage_type_ids"] is not None:
        get_all_referenced(UsageType, fields["usage_type_ids"], "usage_type_ids")
    if fields["factor_set_id"] is not None:
        get_referenced(FactorSet, fields["factor_set_id"], "factor_set_id")
    if fields["site_id"] is not None:
        get_referenced_site(fields["site_id"], organization.id, "site_id")
    allow(minutes=10)
    criteria = tuple(_criteria(organization, fields))
    ledger.choose_valuations(organization.id, *criteria)
    outdated = ledger.with_outdated_valuation(*criteria, factor_set_id=fields["factor_set_id"])
    restatement = Restatement(
        organization_id=organization.id,
        recorded_at=now,
        recorded_by=current_actor().id,
        significance_threshold=organization.significance_threshold,
        **fields,
    )
    _set_changes(
        restatement, db.session.execute(_by_month_and_type(outdated.cte("outdated"), organization.timezone)).all()
    )
    if mode == "apply" and restatement.usage_count:
        db.session.add(restatement)
        db.session.flush()
        locked = outdated.with_for_update(of=Usage).cte("outdated")
        # The statement that makes the changes computes them again, because usages may have changed since the preview.
        changes = _by_month_and_type(locked, organization.timezone)
        moment = ledger.recording_time(organization.id)
        rows = ledger.apply_restatement(locked, changes, moment, organization.id, fields["reason"], restatement.id)
        restatement.recorded_at = moment
        _set_changes(restatement, rows)
        db.session.flush()
        new = {name: getattr(restatement, name) for name in AUDITED}
        audit.record(
            "restated",
            Restatement,
            restatement.id,
            organization.id,
            old={"co2e_kg": restatement.before_kg, "market_co2e_kg": restatement.market_before_kg},
            new=new | {"co2e_kg": restatement.after_kg, "market_co2e_kg": restatement.market_after_kg},
            reason=restatement.reason,
        )
    return restatement


def _criteria(organization: Organization, fields: dict[str, Any]) -> Iterator[sa.ColumnElement[bool]]:
    yield Usage.organization_id == organization.id
    if fields["usage_type_ids"] is not None:
        yield Usage.usage_type_id.in_(fields["usage_type_ids"])
    if fields["start"]:
        yield Usage.usage_at >= fields["start"]
    if fields["end"]:
        yield Usage.usage_at < fields["end"]
    if fields["region"]:
        yield is_in_region([fields["region"]])
    if fields["site_id"] is not None:
        yield is_within(Usage, [fields["site_id"]])


def _by_month_and_type(outdated: sa.CTE, timezone: str) -> sa.Select[Any]:
    """Return a SELECT of the usages and the kg CO2e before and after, by usage type and local month.

    Intervals are prorated. The numbers are location-based and, with the prefix `market_`, market-based.

    `first_count` counts each usage only in its first month.
    """
    at = local_clock(timezone, outdated.c.usage_at)
    last = local_clock(timezone, outdated.c.usage_until - MICROSECOND)
    one_month = sa.text("INTERVAL '1 month'")
    first = sa.func.date_trunc("month", at)
    months: Any = sa.func.generate_series(first, last, one_month).table_valued("begin").lateral("months")
    months = months.render_derived()
    begin, end = first_instant(timezone, months.c.begin), first_instant(timezone, months.c.begin + one_month)
    amount = prorated_amount(outdated.c.amount_in_type_unit, outdated.c.usage_at, outdated.c.usage_until, begin, end)
    usage_type_id, whole = outdated.c.usage_type_id, outdated.c.amount_in_type_unit
    instants = sa.select(
        first.label("month"),
        sa.true().label("is_first"),
        usage_type_id,
        *((whole * outdated.c[factor]).label(name) for factor, name in zip(FACTORS, KILOGRAMS, strict=True)),
    ).where(outdated.c.usage_until.is_(None))
    later_parts = (
        _later_parts(outdated, outdated.c[split], total, outdated.c[factor], begin, end)
        for split, total, factor in zip(SPLITS, TOTALS, FACTORS, strict=True)
    )
    kilograms = (amount * outdated.c[factor] + later for factor, later in zip(FACTORS, later_parts, strict=True))
    intervals = (
        sa.select(months.c.begin, months.c.begin == first, usage_type_id, *kilograms)
        .select_from(outdated.join(months, sa.true()))
        .where(outdated.c.usage_until.is_not(None))
    )
    parts = instants.union_all(intervals).subquery("parts")
    return (
        sa.select(
            sa.func.to_char(parts.c.month, "YYYY-MM").label("month"),
            UsageType.id,
            UsageType.name,
            UsageType.unit,
            sa.func.count().label("usage_count"),
            sa.func.count().filter(parts.c.is_first).label("first_count"),
            *(sa.func.sum(parts.c[name]).label(name) for name in KILOGRAMS),
        )
        .join_from(parts, UsageType, UsageType.id == parts.c.usage_type_id)
        .group_by(parts.c.month, UsageType.id)
        .order_by(parts.c.month, UsageType.id)
    )


def _later_parts(usage: sa.CTE, split_id: Any, total: str, first_factor: Any, start: Any, end: Any) -> Any:
    """Return the kg CO2e that the later parts of a usage add within [start, end), if its valuation is split."""
    part = usage_parts(usage.c, split_id, split_id, start, end, "part")
    valuation = Valuation.__table__.alias("valuation_of_part")
    of_part = (valuation.c.organization_id == usage.c.organization_id) & (valuation.c.id == part.c.part_valuation_id)
    difference = sa.func.sum(part.c.part_amount * (valuation.c[total] - first_factor))
    added = sa.select(difference).select_from(sa.join(part, valuation, of_part)).correlate_except(part, valuation)
    return sa.case((split_id.is_not(None), added.scalar_subquery()), else_=0)


def _set_changes(restatement: Restatement, rows: Sequence[sa.Row[Any]]) -> None:
    """Set the columns of the restatement that describe its changes. rows: those of `_by_month_and_type`."""
    restatement.usage_count = sum(row.first_count for row in rows)
    for name in KILOGRAMS:
        setattr(restatement, name, sum((getattr(row, name) for row in rows), Decimal(0)))
    restatement.months = [
        {"month": month, "usage_count": sum(row.usage_count for row in of_month)} | _differences(of_month)
        for month, of_month in _grouped(rows, lambda row: row.month)
    ]
    restatement.by_usage_type = [
        {"id": id_, "name": name, "unit": unit, "usage_count": sum(row.first_count for row in of_type)}
        | _differences(of_type)
        | {"months": [{"month": row.month, "usage_count": row.usage_count} | _differences([row]) for row in of_type]}
        for (id_, name, unit), of_type in _grouped(rows, lambda row: (row.id, row.name, row.unit))
    ]


def _grouped(rows: Sequence[sa.Row[Any]], key: Callable[[Any], Any]) -> list[tuple[Any, list[Any]]]:
    return [(found, list(group)) for found, group in groupby(sorted(rows, key=key), key=key)]


def _differences(rows: Sequence[Any]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {name: sum((getattr(row, name) for row in rows), Decimal(0)) for name in KILOGRAMS}
    return sums | {
        "difference_kg": sums["after_kg"] - sums["before_kg"],
        "market_difference_kg": sums["market_after_kg"] - sums["market_before_kg"],
    }

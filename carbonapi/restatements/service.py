"""Recalculate usages with their current valuations, and report the changes by month."""

import datetime as dt
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from .. import audit
from ..accounts.models import Organization
from ..auth import current_actor, get_referenced, get_visible
from ..catalogue.models import UsageType
from ..catalogue.valuation_choice import usage_parts
from ..catalogue.valuations import Valuation
from ..db import allow, db
from ..local_time.clock import MICROSECOND, first_instant, local_clock
from ..local_time.proration import prorated_amount
from ..usages import ledger
from ..usages.models import Usage
from .models import Restatement


def restate(now: dt.datetime, mode: str, **fields: Any) -> Restatement:
    """Return the changes of a restatement. With `mode` "apply", make them in one transaction.

    fields: usage_type_id, start, end, region and reason. Only usages of the actor's organization change.
    A restatement without changes is not stored and has no id.
    """
    organization = get_visible(Organization, current_actor().organization_id)
    get_referenced(UsageType, fields["usage_type_id"], "usage_type_id")
    allow(minutes=10)
    ledger.choose_valuations(organization.id, *_criteria(organization, fields))
    outdated = ledger.with_outdated_valuation(*_criteria(organization, fields))
    restatement = Restatement(
        organization_id=organization.id,
        recorded_at=now,
        recorded_by=current_actor().id,
        significance_threshold=organization.significance_threshold,
        **fields,
    )
    _set_changes(restatement, db.session.execute(_by_month(outdated.cte("outdated"), organization.timezone)).all())
    if mode == "apply" and restatement.usage_count:
        db.session.add(restatement)
        db.session.flush()
        locked = outdated.with_for_update(of=Usage).cte("outdated")
        # The statement that makes the changes computes them again, because usages may have changed since the preview.
        changes = _by_month(locked, organization.timezone)
        moment = ledger.recording_time(organization.id)
        rows = ledger.apply_restatement(locked, changes, moment, organization.id, fields["reason"], restatement.id)
        restatement.recorded_at = moment
        _set_changes(restatement, rows)
        db.session.flush()
        new = {name: getattr(restatement, name) for name in ("usage_type_id", "start", "end", "region", "usage_count")}
        audit.record(
            "restated",
            Restatement,
            restatement.id,
            organization.id,
            old={"co2e_kg": restatement.before_kg},
            new=new | {"co2e_kg": restatement.after_kg},
            reason=restatement.reason,
        )
    return restatement


def _criteria(organization: Organization, fields: dict[str, Any]) -> Iterator[sa.ColumnElement[bool]]:
    yield Usage.organization_id == organization.id
    yield Usage.usage_type_id == fields["usage_type_id"]
    if fields["start"]:
        yield Usage.usage_at >= fields["start"]
    if fields["end"]:
        yield Usage.usage_at < fields["end"]
    if fields["region"]:
        yield sa.func.coalesce(Usage.region, Organization.region) == fields["region"]


def _by_month(outdated: sa.CTE, timezone: str) -> sa.Select[Any]:
    """Return a SELECT of the usages and the kg CO2e before and after, by local month. Intervals are prorated.

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
    whole = outdated.c.amount_in_type_unit
    factors = (outdated.c.old_factor, outdated.c.new_factor)
    instants = sa.select(
        first.label("month"),
        sa.true().label("is_first"),
        *((whole * factor).label(f"{factor.name}_kg") for factor in factors),
    ).where(outdated.c.usage_until.is_(None))
    splits = (outdated.c.old_split_id, outdated.c.split_id)
    intervals = (
        sa.select(
            months.c.begin,
            months.c.begin == first,
            *(
                amount * factor + _later_parts(outdated, split_id, factor, begin, end)
                for factor, split_id in zip(factors, splits, strict=True)
            ),
        )
        .select_from(outdated.join(months, sa.true()))
        .where(outdated.c.usage_until.is_not(None))
    )
    parts = instants.union_all(intervals).subquery("parts")
    return (
        sa.select(
            sa.func.to_char(parts.c.month, "YYYY-MM").label("month"),
            sa.func.count().label("usage_count"),
            sa.func.count().filter(parts.c.is_first).label("first_count"),
            sa.func.sum(parts.c.old_factor_kg).label("before_kg"),
            sa.func.sum(parts.c.new_factor_kg).label("after_kg"),
        )
        .group_by(parts.c.month)
        .order_by(parts.c.month)
    )


def _later_parts(usage: sa.CTE, split_id: Any, first_factor: Any, start: Any, end: Any) -> Any:
    """Return the kg CO2e that the later parts of a usage add within [start, end), if its valuation is split."""
    part = usage_parts(usage.c, split_id, split_id, start, end, "part")
    valuation = Valuation.__table__.alias("valuation_of_part")
    of_part = (valuation.c.organization_id == usage.c.organization_id) & (valuation.c.id == part.c.part_valuation_id)
    difference = sa.func.sum(part.c.part_amount * (valuation.c.location_total - first_factor))
    added = sa.select(difference).select_from(sa.join(part, valuation, of_part)).correlate_except(part, valuation)
    return sa.case((split_id.is_not(None), added.scalar_subquery()), else_=0)


def _set_changes(restatement: Restatement, by_month: Sequence[sa.Row[Any]]) -> None:
    """Set the columns of the restatement that describe its changes."""
    restatement.usage_count = sum(row.first_count for row in by_month)
    restatement.before_kg = sum((row.before_kg for row in by_month), Decimal(0))
    restatement.after_kg = sum((row.after_kg for row in by_month), Decimal(0))
    shown = ("month", "usage_count", "before_kg", "after_kg")
    restatement.months = [
        {name: getattr(row, name) for name in shown} | {"difference_kg": row.after_kg - row.before_kg}
        for row in by_month
    ]

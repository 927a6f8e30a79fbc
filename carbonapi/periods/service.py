"""Closing the books: up to an instant, what is recorded stays as it is, until somebody reopens them for a reason."""

import datetime as dt
from typing import Any

import sqlalchemy as sa

from ..auth import current_actor, get_referenced
from ..db import allow, db
from ..errors import Conflict, ValidationFailed
from ..rest.fields import format_datetime
from .models import ClosedPeriod

LOCK_TIMEOUT_SECONDS = 1


def close(now: dt.datetime, until: dt.datetime, note: str | None) -> ClosedPeriod:
    """Close the books of the actor's organization up to, not including, `until`.

    Raises Invalid for a time to come, and Conflict if they are closed so far already.
    """
    actor = current_actor()
    if until > now:
        raise ValidationFailed("Lies in the future: only what is past can be closed.", field="until")
    # Whoever writes now finishes first, and whoever comes then finds the books closed: a writer looks for closed
    # periods in the very statement that takes the lock which this one waits for.
    # All writers wait behind it meanwhile, so it gives up soon: the caller is told to try again.
    allow(lock_seconds=LOCK_TIMEOUT_SECONDS)
    db.session.execute(sa.text("LOCK TABLE usages, usage_versions IN SHARE ROW EXCLUSIVE MODE"))
    period = closing_period_at(actor.organization_id, until - dt.timedelta(microseconds=1))
    if period is not None:
        raise Conflict(f"The books are closed until {format_datetime(period.until)} already, by period {period.id}.")
    period = ClosedPeriod(
        organization_id=actor.organization_id, until=until, note=note, closed_at=now, closed_by=actor.id
    )
    db.session.add(period)
    db.session.flush()
    return period


def reopen(period: ClosedPeriod, now: dt.datetime, reason: str) -> ClosedPeriod:
    """Reopen the books that `period` closed. That it was closed stays on record. Raises Conflict if it is open."""
    if period.reopened_at is not None:
        raise Conflict(f"Period {period.id} has been reopened already.")
    period.reopened_at, period.reopened_by, period.reopen_reason = now, current_actor().id, reason
    db.session.flush()
    return period


def is_open(organization_id: Any, usage_at: Any) -> sa.ColumnElement[bool]:
    """Whether the organization's books are open at that time."""
    return ~sa.exists().where(
        ClosedPeriod.organization_id == organization_id,
        ClosedPeriod.reopened_at.is_(None),
        ClosedPeriod.until > usage_at,
    )


def closing_period_at(organization_id: int, usage_at: dt.datetime) -> ClosedPeriod | None:
    """The period that closes the organization's books over that time: the one that reaches furthest."""
    closed = sa.select(ClosedPeriod).where(
        ClosedPeriod.organization_id == organization_id, ClosedPeriod.reopened_at.is_(None)
    )
    furthest = closed.where(ClosedPeriod.until > usage_at).order_by(ClosedPeriod.until.desc()).limit(1)
    found: ClosedPeriod | None = db.session.scalar(furthest)
    return found


def closed_error(organization_id: int, *moments: dt.datetime) -> Conflict:
    """The error that names the period which keeps these times closed."""
    period = closing_period_at(organization_id, min(moments))
    until = format_datetime(period.until) if period else "then"
    return Conflict(
        f"The books are closed until {until} by period {period.id if period else ''}. Record an adjustment dated after "
        "it that names the period in `adjusts_closed_period_id`, or have it reopened.",
        field="usage_at",
    )


def check_adjusted_period(organization_id: int, closed_period_id: int) -> None:
    """Raise Invalid if an adjustment names a period that is not closed in its organization."""
    period = get_referenced(ClosedPeriod, closed_period_id, "adjusts_closed_period_id")
    if period.organization_id != organization_id or period.reopened_at is not None:
        raise ValidationFailed(
            f"Period {closed_period_id} is not closed: correct the usage itself.", field="adjusts_closed_period_id"
        )

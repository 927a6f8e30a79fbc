"""Recording, correcting and deleting usages one by one."""

import datetime as dt
import decimal
from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import make_transient_to_detached

from ... import audit
from ...accounts.models import Organization, User
from ...auth import ViewerParameters, current_actor, get_referenced, get_visible
from ...catalogue.factor_selection import FactorLookup, select_factor
from ...catalogue.models import DEFAULT_METHOD
from ...db import CompiledStatement, db
from ...errors import ValidationFailed
from ...periods.service import check_adjusted_period, closed_error, is_open
from ..candidates import COLUMNS, candidate_row, why_unrecordable
from ..measuring import normalized, renormalized
from ..models import DEFAULT_QUALITY, Usage, UsageVersion, ledger_columns
from ..validation import check_same_organization, get_active_type, interval_error
from .daily_totals import (
    COUNTED,
    MOVES,
    added,
    refresh_hours,
    removed,
    update_totals_cte,
    update_totals_for_reading_cte,
)
from .sql import FACTOR_DEPENDS_ON, MIN_VERSION_AGE, archive_versions, insert_usages

DEFAULTS = {"method": DEFAULT_METHOD, "quality": DEFAULT_QUALITY}
PRODUCT_DIGITS = 60  # More than an amount in the type's unit and a factor have together: their product is exact.
# What the audit log tells of a usage, beside what it tells of every act: whose, of what, when, by whom and why.
TOLD = [
    column
    for column in ledger_columns(Usage)
    if column.name not in {"organization_id", "id", "version", "recorded_at", "recorded_by", "reason"}
]


def record(now: dt.datetime, **fields: Any) -> Usage:
    """Record one usage, the actor's own unless `user_id` says whose, with the factor in force at its time.

    Raises Invalid that names the field: a user or type that is not there, an archived type, no factor then.
    """
    actor = current_actor()
    usage: dict[str, Any] = dict.fromkeys(COLUMNS) | DEFAULTS | {"user_id": actor.id} | fields
    if usage["adjusts_closed_period_id"] is not None:
        check_adjusted_period(
            get_referenced(User, usage["user_id"], "user_id").organization_id, usage["adjusts_closed_period_id"]
        )
    if "unit" in fields:
        usage |= normalized(get_active_type(usage["usage_type_id"]), usage["amount"], usage["unit"])
    by = {"recorded_at": now, "by_id": actor.id, "by_organization_id": actor.organization_id}
    recording = _recording(actor.role, has_period=usage["usage_until"] is not None)
    row = recording.execute(usage | by | audit.actor_columns()).one_or_none()
    if row is None:
        raise why_unrecordable(candidate_row(usage))
    recorded = Usage(**row._mapping)
    # From here on the session has it as one that it has read.
    make_transient_to_detached(recorded)
    db.session.add(recorded)
    return recorded


@cache
def _recording(role: str, *, has_period: bool) -> CompiledStatement:
    """The statement that records one usage, be it a period or not, for actors of this role."""
    by = ViewerParameters(_parameter("by_id"), _parameter("by_organization_id"), role)
    given = candidate_row({name: _parameter(name) for name in COLUMNS})
    recorded = insert_usages(given, _parameter("recorded_at"), by).returning(*ledger_columns(Usage)).cte("recorded")
    told = audit.entries_cte(recorded, Usage, "recorded", new=audit.as_jsonb("recorded", *TOLD))
    days = update_totals_cte(added(recorded)) if has_period else update_totals_for_reading_cte(recorded)
    return CompiledStatement(sa.select(recorded).add_cte(told, days))


def _parameter(name: str) -> Any:
    return sa.bindparam(name)


def correct(usage: Usage, now: dt.datetime, reason: str | None = None, **fields: Any) -> Usage:
    """Correct a usage, which the caller has locked, and keep what was believed before.

    The frozen factor stays, unless type, time, region or method change: then it is that time's.
    Raises Conflict if the books are closed over it, before or after.
    Raises Invalid that names the field, as `record` does.
    """
    if "unit" in fields and fields["unit"] is None:
        fields["unit"] = get_active_type(fields.get("usage_type_id", usage.usage_type_id), usage.usage_type_id).unit
    changes = {name: value for name, value in fields.items() if getattr(usage, name) != value}
    if not changes:
        return usage
    if "user_id" in changes:
        check_same_organization(changes["user_id"], usage.organization_id)
    if changes.keys() & FACTOR_DEPENDS_ON:
        wanted = {name: changes.get(name, getattr(usage, name)) for name in FACTOR_DEPENDS_ON}
        region = wanted["region"] or get_visible(Organization, usage.organization_id).region
        usage_type = get_active_type(wanted["usage_type_id"], usage.usage_type_id)
        chosen = select_factor(
            usage_type, FactorLookup(usage_type.id, usage.organization_id, region, wanted["method"], wanted["usage_at"])
        )
        changes |= {"emission_factor_id": chosen.id, "factor": chosen.factor, "restatement_id": None}
    if changes.get("adjusts_closed_period_id") is not None:
        check_adjusted_period(usage.organization_id, changes["adjusts_closed_period_id"])
    after = {
        name: changes.get(name, getattr(usage, name))
        for name in ("usage_at", "usage_until", "amount", "adjusts_closed_period_id")
    }
    if after["usage_until"] is not None:
        fault = interval_error(after["usage_at"], after["usage_until"])
        if fault:
            raise ValidationFailed(fault, field="usage_until")
    if after["amount"] < 0 and after["adjusts_closed_period_id"] is None:
        raise ValidationFailed("Must not be negative, unless it adjusts a closed period.", field="amount")
    if changes.keys() & {"usage_type_id", "amount", "unit"}:
        changes |= renormalized(usage, changes)
    # Clocks of several machines may differ; what is believed later is recorded later all the same.
    now = max(now, usage.recorded_at + MIN_VERSION_AGE)
    _keep([usage], now, reason, corrected=_difference(usage, changes))
    changes |= {"recorded_at": now, "recorded_by": current_actor().id, "reason": reason}
    for name, value in changes.items():
        setattr(usage, name, value)
    db.session.flush()
    if changes.keys() & MOVES:
        refresh_hours([usage.organization_id])
    return usage


def delete(usages: Sequence[Usage], now: dt.datetime, reason: str | None = None) -> None:
    """Delete these usages, which the caller has locked, and keep what was believed of them."""
    _keep(usages, now, reason)
    db.session.execute(sa.delete(Usage).where(*_these(usages)).execution_options(synchronize_session=False))
    refresh_hours(usage.organization_id for usage in usages)


def _keep(
    usages: Sequence[Usage],
    now: dt.datetime,
    reason: str | None,
    corrected: tuple[dict[str, Any], dict[str, Any]] | None = None,
) -> None:
    """Keep what is believed of these usages as versions that end now, and tell the audit log why.

    corrected: the values before and after, of a correction; without, they are deleted.
    Raises Conflict if the books are closed over one of them, or over where it is moved to.
    """
    moved_to = corrected[1].get("usage_at") if corrected else None
    moments = [usage.usage_at for usage in usages] + ([moved_to] if moved_to else [])
    still_open = [is_open(Usage.organization_id, Usage.usage_at)]
    if moved_to is not None:
        still_open.append(is_open(Usage.organization_id, sa.literal(moved_to, sa.DateTime(timezone=True))))
    kept_as = archive_versions(now, reason, *_these(usages), *still_open, deleted=corrected is None)
    kept = kept_as.returning(*ledger_columns(UsageVersion)).cte("kept")
    if corrected:
        old, new = corrected
        told = audit.entries_cte(kept, Usage, "corrected", old=old, new=new, reason=reason)
    else:
        told = audit.entries_cte(kept, Usage, "deleted", old=audit.as_jsonb("kept", *TOLD), reason=reason)
    if len(db.session.execute(sa.select(kept.c.id).add_cte(told, *_days(kept, corrected))).all()) < len(usages):
        raise closed_error(usages[0].organization_id, *moments)


def _days(kept: sa.CTE, corrected: tuple[dict[str, Any], dict[str, Any]] | None) -> list[sa.CTE]:
    """What counts the days anew, if need be."""
    if corrected is None:
        return [update_totals_cte(removed(kept))]
    _, new = corrected
    if not new.keys() & {column.key for column in COUNTED}:
        return []
    columns = [
        sa.cast(new[column.key], column.type).label(column.key) if column.key in new else kept.c[column.key]
        for column in COUNTED
    ]
    arrived = sa.select(*columns).select_from(kept).subquery("arrived")
    return [update_totals_cte(removed(kept, is_moved=bool(new.keys() & MOVES)), added(arrived))]


def _difference(usage: Usage, changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values before and after these changes, of what they do change."""
    before = {column.name: getattr(usage, column.name) for column in TOLD}
    after = {name: changes.get(name, value) for name, value in before.items()}
    with decimal.localcontext(prec=PRODUCT_DIGITS):
        after["co2e_kg"] = after["amount_in_type_unit"] * after["factor"]
    changed = [name for name in before if before[name] != after[name]]
    return {name: before[name] for name in changed}, {name: after[name] for name in changed}


def _these(usages: Sequence[Usage]) -> tuple[sa.ColumnElement[bool], ...]:
    """The criteria of these rows. The organizations stand by themselves too: that is what finds their machine."""
    keys = [(usage.organization_id, usage.id) for usage in usages]
    return (
        Usage.organization_id.in_({organization_id for organization_id, _ in keys}),
        sa.tuple_(Usage.organization_id, Usage.id).in_(keys),
    )

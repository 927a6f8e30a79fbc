"""Every write of the ledger is here: recording, correcting and deleting usages."""

import datetime as dt
import decimal
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from .. import audit
from ..access import current_actor, fetch, named, seen_by_actor
from ..accounts.models import Organization, User
from ..catalogue.choice import Want, factor_at
from ..catalogue.models import UsageType
from ..db import db
from ..errors import Invalid
from .closing import is_open, refusal, refuse_unknown_period
from .given import COLUMNS, as_row, factor_of, fault_of
from .measuring import measured, measured_anew
from .models import Usage, UsageVersion, belief_of
from .refusals import ENDS_BEFORE_IT_BEGINS, refuse_stranger, usable_type

FACTOR_DEPENDS_ON = {"usage_type_id", "usage_at", "region", "method"}
DEFAULTS = {"method": "location", "quality": "measured"}
SHORTEST_BELIEF = dt.timedelta(microseconds=1)
PRODUCT_DIGITS = 60  # More than an amount in the type's unit and a factor have together: their product is exact.
# What the audit log tells of a usage, beside what it tells of every act: whose, of what, when, by whom and why.
TOLD = [
    column
    for column in belief_of(Usage)
    if column.name not in {"organization_id", "id", "version", "recorded_at", "recorded_by", "reason"}
]
RECORDED = sa.text("SELECT * FROM recorded").columns(*belief_of(Usage))


def record(now: dt.datetime, **fields: Any) -> Usage:
    """Record one usage, the actor's own unless `user_id` says whose, with the factor in force at its time.

    Raises Invalid that names the field: a user or type that is not there, an archived type, no factor then.
    """
    usage = DEFAULTS | {"user_id": current_actor().id} | fields
    if usage.get("adjusts_period_id") is not None:
        refuse_unknown_period(named(User, usage["user_id"], "user_id").organization_id, usage["adjusts_period_id"])
    if "unit" in usage:
        usage |= measured(usable_type(usage["usage_type_id"]), usage["amount"], usage["unit"])
    given = as_row(usage)
    recorded = _booking(given, now).returning(*belief_of(Usage)).cte("recorded")
    told = audit.entries_of(recorded, Usage, "recorded", new=audit.values_of("recorded", *TOLD))
    found: Usage | None = db.session.scalar(sa.select(Usage).from_statement(RECORDED.add_cte(recorded, told)))
    if found is None:
        raise fault_of(given)
    return found


def record_staged(staged: Any, now: dt.datetime, organization_id: int, import_id: int) -> Any:
    """Record the usages of a table in one statement, each with the factor in force at its time.

    staged: columns as in COLUMNS. One that cannot be recorded is left out: `given.lacking` tells which.
    Gives the number of usages that were recorded, `usage_count`; the sums `co2e_kg` and `amount_in_type_unit`; and of
    their usage types the first and the last, `first_type_id` and `last_type_id`.
    """
    booking = _booking(staged, now, User.organization_id == organization_id, import_id=import_id)
    recorded = booking.returning(Usage.co2e_kg, Usage.amount_in_type_unit, Usage.usage_type_id).cte("recorded")
    return db.session.execute(
        sa.select(
            sa.func.count().label("usage_count"),
            sa.func.coalesce(sa.func.sum(recorded.c.co2e_kg), 0).label("co2e_kg"),
            sa.func.sum(recorded.c.amount_in_type_unit).label("amount_in_type_unit"),
            sa.func.min(recorded.c.usage_type_id).label("first_type_id"),
            sa.func.max(recorded.c.usage_type_id).label("last_type_id"),
        )
    ).one()


def replace_staged(staged: Any, now: dt.datetime, reason: str) -> int:
    """Correct usages of a table in one statement, keep what was believed before, and give how many there were.

    staged: columns as in COLUMNS, and `usage_id`, which usage. One that could not be recorded anew, or over which the
    books are closed, stays. The frozen factor stays as `correct` has it.
    """
    factor = factor_of(staged)
    is_moved = sa.or_(*(Usage.__table__.c[name].is_distinct_from(staged.c[name]) for name in FACTOR_DEPENDS_ON))
    anew = {
        "unit": sa.func.coalesce(staged.c.unit, UsageType.unit),
        "amount_in_type_unit": sa.func.coalesce(staged.c.amount_in_type_unit, staged.c.amount),
        "emission_factor_id": sa.case((is_moved, factor.c.id), else_=Usage.emission_factor_id),
        "factor": sa.case((is_moved, factor.c.factor), else_=Usage.factor),
        "restatement_id": sa.case((is_moved, None), else_=Usage.restatement_id),
    }
    given = {name: staged.c[name] for name in COLUMNS} | anew
    usages = (
        sa.select(Usage.organization_id, Usage.id, *(value.label(name) for name, value in given.items()))
        .join(staged, staged.c.usage_id == Usage.id)
        .join(
            User,
            sa.and_(User.id == staged.c.user_id, User.organization_id == Usage.organization_id, *seen_by_actor(User)),
        )
        .join(Organization, Organization.id == User.organization_id)
        .join(UsageType, (UsageType.id == staged.c.usage_type_id) & ~UsageType.archived)
        .join(factor, sa.true())
        .where(*seen_by_actor(Usage))
        .where(is_open(Usage.organization_id, Usage.usage_at), is_open(Usage.organization_id, staged.c.usage_at))
        .with_for_update(of=Usage)
        .cte("replaced")
    )
    these = (Usage.organization_id == usages.c.organization_id, Usage.id == usages.c.id)
    kept = _keeping(now, reason, sa.exists().where(*these), deleted=False).returning(UsageVersion.id).cte("kept")
    written = {
        "version": Usage.version + 1,
        "recorded_at": sa.func.greatest(now, Usage.recorded_at + SHORTEST_BELIEF),
        "recorded_by": current_actor().id,
        "reason": reason,
    }
    values = {name: usages.c[name] for name in given} | written
    booked = sa.update(Usage).where(*these).values(values).returning(Usage.id).cte("booked")
    return db.session.scalar(sa.select(sa.func.count()).select_from(booked).add_cte(kept)) or 0


def delete_all(now: dt.datetime, reason: str | None, *criteria: sa.ColumnElement[bool]) -> Any:
    """Delete the usages of which this holds, in one statement, and keep what was believed of them.

    Gives their number, `usage_count`, and their sum, `co2e_kg`. Those over which the books are closed stay.
    """
    still_open = is_open(Usage.organization_id, Usage.usage_at)
    found = sa.select(Usage.organization_id, Usage.id).where(*seen_by_actor(Usage), *criteria, still_open)
    usages = found.with_for_update(of=Usage).cte("usages_deleted")
    these = (Usage.organization_id == usages.c.organization_id, Usage.id == usages.c.id)
    kept = _keeping(now, reason, sa.exists().where(*these), deleted=True).returning(UsageVersion.id).cte("kept")
    gone = sa.delete(Usage).where(*these).returning(Usage.co2e_kg).cte("gone")
    sums = (sa.func.count().label("usage_count"), sa.func.coalesce(sa.func.sum(gone.c.co2e_kg), 0).label("co2e_kg"))
    return db.session.execute(sa.select(*sums).add_cte(kept)).one()


def correct(usage: Usage, now: dt.datetime, reason: str | None = None, **fields: Any) -> Usage:
    """Correct a usage, which the caller has locked, and keep what was believed before.

    The frozen factor stays, unless type, time, region or method change: then it is that time's.
    Raises Conflict if the books are closed over it, before or after.
    Raises Invalid that names the field, as `record` does.
    """
    if "unit" in fields and fields["unit"] is None:
        fields["unit"] = usable_type(fields.get("usage_type_id", usage.usage_type_id), usage.usage_type_id).unit
    changes = {name: value for name, value in fields.items() if getattr(usage, name) != value}
    if not changes:
        return usage
    if "user_id" in changes:
        refuse_stranger(changes["user_id"], usage.organization_id)
    if changes.keys() & FACTOR_DEPENDS_ON:
        wanted = {name: changes.get(name, getattr(usage, name)) for name in FACTOR_DEPENDS_ON}
        region = wanted["region"] or fetch(Organization, usage.organization_id).region
        usage_type = usable_type(wanted["usage_type_id"], usage.usage_type_id)
        chosen = factor_at(
            usage_type, Want(usage_type.id, usage.organization_id, region, wanted["method"], wanted["usage_at"])
        )
        changes |= {"emission_factor_id": chosen.id, "factor": chosen.factor, "restatement_id": None}
    if changes.get("adjusts_period_id") is not None:
        refuse_unknown_period(usage.organization_id, changes["adjusts_period_id"])
    after = {
        name: changes.get(name, getattr(usage, name))
        for name in ("usage_at", "usage_until", "amount", "adjusts_period_id")
    }
    if after["usage_until"] is not None and after["usage_until"] <= after["usage_at"]:
        raise Invalid(ENDS_BEFORE_IT_BEGINS, field="usage_until")
    if after["amount"] < 0 and after["adjusts_period_id"] is None:
        raise Invalid("Must not be negative, unless it adjusts a closed period.", field="amount")
    if changes.keys() & {"usage_type_id", "amount", "unit"}:
        changes |= measured_anew(usage, changes)
    # Clocks of several machines may differ; what is believed later is recorded later all the same.
    now = max(now, usage.recorded_at + SHORTEST_BELIEF)
    _keep([usage], now, reason, corrected=_difference(usage, changes))
    changes |= {"recorded_at": now, "recorded_by": current_actor().id, "reason": reason}
    for name, value in changes.items():
        setattr(usage, name, value)
    db.session.flush()
    return usage


def outdated(*criteria: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """The usages that the actor may see to whom the catalogue, as it is now, gives another factor than they have.

    Columns: organization_id, id, usage_at, usage_until, amount_in_type_unit, old_factor, recorded_at; and of the other
    factor factor_id and factor.
    """
    region = sa.func.coalesce(Usage.region, Organization.region)
    want = Want(Usage.usage_type_id, Usage.organization_id, region, Usage.method, Usage.usage_at)
    factor = want.chosen().lateral("factor")
    return (
        sa.select(
            Usage.organization_id,
            Usage.id,
            Usage.usage_at,
            Usage.usage_until,
            Usage.amount_in_type_unit,
            Usage.factor.label("old_factor"),
            Usage.recorded_at,
            factor.c.id.label("factor_id"),
            factor.c.factor,
        )
        .join(Organization, Organization.id == Usage.organization_id)
        .join(factor, sa.true())
        .where(*seen_by_actor(Usage), *criteria, factor.c.id != Usage.emission_factor_id)
    )


def rebook(usages: sa.CTE, now: dt.datetime, reason: str, restatement_id: int) -> tuple[sa.CTE, sa.CTE]:
    """What books these `outdated` usages anew, to stand before a statement: it keeps what was believed, and writes.

    usages: a locked SELECT of `outdated`. Every row of it gets the other factor, in a new version that names the
    restatement.
    """
    believed_from = sa.func.greatest(now, Usage.recorded_at + SHORTEST_BELIEF)
    these = (Usage.organization_id == usages.c.organization_id, Usage.id == usages.c.id)
    kept = _keeping(now, reason, sa.exists().where(*these), deleted=False).returning(UsageVersion.id).cte("kept")
    booked = (
        sa.update(Usage)
        .where(*these)
        .values(
            emission_factor_id=usages.c.factor_id,
            factor=usages.c.factor,
            version=Usage.version + 1,
            recorded_at=believed_from,
            recorded_by=current_actor().id,
            restatement_id=restatement_id,
            reason=reason,
        )
        .returning(Usage.id)
        .cte("booked")
    )
    return kept, booked


def delete(usages: Sequence[Usage], now: dt.datetime, reason: str | None = None) -> None:
    """Delete these usages, which the caller has locked, and keep what was believed of them."""
    _keep(usages, now, reason)
    db.session.execute(sa.delete(Usage).where(*_these(usages)).execution_options(synchronize_session=False))


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
    keeping = _keeping(now, reason, *_these(usages), *still_open, deleted=corrected is None)
    kept = keeping.returning(*belief_of(UsageVersion)).cte("kept")
    if corrected:
        old, new = corrected
        told = audit.entries_of(kept, Usage, "corrected", old=old, new=new, reason=reason)
    else:
        told = audit.entries_of(kept, Usage, "deleted", old=audit.values_of("kept", *TOLD), reason=reason)
    if len(db.session.execute(sa.select(kept.c.id).add_cte(told)).all()) < len(usages):
        raise refusal(usages[0].organization_id, *moments)


def _difference(usage: Usage, changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values before and after these changes, of what they do change."""
    before = {column.name: getattr(usage, column.name) for column in TOLD}
    after = {name: changes.get(name, value) for name, value in before.items()}
    with decimal.localcontext(prec=PRODUCT_DIGITS):
        after["co2e_kg"] = after["amount_in_type_unit"] * after["factor"]
    changed = [name for name in before if before[name] != after[name]]
    return {name: before[name] for name in changed}, {name: after[name] for name in changed}


def _keeping(now: dt.datetime, reason: str | None, *criteria: sa.ColumnElement[bool], deleted: bool) -> sa.Insert:
    """The statement that keeps what is believed now as versions that end now."""
    columns = [column for column in belief_of(Usage) if column.computed is None]
    ended = {
        "believed_until": sa.func.greatest(now, Usage.recorded_at + SHORTEST_BELIEF),
        "ended_by": sa.literal(current_actor().id, sa.BigInteger),
        "end_reason": sa.cast(reason, sa.Text),
        "deleted": sa.literal(deleted),
    }
    targets = [*(column.name for column in columns), *ended]
    return sa.insert(UsageVersion).from_select(targets, sa.select(*columns, *ended.values()).where(*criteria))


def _these(usages: Sequence[Usage]) -> tuple[sa.ColumnElement[bool], ...]:
    """The criteria of these rows. The organizations stand by themselves too: that is what finds their machine."""
    keys = [(usage.organization_id, usage.id) for usage in usages]
    return (
        Usage.organization_id.in_({organization_id for organization_id, _ in keys}),
        sa.tuple_(Usage.organization_id, Usage.id).in_(keys),
    )


def _booking(
    given: Any,
    now: dt.datetime,
    *whose: sa.ColumnElement[bool],
    import_id: int | None = None,
) -> sa.Insert:
    """The statement that records these usages, but for those to which something is lacking."""
    factor = factor_of(given)
    filled = {
        "unit": sa.func.coalesce(given.c.unit, UsageType.unit),
        "amount_in_type_unit": sa.func.coalesce(given.c.amount_in_type_unit, given.c.amount),
    }
    source = (
        sa.select(
            User.organization_id,
            *(filled.get(name, given.c[name]) for name in COLUMNS),
            factor.c.id,
            factor.c.factor,
            sa.literal(import_id, sa.BigInteger),
            sa.literal(now, sa.DateTime(timezone=True)),
            sa.literal(current_actor().id, sa.BigInteger),
            sa.literal(1),
        )
        .select_from(given)
        .join(User, sa.and_(User.id == given.c.user_id, *seen_by_actor(User), *whose))
        .join(Organization, Organization.id == User.organization_id)
        .join(UsageType, (UsageType.id == given.c.usage_type_id) & ~UsageType.archived)
        .join(factor, sa.true())
        .where(is_open(User.organization_id, given.c.usage_at))
        .order_by(given.c.place)
    )
    booked = ["emission_factor_id", "factor", "import_id", "recorded_at", "recorded_by", "version"]
    targets = ["organization_id", *COLUMNS, *booked]
    return sa.insert(Usage).from_select(targets, source)

"""Recording, correcting and deleting many usages in one statement each."""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ...accounts.models import Organization, User
from ...auth import current_actor, scope_criteria
from ...catalogue.factor_selection import FactorLookup
from ...catalogue.models import UsageType
from ...db import db
from ...periods.service import is_open
from ..candidates import COLUMNS, factor_lateral
from ..models import Usage, UsageVersion
from .daily_totals import COUNTED, added, refresh_hours, removed, update_totals_cte
from .sql import FACTOR_DEPENDS_ON, MIN_VERSION_AGE, archive_versions, insert_usages


def insert_many(staged: Any, now: dt.datetime, organization_id: int, import_id: int) -> Any:
    """Record the usages of a table in one statement, each with the factor in force at its time.

    staged: columns as in COLUMNS. One that cannot be recorded is left out: `given.lacking` tells which.
    Gives the number of usages that were recorded, `usage_count`; the sums `co2e_kg` and `amount_in_type_unit`; and of
    their usage types the first and the last, `first_type_id` and `last_type_id`.
    """
    booked = insert_usages(staged, now, current_actor(), User.organization_id == organization_id, import_id=import_id)
    recorded = booked.returning(*COUNTED).cte("recorded")
    return db.session.execute(
        sa.select(
            sa.func.count().label("usage_count"),
            sa.func.coalesce(sa.func.sum(recorded.c.co2e_kg), 0).label("co2e_kg"),
            sa.func.sum(recorded.c.amount_in_type_unit).label("amount_in_type_unit"),
            sa.func.min(recorded.c.usage_type_id).label("first_type_id"),
            sa.func.max(recorded.c.usage_type_id).label("last_type_id"),
        ).add_cte(update_totals_cte(added(recorded)))
    ).one()


def update_many(staged: Any, now: dt.datetime, organization_id: int, reason: str) -> int:
    """Correct usages of a table in one statement, keep what was believed before, and give how many there were.

    staged: columns as in COLUMNS, and `usage_id`, which usage. One that could not be recorded anew, or over which the
    books are closed, stays. The frozen factor stays as `correct` has it.
    """
    factor = factor_lateral(staged)
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
        sa.select(Usage.id, *(value.label(name) for name, value in given.items()))
        .join(staged, staged.c.usage_id == Usage.id)
        .join(
            User,
            sa.and_(User.id == staged.c.user_id, User.organization_id == Usage.organization_id, *scope_criteria(User)),
        )
        .join(Organization, Organization.id == User.organization_id)
        .join(UsageType, (UsageType.id == staged.c.usage_type_id) & ~UsageType.archived)
        .join(factor, sa.true())
        .where(*_among(staged.c.usage_id, organization_id), *scope_criteria(Usage))
        .where(is_open(Usage.organization_id, Usage.usage_at), is_open(Usage.organization_id, staged.c.usage_at))
        .with_for_update(of=Usage)
        .cte("replaced")
    )
    booked, days = _booked_anew(usages, organization_id, now, reason, {name: usages.c[name] for name in given})
    _join_by_hash()
    number = db.session.scalar(sa.select(sa.func.count()).select_from(booked).add_cte(days)) or 0
    refresh_hours([organization_id])
    return number


def delete_where(now: dt.datetime, organization_id: int, reason: str | None, *criteria: sa.ColumnElement[bool]) -> Any:
    """Delete the usages of an organization of which this holds, and keep what was believed of them.

    Gives their number, `usage_count`, and their sum, `co2e_kg`. Those over which the books are closed stay.
    """
    still_open = is_open(Usage.organization_id, Usage.usage_at)
    mine = (Usage.organization_id == organization_id, *scope_criteria(Usage))
    found = sa.select(Usage.id).where(*mine, *criteria, still_open)
    usages = found.with_for_update(of=Usage).cte("usages_deleted")
    kept = _kept(usages, organization_id, now, reason, deleted=True)
    gone = sa.delete(Usage).where(*_among(usages.c.id, organization_id)).returning(*COUNTED).cte("gone")
    sums = (sa.func.count().label("usage_count"), sa.func.coalesce(sa.func.sum(gone.c.co2e_kg), 0).label("co2e_kg"))
    told = db.session.execute(sa.select(*sums).add_cte(kept, update_totals_cte(removed(gone)))).one()
    refresh_hours([organization_id])
    return told


def with_outdated_factor(*criteria: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """The usages that the actor may see to whom the catalogue, as it is now, gives another factor than they have.

    Columns: organization_id, id, usage_at, usage_until, amount_in_type_unit, old_factor, recorded_at; and of the other
    factor factor_id and factor.
    """
    region = sa.func.coalesce(Usage.region, Organization.region)
    want = FactorLookup(Usage.usage_type_id, Usage.organization_id, region, Usage.method, Usage.usage_at)
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
        .where(*scope_criteria(Usage), *criteria, factor.c.id != Usage.emission_factor_id)
    )


def apply_restatement(
    usages: sa.CTE, told: sa.Select[Any], now: dt.datetime, organization_id: int, reason: str, restatement_id: int
) -> Any:
    """Book these `outdated` usages of an organization anew, keep what was believed before, and give the rows of `told`.

    usages: a locked SELECT of `outdated`. Every row of it gets the other factor, in a new version that names the
    restatement. told: what tells of these usages; it is the one statement that books them, too.
    """
    anew = {"emission_factor_id": usages.c.factor_id, "factor": usages.c.factor, "restatement_id": restatement_id}
    _, days = _booked_anew(usages, organization_id, now, reason, anew)
    _join_by_hash()
    rows = db.session.execute(told.add_cte(days)).all()
    refresh_hours([organization_id])
    return rows


def _booked_anew(
    usages: sa.CTE, organization_id: int, now: dt.datetime, reason: str, values: dict[str, Any]
) -> tuple[sa.CTE, sa.CTE]:
    """What writes these values into usages, keeping what was believed before: the usages then, and their days."""
    written = {
        "version": Usage.version + 1,
        "recorded_at": sa.func.greatest(now, Usage.recorded_at + MIN_VERSION_AGE),
        "recorded_by": current_actor().id,
        "reason": reason,
    }
    these = (*_among(usages.c.id, organization_id), Usage.id == usages.c.id)
    writing = sa.update(Usage).where(*these).values(values | written)
    booked = writing.returning(*COUNTED).cte("completed")
    kept = _kept(usages, organization_id, now, reason, deleted=False)
    return booked, update_totals_cte(removed(kept), added(booked))


def _kept(usages: sa.CTE, organization_id: int, now: dt.datetime, reason: str | None, *, deleted: bool) -> sa.CTE:
    """What was believed of these usages, as it is kept; columns COUNTED."""
    kept = archive_versions(now, reason, *_among(usages.c.id, organization_id), deleted=deleted)
    return kept.returning(*(UsageVersion.__table__.c[column.key] for column in COUNTED)).cte("kept")


def _among(ids: sa.ColumnElement[Any], organization_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    """The criteria of the organization's usages whose ids this column has: PostgreSQL looks each up by its key."""
    of_ids = sa.func.array(sa.select(ids).scalar_subquery(), type_=postgresql.ARRAY(sa.BigInteger))
    return Usage.organization_id == organization_id, Usage.id == sa.any_(of_ids)


def _join_by_hash() -> None:
    """Have the transaction's next statements compare no rows each with each where they can be hashed.

    If PostgreSQL takes a table for nearly empty, which many have just come into or gone from, it does that by
    preference: minutes for a year of hours.
    """
    db.session.execute(sa.text("SET LOCAL enable_nestloop = off"))

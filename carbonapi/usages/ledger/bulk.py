"""Write many usages of an organization: insert, correct, delete or restate them in one statement each."""

import datetime as dt
from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ... import audit
from ...accounts.models import Organization, User
from ...auth import current_actor, scope_criteria
from ...catalogue.models import EmissionFactor, UsageType
from ...catalogue.usage_valuations import ensure_valuations_of, valuation_of
from ...catalogue.valuations import FACTORS_OF_USAGE, Valuation, ValuationLine, ValuationSegment
from ...db import CompiledStatement, Viewer, db
from ...periods.service import is_open
from ..candidates import COLUMNS, as_json, candidate_table, effective_region, valuation_lateral
from ..models import Usage, UsageVersion, ledger_columns, split_id
from .daily_totals import SOURCE_COLUMNS, added, refresh_hours, removed, update_totals_cte
from .sql import (
    AUDITED_COLUMNS,
    MIN_VERSION_AGE,
    SPLIT,
    VALUATION_DEPENDS_ON,
    archive_versions,
    insert_usages,
    split_difference,
)


def insert_many(candidates: Any, now: dt.datetime, organization_id: int, import_id: int) -> Any:
    """Record the usages of a table, each with the current valuation of its time. Skip those that cannot be recorded.

    candidates: a table with the columns COLUMNS and `place`; `candidates.unrecordable` selects the skipped ones.
    Returns a row: `usage_count`, the sums `co2e_kg` and `amount_in_type_unit`, and the lowest and the highest usage
    type, `first_type_id` and `last_type_id`.
    """
    insert = insert_usages(
        candidates, current_actor(), User.organization_id == organization_id, now=now, import_id=import_id
    )
    recorded = insert.returning(*SOURCE_COLUMNS, Usage.co2e_kg).cte("recorded")
    return db.session.execute(
        sa.select(
            sa.func.count().label("usage_count"),
            sa.func.coalesce(sa.func.sum(recorded.c.co2e_kg), 0).label("co2e_kg"),
            sa.func.sum(recorded.c.amount_in_type_unit).label("amount_in_type_unit"),
            sa.func.min(recorded.c.usage_type_id).label("first_type_id"),
            sa.func.max(recorded.c.usage_type_id).label("last_type_id"),
        ).add_cte(update_totals_cte(added(recorded)))
    ).one()


def insert_all(usages: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """Record usages, each with the current valuation of its time, and return their ids in the order of their places.

    usages: values for COLUMNS, by place. Record none, and return an empty list, if one of them cannot be recorded.
    """
    actor = current_actor()
    values = {"candidates": as_json(usages), "actor_id": actor.id, "actor_organization_id": actor.organization_id}
    rows = _insert_all_statement(actor.role).execute(values | audit.actor_columns())
    return [id_ for (id_,) in rows]


@cache
def _insert_all_statement(role: str) -> CompiledStatement:
    """Return the statement of `insert_all` for actors of this role. It is compiled once for each role."""
    actor = Viewer(sa.bindparam("actor_id"), sa.bindparam("actor_organization_id"), role)
    candidates = sa.select(candidate_table(sa.bindparam("candidates"))).cte("candidate")
    insert = insert_usages(candidates, actor, all_or_none=True)
    recorded = insert.returning(*ledger_columns(Usage)).cte("recorded")
    entries = audit.entries_cte(recorded, Usage, "recorded", new=audit.as_jsonb("recorded", *AUDITED_COLUMNS))
    ids = sa.select(recorded.c.id).order_by(recorded.c.id)
    return CompiledStatement(ids.add_cte(entries, update_totals_cte(added(recorded))), prepared=True)


def update_many(candidates: Any, now: dt.datetime, organization_id: int, reason: str) -> int:
    """Correct usages, archive their previous versions, and return the number of corrected usages.

    candidates: a table with the columns COLUMNS and `usage_id`. Skips those that cannot be recorded, and usages whose
    time is closed. A usage keeps its valuation under the same rule as in `service.correct`.
    """
    valuation = valuation_lateral(candidates)
    usage = Usage.__table__.c
    is_new = sa.or_(*(usage[name].is_distinct_from(candidates.c[name]) for name in VALUATION_DEPENDS_ON))
    amount = sa.func.coalesce(candidates.c.amount_in_type_unit, candidates.c.amount)
    difference = split_difference(
        Usage.organization_id, sa.case((is_new, valuation.c.split_id), else_=split_id(usage)), amount,
        candidates.c.usage_at, candidates.c.usage_until,
    )  # fmt: skip
    derived = {
        "unit": sa.func.coalesce(candidates.c.unit, UsageType.unit),
        "amount_in_type_unit": amount,
        "valuation_id": sa.case((is_new, valuation.c.id), else_=Usage.valuation_id),
        **{name: sa.case((is_new, valuation.c[name]), else_=usage[name]) for name in FACTORS_OF_USAGE},
        **{name: difference.c[name] for name in SPLIT},
        "restatement_id": sa.case((is_new, None), else_=Usage.restatement_id),
    }
    values = {name: candidates.c[name] for name in COLUMNS} | derived
    of_organization = (User.organization_id == Usage.organization_id, *scope_criteria(User))
    replaced = (
        sa.select(Usage.id, *(value.label(name) for name, value in values.items()))
        .join(candidates, candidates.c.usage_id == Usage.id)
        .join(User, sa.and_(User.id == candidates.c.user_id, *of_organization))
        .join(Organization, Organization.id == User.organization_id)
        .join(UsageType, (UsageType.id == candidates.c.usage_type_id) & ~UsageType.archived)
        .join(valuation, sa.true())
        .join(difference, sa.true())
        .where(*_has_id(candidates.c.usage_id, organization_id), *scope_criteria(Usage))
        .where(is_open(Usage.organization_id, Usage.usage_at), is_open(Usage.organization_id, candidates.c.usage_at))
        .with_for_update(of=Usage)
        .cte("replaced")
    )
    updated, totals = _update_ctes(replaced, organization_id, now, reason, {name: replaced.c[name] for name in values})
    _disable_nested_loops()
    number = db.session.scalar(sa.select(sa.func.count()).select_from(updated).add_cte(totals)) or 0
    refresh_hours(organization_id)
    return number


def delete_where(now: dt.datetime, organization_id: int, reason: str | None, *criteria: sa.ColumnElement[bool]) -> Any:
    """Delete the usages of an organization that meet the criteria, and archive their versions.

    Skips usages whose time is closed. Returns a row: `usage_count`, and the sum `co2e_kg`.
    """
    of_organization = (Usage.organization_id == organization_id, *scope_criteria(Usage))
    found = sa.select(Usage.id).where(*of_organization, *criteria, is_open(Usage.organization_id, Usage.usage_at))
    usages = found.with_for_update(of=Usage).cte("usages_to_delete")
    archived = _archive_cte(usages, organization_id, now, reason, deleted=True)
    delete = sa.delete(Usage).where(*_has_id(usages.c.id, organization_id))
    deleted = delete.returning(*SOURCE_COLUMNS, Usage.co2e_kg).cte("deleted_usages")
    sums = (
        sa.func.count().label("usage_count"),
        sa.func.coalesce(sa.func.sum(deleted.c.co2e_kg), 0).label("co2e_kg"),
    )
    row = db.session.execute(sa.select(*sums).add_cte(archived, update_totals_cte(removed(deleted)))).one()
    refresh_hours(organization_id)
    return row


def with_outdated_valuation(*criteria: sa.ColumnElement[bool], factor_set_id: int | None = None) -> sa.Select[Any]:
    """Select the usages visible to the actor that would now get another valuation, or one with a factor of this set.

    Columns: organization_id, id, usage_type_id, usage_at, usage_until, amount_in_type_unit, recorded_at; of the current
    valuation valuation_id, FACTORS_OF_USAGE and SPLIT; the valuations before and after if they are split: old_split_id
    and new_split_id; and the factors of both totals before and after, in the first part: old_factor, new_factor,
    old_market_factor and new_market_factor.
    """
    region = effective_region(Usage.__table__)
    frozen, current = (Valuation.__table__.alias(name) for name in ("frozen", "current"))
    valuation = valuation_of(Usage.usage_type_id, region, Usage.usage_at, Usage.usage_until)
    difference = split_difference(
        Usage.organization_id, valuation.c.split_id, Usage.amount_in_type_unit, Usage.usage_at, Usage.usage_until
    )
    of_usage: Any = sa.select(
        Usage.organization_id,
        Usage.id,
        Usage.usage_type_id,
        Usage.usage_at,
        Usage.usage_until,
        Usage.amount_in_type_unit,
        frozen.c.location_total.label("old_factor"),
        frozen.c.market_total.label("old_market_factor"),
        Usage.recorded_at,
        split_id(Usage).label("old_split_id"),
        current.c.id.label("valuation_id"),
        valuation.c.split_id.label("new_split_id"),
        *(difference.c[name] for name in SPLIT),
        *(current.c[name] for name in FACTORS_OF_USAGE),
        current.c.location_total.label("new_factor"),
        current.c.market_total.label("new_market_factor"),
    )
    outdated: sa.Select[Any] = (
        of_usage.join(Organization, Organization.id == Usage.organization_id)
        .join(frozen, (frozen.c.organization_id == Usage.organization_id) & (frozen.c.id == Usage.valuation_id))
        .join(valuation, sa.true())
        .join(current, (current.c.organization_id == Usage.organization_id) & (current.c.id == valuation.c.id))
        .join(difference, sa.true())
        .where(*scope_criteria(Usage), *criteria, current.c.key != frozen.c.key)
    )
    if factor_set_id is None:
        return outdated
    segment = ValuationSegment.__table__.c
    segment_ids = sa.select(segment.segment_id).where(
        segment.organization_id == Usage.organization_id, segment.valuation_id == current.c.id
    )
    of_set = sa.select(sa.true()).where(
        ValuationLine.organization_id == Usage.organization_id,
        (ValuationLine.valuation_id == current.c.id)
        | ValuationLine.valuation_id.in_(segment_ids.correlate(Usage, current)),
        EmissionFactor.id == ValuationLine.emission_factor_id,
        EmissionFactor.factor_set_id == factor_set_id,
    )
    return outdated.where(of_set.correlate(Usage, current).exists())


def choose_valuations(organization_id: int, *criteria: sa.ColumnElement[bool]) -> None:
    """Create the current valuations that are missing for the usages of an organization that meet the criteria."""
    region = effective_region(Usage.__table__).label("region")
    usages = (
        sa.select(Usage.usage_type_id, region, Usage.usage_at, Usage.usage_until)
        .join(Organization, Organization.id == Usage.organization_id)
        .where(Usage.organization_id == organization_id, *criteria)
    )
    ensure_valuations_of(organization_id, usages)


def apply_restatement(
    usages: sa.CTE, figures: sa.Select[Any], now: dt.datetime, organization_id: int, reason: str, restatement_id: int
) -> Any:
    """Give usages of an organization their current valuations, and return the rows of `figures`.

    usages: a locked SELECT of `with_outdated_valuation`. Each gets a new version that names the restatement.
    figures: a SELECT from `usages`; the same statement applies the restatement.
    """
    values: dict[str, Any] = {name: usages.c[name] for name in ("valuation_id", *FACTORS_OF_USAGE, *SPLIT)}
    values["restatement_id"] = restatement_id
    _, totals = _update_ctes(usages, organization_id, now, reason, values)
    _disable_nested_loops()
    rows = db.session.execute(figures.add_cte(totals)).all()
    refresh_hours(organization_id)
    return rows


def _update_ctes(
    usages: sa.CTE, organization_id: int, now: dt.datetime, reason: str, values: dict[str, Any]
) -> tuple[sa.CTE, sa.CTE]:
    """Return CTEs that set these values and archive the previous versions: the updated usages, and their totals."""
    written = {
        "version": Usage.version + 1,
        "recorded_at": sa.func.greatest(now, Usage.recorded_at + MIN_VERSION_AGE),
        "recorded_by": current_actor().id,
        "reason": reason,
    }
    criteria = (*_has_id(usages.c.id, organization_id), Usage.id == usages.c.id)
    update = sa.update(Usage).where(*criteria).values(values | written)
    updated = update.returning(*SOURCE_COLUMNS).cte("updated")
    archived = _archive_cte(usages, organization_id, now, reason, deleted=False)
    return updated, update_totals_cte(removed(archived), added(updated))


def _archive_cte(
    usages: sa.CTE, organization_id: int, now: dt.datetime, reason: str | None, *, deleted: bool
) -> sa.CTE:
    """Return a CTE that archives the current versions of these usages; columns SOURCE_COLUMNS."""
    archive = archive_versions(now, reason, *_has_id(usages.c.id, organization_id), deleted=deleted)
    return archive.returning(*(UsageVersion.__table__.c[column.key] for column in SOURCE_COLUMNS)).cte("archived")


def _has_id(ids: sa.ColumnElement[Any], organization_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the criteria of the organization's usages with the ids of a column. PostgreSQL reads each by its key."""
    array = sa.func.array(sa.select(ids).scalar_subquery(), type_=postgresql.ARRAY(sa.BigInteger))
    return Usage.organization_id == organization_id, Usage.id == sa.any_(array)


def _disable_nested_loops() -> None:
    """Disable nested-loop joins for the rest of the transaction, where PostgreSQL can hash instead.

    Its statistics may show a table as nearly empty that has just been filled. It would then prefer nested loops, which
    take minutes for a year of hourly usages.
    """
    db.session.execute(sa.text("SET LOCAL enable_nestloop = off"))

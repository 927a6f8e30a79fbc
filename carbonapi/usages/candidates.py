"""Candidates: usages about to be recorded, as a table of the statement, and the reasons why some cannot be."""

from collections.abc import Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ..accounts.models import Organization, User
from ..auth import find_visible, scope_criteria
from ..catalogue.factor_selection import FactorLookup, country_of, factors_of_type, missing_factor_error
from ..catalogue.models import LOCATION, UsageType
from ..catalogue.usage_valuations import current_key, ensure_valuations_of, missing_time, valuation_of
from ..catalogue.valuations import Valuation
from ..db import db, is_any_of
from ..errors import CarbonError, Conflict, ValidationFailed
from ..periods.service import closed_error, is_open
from .models import Usage
from .validation import UNKNOWN_USER, archived_type, unknown_usage_type

TABLE: Any = Usage.__table__
# The columns that a caller sets; the others are derived.
COLUMNS = {
    column.key: column.type
    for column in (
        Usage.user_id,
        Usage.usage_type_id,
        Usage.usage_at,
        Usage.usage_until,
        Usage.amount,
        Usage.unit,
        Usage.amount_in_type_unit,
        Usage.region,
        Usage.site_id,
        Usage.meter_id,
        Usage.quality,
        Usage.note,
        Usage.external_id,
        Usage.adjusts_closed_period_id,
    )
}

# The rules by which two usages are the same, and the messages for two usages of one request.
EXTERNAL_ID_RULE, METER_RULE = (
    next(rule for rule in (*TABLE.constraints, *TABLE.indexes) if rule.name == name)
    for name in ("uq_usages_external_id", "uq_usages_meter")
)
REPEATED_EXTERNAL_ID = "Another usage of this request has the same external_id."
REPEATED_METER = "Another usage of this request is of the same meter and time."


def candidate_row(values: dict[str, Any]) -> Any:
    """Return a usage as a table of one row, with the columns COLUMNS and `place`, which is 1."""
    columns = [sa.cast(values.get(name), type_).label(name) for name, type_ in COLUMNS.items()]
    return sa.select(sa.literal(1).label("place"), *columns).subquery("candidate")


def candidate_table(array: sa.ColumnElement[Any]) -> Any:
    """Return the usages of a JSON array as a table, with the columns COLUMNS and `place`. See `as_json`."""
    columns = [sa.column("place", sa.Integer), *(sa.column(name, type_) for name, type_ in COLUMNS.items())]
    table = sa.func.json_to_recordset(sa.cast(array, postgresql.JSON)).table_valued(*columns, name="candidate")
    return table.render_derived(with_types=True)


def as_json(usages: Mapping[int, Mapping[str, Any]]) -> str:
    """Return usages by their places as the array of `candidate_table`. Decimals are text, so they stay exact."""
    return orjson.dumps([{**values, "place": place} for place, values in usages.items()], default=str).decode()


def effective_region(candidates: Any) -> sa.ColumnElement[str]:
    """Return the region of each candidate, or that of its organization."""
    return sa.func.coalesce(candidates.c.region, Organization.region)


def valuation_lateral(candidates: Any) -> Any:
    """Return a lateral table with the current valuation of each candidate: `id`, FACTORS_OF_USAGE and `split_id`."""
    candidate = candidates.c
    return valuation_of(
        candidate.usage_type_id, effective_region(candidates), candidate.usage_at, candidate.usage_until
    )


def is_outdated() -> sa.ColumnElement[bool]:
    """Return the condition that a usage would now get other factors. It is false where none are chosen yet."""
    region = sa.func.coalesce(Usage.region, Organization.region)
    current = current_key(Usage.usage_type_id, region, Usage.usage_at, Usage.usage_until)
    now = (
        sa.select(current.c.key)
        .select_from(sa.join(Organization, current, sa.true()))
        .where(Organization.id == Usage.organization_id)
        .correlate(Usage)
        .scalar_subquery()
    )
    frozen = (Valuation.organization_id == Usage.organization_id, Valuation.id == Usage.valuation_id)
    frozen_key = sa.select(Valuation.key).where(*frozen).correlate(Usage).scalar_subquery()
    return sa.func.coalesce(now != frozen_key, sa.false())


def is_in_region(regions: Sequence[str]) -> sa.ColumnElement[bool]:
    """Return the condition that a usage is in one of these regions, by its own or its organization's."""
    of_organization = sa.select(Organization.region).where(Organization.id == Usage.organization_id).correlate(Usage)
    region = sa.func.coalesce(Usage.region, of_organization.scalar_subquery())
    return sa.or_(region.in_(regions), country_of(region).in_(regions))


def unrecordable(candidates: Any, *user_criteria: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Select the candidates that cannot be recorded, each with the rows that it refers to."""
    candidate = candidates.c
    valuation = valuation_lateral(candidates)
    is_time_open = is_open(User.organization_id, candidate.usage_at)
    return (
        sa.select(
            candidate.place,
            candidate.user_id,
            candidate.usage_type_id,
            candidate.usage_at,
            candidate.usage_until,
            missing_time(
                candidate.usage_type_id, effective_region(candidates), candidate.usage_at, candidate.usage_until
            ).label("missing_at"),
            User.id.label("known_user_id"),
            User.organization_id,
            effective_region(candidates).label("region"),
            UsageType.id.label("known_type_id"),
            UsageType.name,
            UsageType.unit,
            UsageType.archived,
            is_time_open.label("is_open"),
        )
        .select_from(candidates)
        .outerjoin(User, sa.and_(User.id == candidate.user_id, *scope_criteria(User), *user_criteria))
        .outerjoin(Organization, Organization.id == User.organization_id)
        .outerjoin(UsageType, UsageType.id == candidate.usage_type_id)
        .outerjoin(valuation, sa.true())
        .where(
            sa.or_(
                User.id.is_(None), UsageType.id.is_(None), UsageType.archived, valuation.c.id.is_(None), ~is_time_open
            )
        )
        .order_by(candidate.place)
    )


def find_errors(candidates: Any) -> dict[int, CarbonError]:
    """Create the valuations that candidates lack, and return the errors that prevent recording, by place."""
    rows = db.session.execute(unrecordable(candidates)).all()
    closed = cache(closed_error)  # The period of an organization that ends last covers all of its closed times.
    earliest = {row.organization_id: row.usage_at for row in sorted(rows, key=attrgetter("usage_at"), reverse=True)}
    errors: dict[int, CarbonError] = {}
    unvalued: list[Any] = []
    for row in rows:
        if row.known_user_id is None:
            errors[row.place] = ValidationFailed(UNKNOWN_USER % row.user_id, field="user_id")
        elif row.known_type_id is None:
            errors[row.place] = unknown_usage_type(row.usage_type_id)
        elif row.archived:
            errors[row.place] = archived_type(row)
        elif not row.is_open:
            errors[row.place] = closed(row.organization_id, earliest[row.organization_id])
        else:
            unvalued.append(row)
    return errors | _create_valuations(candidates, unvalued)


def _create_valuations(candidates: Any, unvalued: Sequence[Any]) -> dict[int, CarbonError]:
    """Create the valuations that these candidates lack, and return the errors of those without a factor, by place."""
    if not unvalued:
        return {}
    places = [row.place for row in unvalued]
    for organization_id in sorted({row.organization_id for row in unvalued}):
        each = unrecordable(candidates).order_by(None).subquery("unvalued").c
        usages = sa.select(each.usage_type_id, each.region, each.usage_at, each.usage_until)
        of_organization = (each.organization_id == organization_id, is_any_of(each.place, places))
        ensure_valuations_of(organization_id, usages.where(*of_organization))
    still = [row for row in db.session.execute(unrecordable(candidates)) if row.place in {*places}]
    # Many usages may lack the same factor.
    types, factors = find_visible(UsageType, {row.usage_type_id for row in still}), cache(factors_of_type)
    errors: dict[int, CarbonError] = {}
    for row in still:
        lookup = FactorLookup(row.usage_type_id, row.organization_id, row.region, LOCATION, row.missing_at)
        of_type = factors(row.usage_type_id, row.organization_id)
        errors[row.place] = missing_factor_error(types[row.usage_type_id], lookup, of_type)
    return errors


def find_repetitions(candidates: Any) -> dict[int, CarbonError]:
    """Return the errors of candidates with an external_id, or a meter and a time, that another usage has, by place."""
    candidate = candidates.c
    with_user = sa.join(candidates, User, sa.and_(User.id == candidate.user_id, *scope_criteria(User)))
    errors: dict[int, CarbonError] = {}
    # Of the columns of a rule, the first is the organization, which is that of the user.
    for rule, repeated in ((METER_RULE, REPEATED_METER), (EXTERNAL_ID_RULE, REPEATED_EXTERNAL_ID)):
        key = rule.columns.keys()[1:]
        is_taken = sa.exists().where(
            Usage.organization_id == User.organization_id, *(Usage.__table__.c[name] == candidate[name] for name in key)
        )
        count = sa.func.count().over(partition_by=[User.organization_id, *(candidate[name] for name in key)])
        rows = sa.select(candidate.place, is_taken.label("is_taken"), count.label("count")).select_from(with_user)
        found = rows.where(candidate[key[0]].is_not(None)).subquery("found")
        message, field = rule.info["message"], rule.info["field"]
        for row in db.session.execute(sa.select(found).where(found.c.is_taken | (found.c.count > 1))):
            errors[row.place] = Conflict(message if row.is_taken else repeated, field=field)
    return errors

"""Reject rows that the ledger cannot record, with the errors that a request for the same usage gets."""

import datetime as dt
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ...accounts.models import Organization, User
from ...auth import scope_criteria
from ...catalogue.factor_selection import FactorLookup, missing_factor_parts
from ...catalogue.models import LOCATION, EmissionFactor, UsageType
from ...catalogue.usage_valuations import ensure_valuations_of, is_allowed, valuation_of
from ...catalogue.valuations import Valuation
from ...db import db, row_security
from ...errors import MAX_ERRORS_SHOWN
from ...periods.service import closed_error, is_open, keep_open
from ...usages import candidates
from ...usages.models import Usage
from ...usages.validation import ARCHIVED_TYPE, UNKNOWN_USAGE_TYPE, UNKNOWN_USER
from ..models import CHANGED, NEW, REJECTED, Import
from ..staging import IS_WRITTEN, STAGED, Row, as_text, reject, valid_rows, values_table

LONGEST_DAY = dt.timedelta(hours=26)
EARLIEST = dt.datetime(1900, 1, 1, tzinfo=dt.UTC)  # Before any usage, so any closed period covers it.


def check_references(imp: Import, columns: Collection[str]) -> None:
    """Reject rows with an unknown user, an unknown or archived usage type, a closed period or no emission factor.

    Everything that the result depends on stays locked until the transaction ends, so the rows can then be written.
    """
    _lock_references(imp.organization_id)
    if _has_incomplete_series(imp.organization_id):
        _choose_valuations(imp.organization_id)
        if _has_incomplete_series(imp.organization_id):
            _reject_incomplete_rows(imp.organization_id)
    if imp.on_conflict == "replace":
        _reject_closed_corrections(imp.organization_id)


def _lock_references(organization_id: int) -> None:
    keep_open(organization_id)
    used = sa.select(Row.user_id, Row.usage_type_id).where(IS_WRITTEN).distinct().cte("used")
    type_ids = sa.select(used.c.usage_type_id)
    factors = sa.select(EmissionFactor.id).where(
        EmissionFactor.usage_type_id.in_(type_ids),
        EmissionFactor.organization_id.is_(None) | (EmissionFactor.organization_id == organization_id),
    )
    users = sa.select(User.id).where(User.organization_id == organization_id, User.id.in_(sa.select(used.c.user_id)))
    locked = (
        users.with_for_update(read=True, key_share=True),
        sa.select(UsageType.id).where(UsageType.id.in_(type_ids)).with_for_update(read=True),
        factors.with_for_update(read=True),
    )
    counts = (sa.select(sa.func.count()).select_from(rows.subquery()).scalar_subquery() for rows in locked)
    # Row-level security lets an organization read shared factors, but not lock them.
    with row_security.for_all_organizations():
        db.session.execute(sa.select(*counts))


def _choose_valuations(organization_id: int) -> None:
    """Create the missing valuations of the rows, so that the statement that records them only reads them."""
    region = sa.func.coalesce(Row.region, Organization.region).label("region")
    usages = (
        sa.select(Row.usage_type_id, region, Row.usage_at, Row.usage_until)
        .join(Organization, Organization.id == organization_id)
        .join(UsageType, UsageType.id == Row.usage_type_id)
        .where(IS_WRITTEN)
    )
    ensure_valuations_of(organization_id, usages)


def _has_incomplete_series(organization_id: int) -> bool:
    return bool(db.session.scalar(sa.select(_incomplete_series(organization_id).exists())))


def _incomplete_series(organization_id: int) -> sa.Select[Any]:
    """Select the series (user, usage type and region) that may have rows which the ledger cannot record.

    This is much cheaper than to check each row: valuations must cover the time from the first row of a series to the
    last. Only if more than one does, its intervals are checked one by one, because they may need split valuations.
    """
    key = (Row.user_id, Row.usage_type_id, Row.region)
    end = sa.func.coalesce(Row.usage_until + LONGEST_DAY, Row.usage_at)  # After the noon of its last day.
    times = (
        sa.func.min(Row.usage_at).label("first"),
        sa.func.max(Row.usage_at).label("last"),
        sa.func.min(sa.case((Row.usage_until.is_not(None), Row.usage_at - LONGEST_DAY))).label("first_interval"),
        sa.func.max(end).label("end"),
    )
    series = sa.select(*key, *times).where(IS_WRITTEN).group_by(*key).subquery("series")
    region = sa.func.coalesce(series.c.region, Organization.region)
    current = (
        Valuation.organization_id == Organization.id,
        Valuation.usage_type_id == series.c.usage_type_id,
        sa.func.coalesce(Valuation.region, "") == sa.func.coalesce(region, ""),
        Valuation.current,
        is_allowed(Valuation),
    )
    validity = sa.func.range_agg(sa.func.tstzrange(Valuation.valid_from, Valuation.valid_until))
    span = sa.func.tstzrange(series.c.first, series.c.last, "[]")
    is_covered = (
        sa.select(validity.op("@>", is_comparison=True)(span))
        .where(*current)
        .correlate(series, Organization)
        .scalar_subquery()
    )
    holds_intervals = sa.func.tstzrange(Valuation.valid_from, Valuation.valid_until).op("@>", is_comparison=True)(
        sa.func.tstzrange(series.c.first_interval, series.c.end, "[]")
    )
    valuation = valuation_of(Row.usage_type_id, region, Row.usage_at, Row.usage_until)
    is_unvalued = (
        sa.select(Row.line)
        .outerjoin(valuation, sa.true())
        .where(
            IS_WRITTEN,
            Row.usage_until.is_not(None),
            Row.user_id == series.c.user_id,
            Row.usage_type_id == series.c.usage_type_id,
            Row.region.is_not_distinct_from(series.c.region),
            valuation.c.id.is_(None),
        )
    )
    lacks_split = (
        series.c.first_interval.is_not(None)
        & ~sa.exists().where(*current, holds_intervals).correlate(series, Organization)
        & is_unvalued.correlate(series, Organization).exists()
    )
    is_visible = sa.and_(User.id == series.c.user_id, User.organization_id == organization_id, *scope_criteria(User))
    return (
        sa.select(series.c.user_id)
        .select_from(series)
        .outerjoin(User, is_visible)
        .outerjoin(Organization, Organization.id == User.organization_id)
        .outerjoin(UsageType, UsageType.id == series.c.usage_type_id)
        .where(
            sa.or_(
                User.id.is_(None),
                UsageType.id.is_(None),
                UsageType.archived,
                ~is_open(organization_id, series.c.first),
                ~sa.func.coalesce(is_covered, sa.false()),
                lacks_split,
            )
        )
    )


def _reject_incomplete_rows(organization_id: int) -> None:
    row = _incomplete_rows(organization_id).c
    time, missing_time = as_text(row.usage_at), as_text(row.missing_at)
    type_column = sa.case((Row.usage_type.is_not(None), "usage_type"), else_="usage_type_id")
    type_cell = sa.func.coalesce(Row.usage_type, as_text(row.usage_type_id))
    user_column = sa.case((Row.user_email.is_not(None), "user_email"), else_="user_id")
    user_cell = sa.func.coalesce(Row.user_email, as_text(row.user_id))
    closed = sa.literal(str(closed_error(organization_id, EARLIEST)))
    factor_cell = sa.case((row.field == "region", row.region), else_=time)
    errors: list[tuple[Any, Any, Any, Any]] = [
        (row.known_user_id.is_(None), user_column, user_cell, sa.func.format(UNKNOWN_USER, user_cell)),
        (row.known_type_id.is_(None), type_column, type_cell, sa.func.format(UNKNOWN_USAGE_TYPE, type_cell)),
        (row.archived, type_column, type_cell, sa.func.format(ARCHIVED_TYPE, row.name, row.unit)),
        (~row.is_open, "usage_at", time, closed),
        (sa.true(), row.field, factor_cell, sa.func.concat(row.before, missing_time, row.after)),
    ]
    error = sa.case(
        *(
            (applies, sa.func.jsonb_build_object("column", column, "found", found, "message", message))
            for applies, column, found, message in errors
        )
    )
    rejected = {"outcome": REJECTED, "errors": sa.func.jsonb_build_array(error)}
    db.session.execute(sa.update(STAGED).where(Row.line == row.place).values(rejected))


def _reject_closed_corrections(organization_id: int) -> None:
    is_closed = sa.exists().where(
        Usage.organization_id == organization_id,
        Usage.id == Row.usage_id,
        ~is_open(organization_id, Usage.usage_at),
    )
    message = sa.literal("The usage to correct is in a closed period.")
    reject("usage_at", Row.usage_at, message, Row.outcome == CHANGED, is_closed)


def _incomplete_rows(organization_id: int) -> Any:
    """Return the rows that the ledger cannot record, each with the parts of the message about a missing factor.

    A message has a text `before` and `after` the time of the row, and names a `field`.
    """
    incomplete = candidates.unrecordable(valid_rows(NEW, CHANGED), User.organization_id == organization_id)
    rows = incomplete.order_by(None).subquery("incomplete")
    cause, messages = _factor_messages(organization_id, rows)
    table = values_table(messages, cause=sa.Text, before=sa.Text, after=sa.Text, field=sa.Text)
    defaults = {
        "before": sa.func.format("%s (%s) has no emission factor at ", rows.c.name, rows.c.unit),
        "after": ".",
        "field": "usage_at",
    }
    columns = (sa.func.coalesce(table.c[name], default).label(name) for name, default in defaults.items())
    return sa.select(*rows.c, *columns).outerjoin_from(rows, table, table.c.cause == cause).subquery("explained")


def _factor_messages(organization_id: int, rows: Any) -> tuple[sa.ColumnElement[str], list[tuple[str, ...]]]:
    """Return the cause of a row's missing factor as text, and the message parts of the first causes.

    Rows with the same usage type and region between two validity limits of the type's factors share a cause.
    """
    limits_before = (
        sa.func.count().filter(limit <= rows.c.missing_at)
        for limit in (EmissionFactor.valid_from, EmissionFactor.valid_until)
    )
    validity = sa.select(sa.func.concat_ws("/", *limits_before))
    validity = validity.where(EmissionFactor.usage_type_id == rows.c.usage_type_id)
    wanted = (rows.c.usage_type_id, rows.c.region)
    texts = (sa.func.coalesce(sa.cast(column, sa.Text), "") for column in wanted)
    is_without_factor = sa.and_(rows.c.known_user_id.is_not(None), ~rows.c.archived, rows.c.is_open)
    cause = sa.case((is_without_factor, sa.func.concat_ws(" ", *texts, validity.scalar_subquery())))
    each = sa.select(cause.label("cause"), *wanted, rows.c.missing_at, rows.c.place).where(is_without_factor)
    row = each.subquery("each").c
    key = (row.cause, row.usage_type_id, row.region)
    first = (
        sa.select(*key, sa.func.min(row.missing_at).label("moment"))
        .group_by(*key)
        .order_by(sa.func.min(row.place))
        .limit(MAX_ERRORS_SHOWN)
    )
    messages: list[tuple[str, ...]] = []
    for found in db.session.execute(first).all():
        usage_type = db.session.get_one(UsageType, found.usage_type_id)
        lookup = FactorLookup(usage_type.id, organization_id, found.region, LOCATION, found.moment)
        messages.append((found.cause, *missing_factor_parts(usage_type, lookup)))
    return cause, messages

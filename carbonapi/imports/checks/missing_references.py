"""Lines that the ledger cannot record, and what it lacks for them: each is told what a request would be told."""

import datetime as dt
from typing import Any

import sqlalchemy as sa

from ...accounts.models import User
from ...catalogue.factor_selection import FactorLookup, missing_factor_parts
from ...catalogue.models import EmissionFactor, UsageType
from ...db import count_affected, db
from ...periods.service import closed_error, is_open
from ...usages import candidates
from ...usages.models import Usage
from ...usages.validation import ARCHIVED_TYPE, UNKNOWN_USAGE_TYPE, UNKNOWN_USER
from ..formats.text_files import MAX_ERRORS_SHOWN
from ..staging import STAGED, Row, add_error, as_text, valid_rows, values_table

EARLIEST = dt.datetime(1900, 1, 1, tzinfo=dt.UTC)  # Before any usage: books that are closed are closed over it.


def add_missing_reference_errors(organization_id: int, *criteria: sa.ColumnElement[bool]) -> int:
    """Let good lines of which this holds have as a fault what the ledger lacks to record them. Gives how many have.

    Only lines that lack a factor in another way than the first hundred ways are told no more than that.
    """
    lack = _lacking(organization_id, criteria).c
    time = as_text(lack.usage_at)
    type_column = sa.case((Row.usage_type.is_not(None), "usage_type"), else_="usage_type_id")
    type_given = sa.func.coalesce(Row.usage_type, as_text(lack.usage_type_id))
    user_column = sa.case((Row.user_email.is_not(None), "user_email"), else_="user_id")
    user_given = sa.func.coalesce(Row.user_email, as_text(lack.user_id))
    no_user = sa.func.format(UNKNOWN_USER, user_given)
    no_type = sa.func.format(UNKNOWN_USAGE_TYPE, type_given)
    archived = sa.func.format(ARCHIVED_TYPE, lack.name, lack.unit)
    closed = sa.literal(str(closed_error(organization_id, EARLIEST)))
    in_field = sa.case((lack.field == "region", lack.region), (lack.field == "method", lack.method), else_=time)
    kinds: list[tuple[Any, Any, Any, Any]] = [
        (lack.known_user_id.is_(None), user_column, user_given, no_user),
        (lack.known_type_id.is_(None), type_column, type_given, no_type),
        (lack.archived, type_column, type_given, archived),
        (~lack.is_open, "usage_at", time, closed),
        (sa.true(), lack.field, in_field, sa.func.concat(lack.before, time, lack.after)),
    ]
    errors = [
        (applies, sa.func.jsonb_build_object("column", column, "found", found, "message", message))
        for applies, column, found, message in kinds
    ]
    marking = sa.update(STAGED).where(Row.place == lack.place)
    marking = marking.values(errors=sa.func.jsonb_build_array(sa.case(*errors)))
    return count_affected(marking)


def add_closed_period_errors(organization_id: int) -> int:
    """Let good lines that would correct a usage over which the books are closed have that as a fault."""
    closed = sa.exists().where(
        Usage.organization_id == organization_id,
        Usage.id == Row.usage_id,
        ~is_open(organization_id, Usage.usage_at),
    )
    message = sa.literal("The books are closed over the usage that it would correct.")
    return add_error("usage_at", Row.usage_at, message, ~Row.same, closed)


def _lacking(organization_id: int, criteria: tuple[sa.ColumnElement[bool], ...]) -> Any:
    """The lines that the ledger cannot record, as `given.lacking` has them.

    Beside each, for a missing factor: what is told `before` and `after` the moment, and the `field` at fault.
    """
    lack = (
        candidates.unrecordable(valid_rows(*criteria), User.organization_id == organization_id)
        .order_by(None)
        .subquery("lack")
    )
    way, ways = _ways(organization_id, lack)
    source: Any = lack
    told: list[Any] = [sa.null(), sa.null(), sa.null()]
    if ways:
        around = values_table(ways, way=sa.Text, before=sa.Text, after=sa.Text, field=sa.Text)
        source = lack.outerjoin(around, around.c.way == way)
        told = [around.c.before, around.c.after, around.c.field]
    otherwise = {
        "before": sa.func.format("%s (%s) has no emission factor at ", lack.c.name, lack.c.unit),
        "after": ".",
        "field": "usage_at",
    }
    columns = [sa.func.coalesce(text, otherwise[name]).label(name) for name, text in zip(otherwise, told, strict=True)]
    return sa.select(*lack.c, *columns).select_from(source).subquery("lacking")


def _ways(organization_id: int, lack: Any) -> tuple[sa.ColumnElement[str], list[tuple[str, ...]]]:
    """The way in which a line lacks a factor, if it does; and for the first hundred ways, what is told.

    It is one way for a usage type, region and method between two times at which a factor of the type begins or ends.
    """
    begun, ended = (
        sa.func.count().filter(edge <= lack.c.usage_at)
        for edge in (EmissionFactor.valid_from, EmissionFactor.valid_until)
    )
    edges = sa.select(sa.func.concat(begun, "/", ended)).where(EmissionFactor.usage_type_id == lack.c.usage_type_id)
    wanted = (lack.c.usage_type_id, lack.c.region, lack.c.method)
    is_way = sa.and_(lack.c.known_user_id.is_not(None), ~lack.c.archived, lack.c.is_open)
    way = sa.case(
        (
            is_way,
            sa.func.concat_ws(
                " ", *(sa.func.coalesce(sa.cast(part, sa.Text), "") for part in wanted), edges.scalar_subquery()
            ),
        )
    )
    each = sa.select(way.label("way"), *wanted, lack.c.usage_at, lack.c.place).where(is_way).subquery("each")
    first = (
        sa.select(each.c.way, *(each.c[part.name] for part in wanted), sa.func.min(each.c.usage_at).label("moment"))
        .group_by(each.c.way, *(each.c[part.name] for part in wanted))
        .order_by(sa.func.min(each.c.place))
        .limit(MAX_ERRORS_SHOWN)
    )
    ways: list[tuple[str, ...]] = []
    for row in db.session.execute(first).all():
        usage_type = db.session.get_one(UsageType, row.usage_type_id)
        want = FactorLookup(usage_type.id, organization_id, row.region, row.method, row.moment)
        ways.append((row.way, *missing_factor_parts(usage_type, want)))
    return way, ways

"""Emissions over time, added up by PostgreSQL."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ..accounts.models import Organization, User
from ..catalogue.models import UsageType
from ..db import db
from ..errors import Invalid
from ..usages.models import Usage
from .buckets import boundaries

# What usages can be grouped by: the column that tells the groups apart, and the one that names them.
GROUPS: dict[str, tuple[Any, Any]] = {
    "usage_type": (Usage.usage_type_id, UsageType.name),
    "user": (Usage.user_id, User.name),
    "scope": (UsageType.scope, sa.literal("scope ").op("||")(sa.cast(UsageType.scope, sa.Text))),
    "organization": (Usage.organization_id, Organization.name),
}
Figures = dict[str, Any]


def trend(
    usages: sa.Select[Any],
    bucket: str,
    timezone: str,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    group_by: str | None = None,
) -> list[Figures]:
    """kg CO2e and number of usages per `bucket` of local time in `timezone`, oldest first, empty buckets included.

    usages: a SELECT of Usage, as the actor may see and has narrowed them.
    start, end: the range [start, end); left out, it is from the first usage to the last, which costs a statement more.
    """
    if start is None or end is None:
        first, last = db.session.execute(
            usages.with_only_columns(sa.func.min(Usage.usage_at), sa.func.max(Usage.usage_at))
        ).one()
        if first is None:
            return []
    edges = boundaries(start or first, end or last + dt.timedelta(microseconds=1), bucket, timezone)
    rows = list(_sums(usages, edges, group_by))
    refuse_two_methods(row for _, _, row in rows)
    series = [
        _bucket(bucket_start, bucket_end, start, end, with_groups=group_by is not None)
        for bucket_start, bucket_end in zip(edges, edges[1:], strict=False)
    ]
    for place, group, row in rows:
        figures = figures_of(row)
        if group is None:
            series[place - 1] |= figures
        else:
            series[place - 1]["groups"].append(group | figures)
    return series


def _bucket(
    bucket_start: dt.datetime,
    bucket_end: dt.datetime,
    start: dt.datetime | None,
    end: dt.datetime | None,
    with_groups: bool,
) -> Figures:
    """An empty bucket. It is partial if the range asked for cuts it."""
    bucket = {
        "bucket_start": bucket_start,
        "bucket_end": bucket_end,
        "co2e_kg": 0,
        "usage_count": 0,
        "partial": (start is not None and bucket_start < start) or (end is not None and end < bucket_end),
    }
    return bucket | {"groups": []} if with_groups else bucket


def _sums(
    usages: sa.Select[Any], edges: list[dt.datetime], group_by: str | None
) -> Iterable[tuple[int, Figures | None, Any]]:
    """The sums of every bucket that is not empty, by its place from 1: of the whole first, then of each group."""
    place = sa.func.width_bucket(Usage.usage_at, sa.cast(edges, ARRAY(sa.DateTime(timezone=True))), type_=sa.Integer)
    columns = [place.label("place"), *sums()]
    statement = with_names(usages)
    if group_by is None:
        for row in db.session.execute(statement.with_only_columns(*columns).group_by("place")):
            yield row.place, None, row
        return
    key, name = GROUPS[group_by]
    grouped = (
        statement.with_only_columns(
            *columns, key.label("id"), sa.func.min(name).label("name"), sa.func.grouping(key).label("is_whole")
        )
        .group_by(sa.func.grouping_sets(sa.tuple_(sa.text("place")), sa.tuple_(sa.text("place"), key)))
        .order_by(sa.text("is_whole DESC"), key.nulls_last())
    )
    for row in db.session.execute(grouped):
        yield row.place, None if row.is_whole else {"id": row.id, "name": row.name}, row


def with_names(usages: sa.Select[Any]) -> sa.Select[Any]:
    """The usages with what names their groups."""
    return (
        usages.join(UsageType, UsageType.id == Usage.usage_type_id)
        .join(User, (User.organization_id == Usage.organization_id) & (User.id == Usage.user_id))
        .join(Organization, Organization.id == Usage.organization_id)
    )


def sums() -> tuple[sa.ColumnElement[Any], ...]:
    """What is added up of usages. The amount means something only where all are of one unit and type."""
    one_type = sa.func.min(Usage.usage_type_id) == sa.func.max(Usage.usage_type_id)
    return (
        sa.func.sum(Usage.co2e_kg).label("co2e_kg"),
        sa.func.count().label("usage_count"),
        sa.case((one_type, sa.func.sum(Usage.amount_in_type_unit))).label("amount"),
        sa.case((one_type, sa.func.min(UsageType.unit))).label("unit"),
        sa.func.min(Usage.method).label("first_method"),
        sa.func.max(Usage.method).label("last_method"),
    )


def refuse_two_methods(rows: Iterable[Any]) -> None:
    """Raise Invalid if the usages that were added up are of both methods: these tell one emission in two ways."""
    if len({method for row in rows for method in (row.first_method, row.last_method) if method}) > 1:
        message = (
            "These usages are location-based and market-based, which are never added together. Ask for one method."
        )
        raise Invalid(message, {"query": {"method": [message]}})


def figures_of(row: Any) -> Figures:
    """The figures of one row of sums; amount and unit only where they mean something."""
    figures = {"co2e_kg": row.co2e_kg, "usage_count": row.usage_count}
    return figures if row.amount is None else figures | {"amount": row.amount, "unit": row.unit}

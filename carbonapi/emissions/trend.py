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
from .comparison import is_folded, per_day, previous

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
    compare: str | None = None,
) -> list[Figures]:
    """kg CO2e and number of usages per `bucket` of local time in `timezone`, oldest first, empty buckets included.

    usages: a SELECT of Usage, as the actor may see and has narrowed them, but for the range.
    start, end: the range [start, end); left out, it is from the first usage to the last, which costs a statement more.
    compare: what stands beside each bucket as `previous`; comparison.py tells the kinds.
    """
    ranged = _within(usages, start, end)
    if start is None or end is None:
        first, last = db.session.execute(
            ranged.with_only_columns(sa.func.min(Usage.usage_at), sa.func.max(Usage.usage_at))
        ).one()
        if first is None:
            return []
    edges = boundaries(start or first, end or last + dt.timedelta(microseconds=1), bucket, timezone)
    series = [
        _bucket(bucket_start, bucket_end, start, end, with_groups=group_by is not None)
        for bucket_start, bucket_end in zip(edges, edges[1:], strict=False)
    ]
    statement: Any = _sums(ranged, edges, group_by)
    if compare is not None:
        before = previous(edges, start or edges[0], end or edges[-1], compare, bucket, timezone)
        statement = statement.union_all(
            _sums(_within(usages, before.start, before.end), before.edges, is_previous=True)
        )
        _stand_beside(series, before.edges, bucket)
    rows = db.session.execute(statement.order_by(sa.text("is_whole DESC, group_id NULLS LAST"))).all()
    refuse_two_methods(rows)
    for row in rows:
        found = series[row.place - 1]
        if row.is_previous:
            found["previous"] |= figures_of(row)
        elif row.is_whole:
            found |= figures_of(row)
        else:
            found["groups"].append({"id": row.group_id, "name": row.group_name} | figures_of(row))
    if compare is not None:
        for found in (*series, *(found["previous"] for found in series)):
            found["co2e_kg_per_day"] = per_day(found["co2e_kg"], found["bucket_end"] - found["bucket_start"])
    return series


def _within(usages: sa.Select[Any], start: dt.datetime | None, end: dt.datetime | None) -> sa.Select[Any]:
    """The usages of [start, end), as far as these are given."""
    usages = usages if start is None else usages.where(Usage.usage_at >= start)
    return usages if end is None else usages.where(Usage.usage_at < end)


def _stand_beside(series: list[Figures], edges: list[dt.datetime], bucket: str) -> None:
    """Give every bucket an empty `previous` between the edges that it is compared with."""
    for found, previous_start, previous_end in zip(series, edges, edges[1:], strict=False):
        length = found["bucket_end"] - found["bucket_start"]
        found["previous"] = {
            "bucket_start": previous_start,
            "bucket_end": previous_end,
            "co2e_kg": 0,
            "usage_count": 0,
            "folded": is_folded(bucket, length, previous_end - previous_start),
        }


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
    usages: sa.Select[Any], edges: list[dt.datetime], group_by: str | None = None, *, is_previous: bool = False
) -> sa.Select[Any]:
    """The sums of every bucket that is not empty, by its place from 1: of the whole, and of each group."""
    place = sa.func.width_bucket(Usage.usage_at, sa.cast(edges, ARRAY(sa.DateTime(timezone=True))), type_=sa.Integer)
    columns: list[Any] = [place.label("place"), sa.literal(is_previous).label("is_previous"), *sums()]
    statement = with_names(usages)
    if group_by is None:
        # Without groups a bucket is its own whole. The two columns stand here so that statements can be united.
        no_group: tuple[Any, ...] = (
            sa.cast(None, sa.BigInteger).label("group_id"),
            sa.cast(None, sa.Text).label("group_name"),
        )
        return statement.with_only_columns(*columns, *no_group, sa.literal(1).label("is_whole")).group_by("place")
    key, name = GROUPS[group_by]
    group = (sa.cast(key, sa.BigInteger).label("group_id"), sa.func.min(name).label("group_name"))
    return statement.with_only_columns(*columns, *group, sa.func.grouping(key).label("is_whole")).group_by(
        sa.func.grouping_sets(sa.tuple_(sa.text("place")), sa.tuple_(sa.text("place"), key))
    )


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

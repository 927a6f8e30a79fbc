"""The valuation of a usage, which is split if its factors change within an interval.

A usage at an instant has the current valuation of its instant, and so has an interval that is shorter than a day. A
longer interval, such as a bill, has those of its days if the organization has set `factor_split` to `days`: each local
day has the valuation of its noon, so a change of a factor takes effect at the nearest midnight. If they differ, the
interval has a split valuation, whose segments are the valuations of its days. All intervals that begin and end with the
same valuations share one.

The part of a segment is prorated on the whole interval, so the parts add up to its amount exactly.
"""

import datetime as dt
from itertools import pairwise
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from ..accounts.models import LATEST, Organization
from ..db import db
from ..local_time.clock import MICROSECOND, TIMESTAMPTZ
from .factor_selection import FactorLookup, missing_factor_error
from .models import LOCATION, UsageType
from .valuation_choice import ensure_valuations
from .valuations import FACTORS_OF_USAGE, Valuation, ValuationLine, ValuationSegment

VALUATION: Any = Valuation.__table__
# The columns that a valuation with segments has from the first.
COPIED = (
    "organization_id", "usage_type_id", "region", "valid_from", "valid_until", "emission_factor_id", "factor",
    "market_factor", "scope", "category", "outside_of_scopes", "location_total", "market_total",
)  # fmt: skip


def factor_times(usage_at: Any, usage_until: Any) -> Any:
    """Return a lateral table of the times whose valuations a usage of an Organization begins and ends with.

    Columns: `first` and `last`, which are the same for an instant.
    """
    usage_at, usage_until = sa.type_coerce(usage_at, TIMESTAMPTZ), sa.type_coerce(usage_until, TIMESTAMPTZ)
    setting = (usage_at, usage_until, Organization.timezone, Organization.factor_split)
    first, last = (
        sa.func.factor_time(instant, *setting, type_=TIMESTAMPTZ) for instant in (usage_at, usage_until - MICROSECOND)
    )
    times = sa.select(first.label("first"), last.label("last"))
    # OFFSET keeps PostgreSQL from computing the times again for each row that it compares them with.
    return times.offset(sa.literal_column("0")).correlate_except().lateral("factor_times")


def valuation_of(usage_type_id: Any, region: Any, usage_at: Any, usage_until: Any) -> Any:
    """Return a lateral table of the current valuation of a usage of an Organization, with `id` and FACTORS_OF_USAGE.

    `split_id` is the id if the valuation is split, or null. The arguments are values, or columns.
    """
    times = factor_times(usage_at, usage_until)
    split_id = sa.case((VALUATION.c.split, VALUATION.c.id)).label("split_id")
    return (
        sa.select(VALUATION.c.id, *(VALUATION.c[name] for name in FACTORS_OF_USAGE), split_id)
        .select_from(times.join(VALUATION, sa.true()))
        .where(
            *_is_current(VALUATION, Organization.id, usage_type_id, region),
            is_allowed(VALUATION.c),
            _holds(VALUATION.c.valid_from, VALUATION.c.valid_until, times.c.first),
            _holds(VALUATION.c.last_valid_from, VALUATION.c.last_valid_until, times.c.last),
        )
        .correlate_except(VALUATION, times)
        .lateral("valuation")
    )


def current_key(usage_type_id: Any, region: Any, usage_at: Any, usage_until: Any) -> Any:
    """Return a lateral table of the `key` that a usage of an Organization would get now.

    It does not need a split valuation. The key is null if there is no valuation.
    """
    times, each = factor_times(usage_at, usage_until), VALUATION.alias("each")
    rows = (
        _keys(each)
        .select_from(times.join(each, sa.true()))
        .where(
            *_is_current(each, Organization.id, usage_type_id, region),
            is_allowed(each.c),
            _is_plain(each),
            each.c.valid_from <= times.c.last,
            each.c.valid_until.is_(None) | (each.c.valid_until > times.c.first),
        )
        .correlate_except(each, times)
    )
    return _key(rows).lateral("current_key")


def missing_time(usage_type_id: Any, region: Any, usage_at: Any, usage_until: Any) -> Any:
    """Return the first time of a usage of an Organization that has no valuation, as a scalar subquery."""
    times, each = factor_times(usage_at, usage_until), VALUATION.alias("each")
    validity = sa.func.range_agg(sa.func.tstzrange(each.c.valid_from, each.c.valid_until))
    of_place = (*_is_current(each, Organization.id, usage_type_id, region), is_allowed(each.c))
    spans = sa.select(sa.func.unnest(validity).label("span")).where(*of_place).correlate_except(each).lateral("spans")
    is_held = spans.c.span.op("@>", is_comparison=True)(times.c.first)
    end = sa.select(sa.func.upper(spans.c.span, type_=TIMESTAMPTZ)).select_from(times.join(spans, is_held))
    return sa.func.coalesce(end.correlate_except(times, spans).scalar_subquery(), usage_at)


def choose_valuation(
    organization_id: int,
    usage_type: UsageType,
    region: str | None,
    usage_at: dt.datetime,
    usage_until: dt.datetime | None = None,
) -> sa.Row[Any]:
    """Return the current valuation of a usage: see `valuation_of`. Raise MissingFactor for a time without a factor."""
    usage = [
        sa.cast(value, type_)
        for value, type_ in (
            (usage_type.id, sa.BigInteger), (region, sa.Text), (usage_at, TIMESTAMPTZ), (usage_until, TIMESTAMPTZ)
        )
    ]  # fmt: skip
    of_organization = Organization.id == organization_id
    valuation = valuation_of(*usage)
    query = sa.select(valuation).select_from(sa.join(Organization, valuation, sa.true())).where(of_organization)
    found = db.session.execute(query).one_or_none()
    if found is None:
        names = ("usage_type_id", "region", "usage_at", "usage_until")
        row = sa.select(*(value.label(name) for value, name in zip(usage, names, strict=True)))
        ensure_valuations_of(organization_id, row)
        found = db.session.execute(query).one_or_none()
    if found is None:
        moment = db.session.scalar(sa.select(missing_time(*usage)).select_from(Organization).where(of_organization))
        lookup = FactorLookup(usage_type.id, organization_id, region, LOCATION, moment)
        raise missing_factor_error(usage_type, lookup)
    return found


def ensure_valuations_of(organization_id: int, usages: sa.Select[*tuple[Any, ...]]) -> None:
    """Create the current valuations that usages of an organization lack. A time without a factor has none.

    usages: a SELECT of `usage_type_id`, `region`, `usage_at` and `usage_until`.
    """
    usage = usages.subquery("usages_to_value").c
    times = factor_times(usage.usage_at, usage.usage_until)
    key = (usage.usage_type_id, usage.region)
    of_organization = Organization.id == organization_id
    from_usages = sa.join(Organization, usage.usage_at.table, of_organization).join(times, sa.true())
    has_days = sa.func.bool_or(times.c.first < times.c.last)
    series = sa.select(*key, sa.func.min(times.c.first), sa.func.max(times.c.last), has_days).select_from(from_usages)
    found = db.session.execute(series.group_by(*key)).all()
    for type_id, region, start, end, _ in found:
        ensure_valuations(organization_id, db.session.get_one(UsageType, type_id), region, start, end)
    if not any(row[-1] for row in found):
        return
    # The time zone of an organization does not change while its days divide a valuation.
    timezone = db.session.scalar(
        sa.select(Organization.timezone).where(of_organization).with_for_update(read=True, key_share=True)
    )
    first, last, split = (VALUATION.alias(name) for name in ("first", "last", "split"))
    of_place = [_is_current(each, organization_id, *key) for each in (first, last, split)]
    is_chosen = sa.exists().where(
        *of_place[2],
        split.c.valid_from == first.c.valid_from,
        split.c.last_valid_from == last.c.valid_from,
    )
    is_first = _holds(first.c.valid_from, first.c.valid_until, times.c.first)
    is_last = _holds(last.c.valid_from, last.c.valid_until, times.c.last)
    missing = (
        sa.select(*key, first.c.valid_from, last.c.valid_from)
        .select_from(
            from_usages.join(first, sa.and_(*of_place[0], _is_plain(first), is_first)).join(
                last, sa.and_(*of_place[1], _is_plain(last), is_last)
            )
        )
        .where(times.c.first < times.c.last, first.c.id != last.c.id, ~is_chosen)
        .distinct()
    )
    for type_id, region, first_from, last_from in db.session.execute(missing).all():
        _add_split(organization_id, timezone, type_id, region, first_from, last_from)


def forget_splits(organization_id: int) -> None:
    """Let later usages get other split valuations, because the days of an organization change."""
    db.session.execute(
        sa.update(VALUATION)
        .where(VALUATION.c.organization_id == organization_id, VALUATION.c.current, VALUATION.c.split)
        .values(current=False)
    )


def valuations_in_scopes(is_in_scopes: sa.ColumnElement[bool]) -> sa.CompoundSelect[Any]:
    """Select the keys of valuations with a line that meets a criterion of ValuationLine, in a segment if split."""
    line, segment = ValuationLine.__table__.c, ValuationSegment.__table__.c
    of_line = (segment.organization_id == line.organization_id) & (segment.segment_id == line.valuation_id)
    return sa.union_all(
        sa.select(line.organization_id, line.valuation_id).where(is_in_scopes),
        sa.select(segment.organization_id, segment.valuation_id)
        .join_from(ValuationSegment.__table__, ValuationLine.__table__, of_line)
        .where(is_in_scopes),
    )


def usage_parts(usage: Any, valuation_id: Any, split_id: Any, start: Any, end: Any, name: str) -> Any:
    """Return a lateral table of the parts of an interval within [start, end): one for each segment of its valuation.

    usage: the columns of the interval. split_id: the valuation if it is split, or null.
    Columns: part_valuation_id, part_start, part_end, part_amount; and is_first, of the first part within the range.
    """
    parts: Any = sa.func.usage_parts(
        usage.organization_id, valuation_id, split_id, usage.amount_in_type_unit, usage.usage_at, usage.usage_until,
        sa.type_coerce(start, TIMESTAMPTZ), sa.type_coerce(end, TIMESTAMPTZ),
    )  # fmt: skip
    columns: dict[str, Any] = {"part_valuation_id": sa.BigInteger(), "part_start": TIMESTAMPTZ, "part_end": TIMESTAMPTZ,
               "part_amount": sa.Numeric(), "is_first": sa.Boolean()}  # fmt: skip
    return parts.table_valued(*(sa.column(each, type_) for each, type_ in columns.items())).lateral(name)


def _add_split(
    organization_id: int,
    timezone: str | None,
    usage_type_id: int,
    region: str | None,
    first_from: dt.datetime,
    last_from: dt.datetime,
) -> None:
    """Make a valuation current whose segments are the valuations from one to another, unless there is a gap."""
    each = VALUATION.alias("each")
    of_place = (*_is_current(each, organization_id, usage_type_id, region), _is_plain(each))
    criteria = (*of_place, each.c.valid_from.between(first_from, last_from))
    starts_at = sa.func.factor_change(timezone, each.c.valid_from).label("starts_at")
    rows = db.session.execute(sa.select(each, starts_at).where(*criteria).order_by(each.c.valid_from)).all()
    if any(row.valid_until != following.valid_from for row, following in pairwise(rows)):
        return
    segments: list[Any] = []
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        is_empty = following is not None and row.starts_at == following.starts_at
        if not is_empty and not (segments and segments[-1].key == row.key):
            segments.append(row)
    first, last = rows[0], rows[-1]
    values = {name: getattr(first, name) for name in COPIED} | {
        "current": True,
        "key": _key(_keys(each).where(*criteria)).scalar_subquery(),
        "last_valid_from": last.valid_from,
        "last_valid_until": last.valid_until,
        "split": len({row.key for row in rows}) > 1,
        "provisional": any(row.provisional for row in rows),
    }
    # Another transaction may have chosen at the same time.
    added = insert(Valuation).values(values).on_conflict_do_nothing().returning(Valuation.id)
    valuation_id = db.session.scalar(added)
    if valuation_id is None:
        return
    keys = {"organization_id": organization_id, "valuation_id": valuation_id}
    if not values["split"]:
        line: Any = ValuationLine.__table__
        copied = [column for column in line.c if column.name not in keys]
        of_first = sa.select(*map(sa.literal, keys.values()), *copied).where(
            line.c.organization_id == organization_id, line.c.valuation_id == first.id
        )
        db.session.execute(sa.insert(line).from_select([*keys, *(column.name for column in copied)], of_first))
        return
    ends = [row.starts_at for row in segments[1:]] + [None]
    parts = [
        {"starts_at": row.starts_at, "ends_at": end, "segment_id": row.id}
        for row, end in zip(segments, ends, strict=True)
    ]
    db.session.execute(sa.insert(ValuationSegment), [keys | part for part in parts])


def _is_current(valuation: Any, organization_id: Any, usage_type_id: Any, region: Any) -> tuple[Any, ...]:
    return (
        valuation.c.organization_id == organization_id,
        valuation.c.usage_type_id == usage_type_id,
        sa.func.coalesce(valuation.c.region, "") == sa.func.coalesce(region, ""),
        valuation.c.current,
    )


def is_allowed(valuation: Any) -> sa.ColumnElement[bool]:
    """Return whether an Organization takes the valuation, which may be provisional."""
    return ~valuation.provisional | (Organization.missing_factor == LATEST)  # type: ignore[no-any-return]


def _is_plain(valuation: Any) -> sa.ColumnElement[bool]:
    return valuation.c.last_valid_from == valuation.c.valid_from  # type: ignore[no-any-return]


def _holds(start: Any, end: Any, instant: Any) -> sa.ColumnElement[bool]:
    return (start <= instant) & (end.is_(None) | (instant < end))  # type: ignore[no-any-return]


def _keys(valuation: Any) -> sa.Select[Any]:
    """Select the keys of valuations, each with that of the one before."""
    before = sa.func.lag(valuation.c.key).over(order_by=valuation.c.valid_from)
    return sa.select(valuation.c.valid_from, valuation.c.key, before.label("before"))


def _key(keys: sa.Select[Any]) -> sa.Select[Any]:
    """Select the key of a valuation with these segments. It is theirs if all are equal. An index limits its length."""
    each = keys.subquery("keys").c
    text = sa.case((each.before.is_(None), each.key), else_=sa.func.concat(sa.func.rfc3339(each.valid_from), each.key))
    texts = sa.func.string_agg(text, aggregate_order_by(sa.literal_column("'|'"), each.valid_from))
    digest = sa.func.encode(sa.func.sha256(sa.func.convert_to(texts, "UTF8")), "hex")
    key = sa.case((sa.func.count() == 1, sa.func.min(each.key)), else_=digest)
    return sa.select(key.label("key")).where(each.key.is_distinct_from(each.before))

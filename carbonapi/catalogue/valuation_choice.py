"""Choose valuations from the catalogue: create those that are missing, and others when the catalogue changes."""

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from .. import audit
from ..accounts.models import LATEST, Organization
from ..db import db, row_security, use_transaction
from ..local_time.clock import MICROSECOND
from ..rest.fields import format_decimal
from .factor_selection import FactorLookup, is_valid
from .models import LOCATION, MARKET, EmissionFactor, UpstreamLine, UsageType
from .valuations import Valuation, ValuationLine, ValuationSegment

PURCHASED_ENERGY = 2  # The scope in which location-based and market-based numbers differ.
Factors = dict[str, EmissionFactor | None]
END_OF_TIME = dt.datetime.max.replace(tzinfo=dt.UTC)


def ensure_valuations(
    organization_id: int, usage_type: UsageType, region: str | None, first: dt.datetime, last: dt.datetime
) -> None:
    """Create the current valuations of a usage type in a region that are missing at times within [first, last].

    The types stay locked until the transaction ends, so that no other one changes their factors. A time without a
    location-based factor has no valuation, or a provisional one if the organization takes the latest factor.
    """
    use_transaction()
    upstream = db.session.execute(
        sa.select(UpstreamLine.line, UsageType)
        .join(UsageType, UsageType.id == UpstreamLine.factor_type_id)
        .where(UpstreamLine.usage_type_id == usage_type.id, UpstreamLine.is_of(organization_id))
        .order_by(UpstreamLine.organization_id.nulls_first(), UpstreamLine.line)
    )
    # An organization's own line takes precedence over the shared one of the same name.
    types: dict[str, UsageType] = {row.line: row.UsageType for row in upstream}
    _lock_types([usage_type.id, *(type_.id for type_ in types.values())], read=True)
    lookups = {
        line: FactorLookup(types[line].id if line in types else usage_type.id, organization_id, region, method, None)
        for line, method in {**dict.fromkeys(types, LOCATION), LOCATION: LOCATION, MARKET: MARKET}.items()
    }
    candidates = {line: _factors(lookup, first, last) for line, lookup in lookups.items()}
    for valid_from, valid_until in _segments(lookups.values(), candidates.values(), first, last):
        chosen = {
            line: next((factor for factor in factors if is_valid(factor, valid_from)), None)
            for line, factors in candidates.items()
        }
        is_provisional = chosen[LOCATION] is None and _takes_latest(organization_id)
        if is_provisional:
            chosen |= _latest(lookups, chosen, valid_from)
        lines = list(_lines(usage_type, types, chosen))
        if lines:
            _add(organization_id, usage_type, region, valid_from, valid_until, lines, provisional=is_provisional)


@contextlib.contextmanager
def choosing_again(*usage_type_ids: int) -> Iterator[None]:
    """Replace the current valuations of types, and of those whose upstream lines use them, by what the block changes.

    The block changes the types or their factors. Other writers wait for it. Recorded usages keep their valuations.
    """
    of_types = sa.literal(list(usage_type_ids), sa.ARRAY(sa.BigInteger))
    using = sa.select(UpstreamLine.usage_type_id).where(UpstreamLine.factor_type_id == sa.any_(of_types))
    _lock_types(usage_type_ids, read=False)
    replaced = (
        sa.update(Valuation)
        .where(Valuation.current, (Valuation.usage_type_id == sa.any_(of_types)) | Valuation.usage_type_id.in_(using))
        .values(current=False)
        .returning(Valuation.organization_id, Valuation.usage_type_id, Valuation.region, Valuation.valid_from)
    )
    rows = db.session.execute(replaced, execution_options={"synchronize_session": False}).all()
    yield
    audit.flush()
    first: dict[Any, dt.datetime] = {}
    for organization_id, type_id, region, valid_from in rows:
        place = (organization_id, type_id, region)
        first[place] = min(valid_from, first.get(place, valid_from))
    for (organization_id, type_id, region), start in first.items():
        usage_type = db.session.get(UsageType, type_id)
        if usage_type is not None:
            ensure_valuations(organization_id, usage_type, region, start, END_OF_TIME)


def delete_valuations(usage_type_ids: Iterable[int] = (), factor_ids: Iterable[int] = ()) -> None:
    """Delete the valuations of usage types, and those that have one of these factors in a line or in a segment.

    Raise IntegrityError if a usage has one of them, or an earlier version of a usage.
    """
    types, factors = (sa.literal(list(ids), sa.ARRAY(sa.BigInteger)) for ids in (usage_type_ids, factor_ids))
    valuation, line, segment = (model.__table__.c for model in (Valuation, ValuationLine, ValuationSegment))
    found = (
        sa.select(valuation.organization_id, valuation.id)
        .where(valuation.usage_type_id == sa.any_(types))
        .union(
            sa.select(line.organization_id, line.valuation_id).where(line.emission_factor_id == sa.any_(factors)),
        )
        .cte("found")
    )
    of_segment = (segment.organization_id == found.c.organization_id) & (segment.segment_id == found.c.id)
    split = sa.select(segment.organization_id, segment.valuation_id).join(found, of_segment)
    keys = db.session.execute(sa.select(found).union(split)).all()
    for organization_id, rows in groupby(sorted(keys), key=itemgetter(0)):
        ids = sa.any_(sa.literal([row.id for row in rows], sa.ARRAY(sa.BigInteger)))
        columns = (ValuationSegment.valuation_id, ValuationLine.valuation_id, Valuation.id)
        for column in columns:
            table: Any = column.class_.__table__
            of_organization = table.c.organization_id == organization_id
            db.session.execute(sa.delete(table).where(of_organization, table.c[column.key] == ids))


def _lock_types(ids: Iterable[int], *, read: bool) -> None:
    query = sa.select(UsageType.__table__.c.id).where(UsageType.__table__.c.id.in_(sorted(ids))).order_by("id")
    with row_security.for_all_organizations():  # A tenant may read shared types, but not lock them.
        db.session.execute(query.with_for_update(read=read, key_share=not read))


def _factors(lookup: FactorLookup, first: dt.datetime, last: dt.datetime) -> Sequence[EmissionFactor]:
    """Return the factors that could apply within [first, last], in their order of precedence."""
    overlaps = (
        EmissionFactor.valid_from <= last,
        EmissionFactor.valid_until.is_(None) | (EmissionFactor.valid_until > first),
    )
    return db.session.scalars(lookup.at_any_time().where(*overlaps)).all()


def _segments(
    lookups: Iterable[FactorLookup],
    candidates: Iterable[Sequence[EmissionFactor]],
    first: dt.datetime,
    last: dt.datetime,
) -> Iterator[tuple[dt.datetime, dt.datetime | None]]:
    """Yield the spans that overlap [first, last] and in which no factor begins or ends."""
    ends = {factor.valid_from for factors in candidates for factor in factors}
    ends |= {factor.valid_until or END_OF_TIME for factors in candidates for factor in factors}
    for lookup in lookups:  # A factor that begins later ends the last span.
        later = lookup.at_any_time().where(EmissionFactor.valid_from > last).order_by(None)
        ends.add(db.session.scalar(later.with_only_columns(sa.func.min(EmissionFactor.valid_from))) or END_OF_TIME)
        earlier = lookup.at_any_time().where(EmissionFactor.valid_until <= first).order_by(None)  # It begins the first.
        ends.add(db.session.scalar(earlier.with_only_columns(sa.func.max(EmissionFactor.valid_until))) or END_OF_TIME)
    for start, end in pairwise(sorted(ends)):
        if start <= last and first < end:
            yield start, None if end == END_OF_TIME else end


def _takes_latest(organization_id: int) -> bool:
    setting = sa.select(Organization.missing_factor).where(Organization.id == organization_id)
    return db.session.scalar(setting) == LATEST


def _latest(lookups: dict[str, FactorLookup], chosen: Factors, moment: dt.datetime) -> Factors:
    """Return the latest location-based factor before a moment, and the factors of missing lines from when it ended."""
    latest = db.session.scalar(replace(lookups[LOCATION], moment=moment).latest_ended())
    if latest is None or latest.valid_until is None:
        return {}
    before_end = latest.valid_until - MICROSECOND
    others = (line for line, factor in chosen.items() if factor is None and line != LOCATION)
    return {LOCATION: latest} | {
        line: db.session.scalar(replace(lookups[line], moment=before_end).chosen()) for line in others
    }


def _lines(usage_type: UsageType, upstream: dict[str, UsageType], chosen: Factors) -> Iterator[dict[str, Any]]:
    """Yield the lines of a valuation with the chosen factors, or none if it has no location-based factor."""
    chosen = dict(chosen)
    if chosen[LOCATION] is None:
        return
    is_fallback = chosen[MARKET] is None
    if usage_type.scope != PURCHASED_ENERGY:
        chosen[MARKET], is_fallback = chosen[LOCATION], False
    chosen[MARKET] = chosen[MARKET] or chosen[LOCATION]
    for line, factor in chosen.items():
        if factor is not None:
            type_ = upstream.get(line, usage_type)
            yield {
                "line": line,
                "emission_factor_id": factor.id,
                "factor": factor.factor,
                "scope": type_.scope,
                "category": type_.category,
                "outside_of_scopes": type_.outside_of_scopes,
                "fallback": line == MARKET and is_fallback,
            }


def _add(
    organization_id: int,
    usage_type: UsageType,
    region: str | None,
    valid_from: dt.datetime,
    valid_until: dt.datetime | None,
    lines: list[dict[str, Any]],
    *,
    provisional: bool,
) -> None:
    """Make this valuation current, unless one is: an earlier one that is equal, or a new one."""
    by_line = {line["line"]: line for line in lines}
    location, market = by_line[LOCATION], by_line[MARKET]
    counted = [line for line in lines if not line["outside_of_scopes"]]
    identity = {
        "organization_id": organization_id,
        "usage_type_id": usage_type.id,
        "region": region,
        "valid_from": valid_from,
        "valid_until": valid_until,
        "last_valid_from": valid_from,
        "last_valid_until": valid_until,
        "split": False,
        "key": ";".join([*map(_text, sorted(lines, key=lambda line: line["line"])), *["provisional"] * provisional]),
    }
    earlier = [getattr(Valuation, name).is_not_distinct_from(value) for name, value in identity.items()]
    same = sa.select(Valuation.current, Valuation.id).where(*earlier).order_by(Valuation.current.desc()).limit(1)
    found = db.session.execute(same).one_or_none()
    if found is not None:
        if not found.current:
            revive = sa.update(Valuation).where(Valuation.organization_id == organization_id, Valuation.id == found.id)
            db.session.execute(revive.values(current=True), execution_options={"synchronize_session": False})
        return
    values = identity | {
        "current": True,
        "provisional": provisional,
        "emission_factor_id": location["emission_factor_id"],
        "factor": location["factor"],
        "market_factor": market["factor"],
        **{name: location[name] for name in ("scope", "category", "outside_of_scopes")},
        "location_total": sum((line["factor"] for line in counted if line["line"] != MARKET), Decimal(0)),
        "market_total": sum((line["factor"] for line in counted if line["line"] != LOCATION), Decimal(0)),
    }
    # Another transaction may have chosen at the same time.
    added = insert(Valuation).values(values).on_conflict_do_nothing().returning(Valuation.id)
    valuation_id = db.session.scalar(added)
    if valuation_id is not None:
        keys = {"organization_id": organization_id, "valuation_id": valuation_id}
        db.session.execute(sa.insert(ValuationLine), [keys | line for line in lines])


def _text(line: dict[str, Any]) -> str:
    """Return a line as text: its name, factor and classification. Migration 0025 writes the same text."""
    parts = (line["line"], line["emission_factor_id"], format_decimal(line["factor"]), line["scope"] or 0)
    return ":".join(map(str, (*parts, line["category"] or "", int(line["outside_of_scopes"]), int(line["fallback"]))))

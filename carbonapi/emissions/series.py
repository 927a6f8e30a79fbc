"""The series that should have data: those with usages, and meters that have none."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from ..auth import scope_criteria
from ..db import db
from ..rest.query import QueryFilter
from ..sites.models import Meter
from ..sites.tree import is_within
from .coverage import SERIES, Series, covered_hours
from .prorated_rows import TimeEdges
from .service import CachedQuery, Found, Instants, RowSource, UsageSelection

# A meter without usages is missing, unless the query has other filters, which select some usages of a meter.
FILTERS_OF_METERS = {"start", "end", "usage_type_id", "site_id", "meter_id"}


@dataclass(frozen=True)
class Expectation:
    """The series that a query expects to have data.

    meters: the meters that match the query. usage_type_ids: the types that it names.
    """

    meters: Mapping[int, Series]
    unused_meter_ids: Collection[int]
    usage_type_ids: Collection[int]

    def complete(self, rows: Sequence[Any]) -> list[Series]:
        """Return the series of the rows of `hours_by_series`, and those without usages."""
        series = []
        for row in rows:
            found = Series(*(getattr(row, f"series_{name}") for name in SERIES))
            series.append(replace(self.meters.get(row.series_meter_id, found), hours=covered_hours(row)))
        of_meters = {each.meter_id for each in series}
        series += [self.meters[id_] for id_ in self.unused_meter_ids if id_ not in of_meters]
        of_types = {each.usage_type_id for each in series}
        return [*series, *(Series(type_id) for type_id in self.usage_type_ids if type_id not in of_types)]


def expect_nothing(has_sites: bool) -> Expectation:
    """Expect no series but those with usages."""
    return Expectation({}, (), ())


def expectation(query_filter: QueryFilter, has_sites: bool) -> Expectation:
    """Return the series that a query expects to have data.

    has_sites: whether the actor sees any site. Then it takes one statement, otherwise none.
    """
    asked = query_filter.arguments
    meters = _meters(query_filter) if has_sites else []
    is_of_meters = query_filter.filters.keys() <= FILTERS_OF_METERS
    return Expectation(
        {row.id: Series(row.usage_type_id, row.site_id, row.id, 0, row.valid_from, row.valid_until) for row in meters},
        {row.id for row in meters if not row.archived} if is_of_meters else set(),
        frozenset(asked.get("usage_type_id", ())),
    )


def _meters(query_filter: QueryFilter) -> Sequence[Any]:
    asked = query_filter.arguments
    criteria = [*scope_criteria(Meter)]
    if "usage_type_id" in asked:
        criteria.append(Meter.usage_type_id.in_(asked["usage_type_id"]))
    if "meter_id" in asked:
        criteria.append(Meter.id.in_(asked["meter_id"]))
    if "site_id" in asked:
        criteria.append(is_within(Meter, asked["site_id"]))
    columns = (Meter.id, Meter.usage_type_id, Meter.site_id, Meter.valid_from, Meter.valid_until, Meter.archived)
    return db.session.execute(sa.select(*columns).where(*criteria)).all()


def hours_of_series(
    selection: UsageSelection, found: Found, ranges: Mapping[TimeEdges, Instants], timezone: str
) -> Sequence[Any]:
    """Return the rows of hours of a query. Those of daily totals are read again if the actor sees sites."""
    if found.has_sites and found.hours_by_days:
        return selection.find(HOURS, ranges, by_days=False, timezone=timezone).rows
    return [row for row in found.rows if row.days is not None]


def _hours(sources: tuple[RowSource, ...]) -> sa.CompoundSelect[Any]:
    """Select the hours of each series, for every source."""
    of_sources = [source.hours.subquery() for source in sources]
    return sa.union_all(
        *(sa.select(hours, sa.literal(place > 0).label("is_previous")) for place, hours in enumerate(of_sources))
    )


HOURS = CachedQuery(_hours, ", ".join(f"series_{name}" for name in SERIES), has_hours=True)

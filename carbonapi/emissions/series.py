"""The series that should have data: those with usages, and meters that have none."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from ..auth import scope_criteria
from ..db import db
from ..rest.query import QueryFilter
from ..sites.models import Meter, Site
from ..sites.tree import is_within
from .coverage import SERIES, Series, covered_hours

# A meter without usages is missing, unless the query has other filters, which select some usages of a meter.
FILTERS_OF_METERS = {"start", "end", "usage_type_id", "site_id", "meter_id"}


@dataclass(frozen=True)
class Expectation:
    """The series that a query expects to have data.

    has_sites: whether the organization has any site, so that the hours of its series cannot be read from daily totals.
    meters: the meters that match the query. usage_type_ids: the types that it names.
    """

    has_sites: bool
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


NOTHING_EXPECTED = Expectation(False, {}, (), ())


def expectation(query_filter: QueryFilter) -> Expectation:
    """Return what a query expects to have data. It takes one statement."""
    asked = query_filter.arguments
    criteria = [*scope_criteria(Meter)]
    if "usage_type_id" in asked:
        criteria.append(Meter.usage_type_id.in_(asked["usage_type_id"]))
    if "meter_id" in asked:
        criteria.append(Meter.id.in_(asked["meter_id"]))
    if "site_id" in asked:
        criteria.append(is_within(Meter, asked["site_id"]))
    has_sites = sa.select(sa.exists().where(*scope_criteria(Site)).label("has_sites")).subquery("sites_of_actor")
    columns = (Meter.id, Meter.usage_type_id, Meter.site_id, Meter.valid_from, Meter.valid_until, Meter.archived)
    query = sa.select(has_sites.c.has_sites, *columns).select_from(
        has_sites.outerjoin(Meter, has_sites.c.has_sites & sa.and_(*criteria))
    )
    rows = db.session.execute(query).all()
    meters = {
        row.id: Series(row.usage_type_id, row.site_id, row.id, 0, row.valid_from, row.valid_until)
        for row in rows
        if row.id is not None
    }
    is_of_meters = query_filter.filters.keys() <= FILTERS_OF_METERS and not query_filter.rewrites
    unused = {row.id for row in rows if row.id is not None and not row.archived} if is_of_meters else set()
    return Expectation(rows[0].has_sites, meters, unused, frozenset(asked.get("usage_type_id", ())))

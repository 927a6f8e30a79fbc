"""Figures of usages: execute the statement that computes them, from daily totals where these suffice."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from ..accounts.models import Organization
from ..auth import current_actor, visible
from ..catalogue.models import DEFAULT_METHOD
from ..db import is_read_in_order
from ..rest.query import QueryFilter
from ..sites.models import Site
from ..sites.ownership import ownership_by, ownership_parameters
from ..usages.daily_totals_query import matching_daily_totals
from ..usages.models import Usage
from .aggregation import SCOPES, Basis
from .daily_rows import ONE_DAY, PartialDays, daily_rows
from .execution import execute
from .prorated_rows import SELECTED_SITES, SELECTED_TOTALS, SELECTED_USAGES, TimeEdges, prorated_rows

Instants = Sequence[dt.datetime]
ORGANIZATION_ID = sa.bindparam("totals_organization_id", type_=sa.BigInteger)
TIMEZONE = sa.bindparam("totals_timezone", type_=sa.Text)
# Over a longer range, planning costs little in comparison, and a plan that knows the values may be better.
LONGEST_PREPARED = dt.timedelta(days=100)


@dataclass(frozen=True)
class RowSource:
    """The source of the parts between edges: daily totals with these partial days, or usages alone if that is None.

    has_totals: whether the hours with data can be read from the daily totals.
    by_ownership: whether the amounts are multiplied by the shares of sites.
    """

    edges: TimeEdges
    partial_days: PartialDays | None = None
    has_totals: bool = False
    by_ownership: bool = False

    @property
    def parts(self) -> Any:
        """Return the parts as a table: see `prorated_rows` and `DailyRows.parts` for its columns."""
        if self.partial_days is None:
            return prorated_rows(self.edges, by_ownership=self.by_ownership)
        return daily_rows(self.edges).parts(self.partial_days)


@dataclass(frozen=True)
class CachedQuery:
    """A query of figures. Its statement is built once per process for each set of sources, as building is slow.

    build: a function of a module, called with a tuple of sources and the options; it returns a SELECT.
    order: the ORDER BY of the rows. options: everything else that the SELECT depends on.
    has_hours: whether the rows include hours with data, so that it must be known whether the actor sees sites.
    """

    build: Callable[..., Any]
    order: str
    options: tuple[Any, ...] = ()
    has_hours: bool = False


class Found(NamedTuple):
    """The rows of a query. If these include hours with data: whether the actor sees sites, and whether the hours are
    from daily totals, which know no sites.
    """

    rows: Sequence[sa.Row[Any]]
    has_sites: bool
    hours_by_days: bool


@dataclass(frozen=True)
class UsageSelection:
    """The usages that figures are computed from, of all time.

    totals: the daily totals that cover exactly these usages, if there are any. timezone: the organization's, which the
    days of the totals are in. method and scopes: the lines of their valuations that count.
    gwp_set: the set of global warming potentials that their gases are converted to.
    consolidation: the approach by which sites count.
    """

    usages: sa.Select[Any]
    totals: sa.Select[Any] | None
    timezone: str
    method: str = DEFAULT_METHOD
    scopes: Sequence[int] | None = None
    gwp_set: str | None = None
    consolidation: str | None = None

    @classmethod
    def of(cls, query_filter: QueryFilter) -> Self:
        usages = query_filter.unbounded(visible(Usage))
        asked = query_filter.arguments
        totals = matching_daily_totals(query_filter)
        basis = (asked.get("method", DEFAULT_METHOD), asked.get("scope"), asked.get("gwp"), asked.get("consolidation"))
        return cls(usages, totals, current_actor().timezone, *basis)

    @property
    def basis(self) -> Basis:
        return Basis(self.method, self.scopes is not None, self.gwp_set)

    def find(
        self,
        query: CachedQuery,
        ranges: Mapping[TimeEdges, Instants],
        *,
        by_days: bool,
        hours_by_days: bool | None = None,
        **parameters: Any,
    ) -> Found:
        """Return the rows of a query. ranges: the instants of its edges.

        by_days: whether daily totals may replace usages. hours_by_days: whether they may for the hours with data; by
        default, as for the rest. Daily totals know no sites, so with these their hours are not those of the series.
        """
        hours_by_days = by_days if hours_by_days is None else hours_by_days
        if self.scopes is not None:
            parameters[SCOPES.key] = list(self.scopes)
        by_ownership = self.consolidation is not None
        if self.consolidation is not None:
            parameters |= ownership_parameters(ownership_by(self.consolidation))
            by_days = hours_by_days = False
        if self.totals is not None and (by_days or hours_by_days):
            found = self._find_in_totals(
                self.totals, query, ranges, parameters, by_days=by_days, hours_by_days=hours_by_days
            )
            if found is not None:
                return found
        for edges, instants in ranges.items():
            parameters |= edges.parameters(instants)
        sources = tuple(RowSource(edges, by_ownership=by_ownership) for edges in ranges)
        statement = _statement(query, sources)
        selections = {SELECTED_USAGES: self.usages} | _sites_of(query)
        prepared = not by_ownership and self._is_read_in_order(ranges.values())
        return _found(execute(statement, selections, parameters, prepared=prepared).all(), hours_by_days=False)

    def _find_in_totals(
        self,
        totals: sa.Select[Any],
        query: CachedQuery,
        ranges: Mapping[TimeEdges, Instants],
        parameters: dict[str, Any],
        *,
        by_days: bool,
        hours_by_days: bool,
    ) -> Found | None:
        """Return the rows of a query from daily totals, or None if its edges are not the edges of days."""
        parameters = parameters | {ORGANIZATION_ID.key: current_actor().organization_id, TIMEZONE.key: self.timezone}
        sources = []
        for edges, instants in ranges.items():
            if not by_days:
                sources.append(RowSource(edges, has_totals=hours_by_days))
                parameters |= edges.parameters(instants)
                continue
            days = daily_rows(edges).divide(instants, self.timezone)
            if days is None:
                return None
            partial_days, day_parameters = days
            sources.append(RowSource(edges, partial_days, has_totals=hours_by_days))
            parameters |= day_parameters
        statement = _statement_from_totals(query, tuple(sources))
        selections = {SELECTED_TOTALS: totals} | _sites_of(query)
        prepared = True  # Few rows by key, whatever the range is.
        if any(source.partial_days is None or any(source.partial_days) for source in sources):
            selections[SELECTED_USAGES] = self.usages
            prepared = self._is_read_in_order(() if by_days else ranges.values())
        rows = execute(statement, selections, parameters, prepared=prepared).all()
        return _found(rows, hours_by_days=hours_by_days) if rows and rows[0].days_agree else None

    def _is_read_in_order(self, ranges: Iterable[Instants]) -> bool:
        """Return whether the usages of these ranges are few, or an index has exactly them.

        Otherwise, the best plan depends on the values of the filters.
        """
        longest = max((instants[-1] - instants[0] for instants in ranges), default=ONE_DAY)
        return longest <= LONGEST_PREPARED and is_read_in_order(self.usages, [Usage.usage_at.asc()])


def _sites_of(query: CachedQuery) -> dict[Any, sa.Select[Any]]:
    return {SELECTED_SITES: visible(Site)} if query.has_hours else {}


def _found(rows: Sequence[sa.Row[Any]], *, hours_by_days: bool) -> Found:
    """Return the rows of a statement, without the row that only has its checks."""
    has_sites = bool(rows) and getattr(rows[0], "has_sites", False)
    return Found([row for row in rows if getattr(row, "is_row", True)], has_sites, hours_by_days)


@cache
def _statement(query: CachedQuery, sources: tuple[RowSource, ...]) -> Any:
    found = query.build(sources, *query.options)
    return _with_checks(query, found) if query.has_hours else found.order_by(sa.text(query.order))


@cache
def _statement_from_totals(query: CachedQuery, sources: tuple[RowSource, ...]) -> sa.Select[Any]:
    """Return the statement that reads daily totals, and checks that PostgreSQL's days are Python's: `days_agree`."""
    agreements = [daily_rows(source.edges).agree() for source in sources if source.partial_days]
    agree = sa.and_(Organization.timezone == TIMEZONE, *agreements).label("days_agree")
    check = sa.select(agree).where(Organization.id == ORGANIZATION_ID)
    return _with_checks(query, query.build(sources, *query.options), check)


def _with_checks(query: CachedQuery, found: Any, check: sa.Select[Any] | None = None) -> sa.Select[Any]:
    """Return a statement of the rows that are found, each with the columns of the check and with `has_sites`.

    It returns at least one row. `is_row` is null in the one that it returns if the query has none.
    """
    rows: sa.Select[Any] = sa.select(sa.literal_column("found.*"), sa.literal(True).label("is_row")).select_from(
        found.subquery("found")
    )
    check = sa.select() if check is None else check
    if query.has_hours:
        check = check.add_columns(sa.exists(sa.select(SELECTED_SITES.c.id)).label("has_sites"))
    # Computed once, not for each row.
    checks = check.cte("checks").prefix_with("MATERIALIZED", dialect="postgresql")
    answer = rows.subquery("answer")
    statement = sa.select(sa.literal_column("answer.*"), *checks.c).select_from(checks).outerjoin(answer, sa.true())
    return statement.order_by(sa.text(query.order))

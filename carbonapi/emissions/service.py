"""Figures of usages: execute the statement that computes them, from daily totals where these suffice."""

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from ..accounts.models import Organization
from ..auth import current_actor, state, visible
from ..catalogue.models import DEFAULT_METHOD
from ..db import is_read_in_order
from ..rest.query import QueryFilter
from ..sites.models import Site
from ..sites.ownership import ownership_by, ownership_parameters
from ..usages.daily_totals_query import matching_daily_totals
from ..usages.models import Usage
from .aggregation import SCOPES, Basis
from .coverage import hours_by_series
from .daily_rows import PartialDays, daily_rows
from .execution import execute
from .prorated_rows import FIRST_INTERVAL, SELECTED_SITES, SELECTED_TOTALS, SELECTED_USAGES, TimeEdges, prorated_rows

Instants = Sequence[dt.datetime]
ORGANIZATION_ID = sa.bindparam("totals_organization_id", type_=sa.BigInteger)
TIMEZONE = sa.bindparam("totals_timezone", type_=sa.Text)
# Over a longer range, planning costs little in comparison, and a plan that knows the values may be better.
LONGEST_PREPARED = dt.timedelta(days=100)
MAX_KNOWN = 10_000  # Organizations with intervals, in the memory of a worker.


@dataclass(frozen=True)
class RowSource:
    """The source of the parts between edges: daily totals with these partial days, or usages alone if that is None.

    has_totals: whether the hours with data can be read from the daily totals.
    by_ownership: whether the amounts are multiplied by the shares of sites.
    instants_only: whether it is for organizations without intervals, which the statement checks.
    """

    edges: TimeEdges
    partial_days: PartialDays | None = None
    has_totals: bool = False
    by_ownership: bool = False
    instants_only: bool = False

    @property
    def parts(self) -> Any:
        """Return the parts as a table: see `prorated_rows` and `DailyRows.parts` for its columns."""
        if self.partial_days is None:
            return prorated_rows(self.edges, by_ownership=self.by_ownership, instants_only=self.instants_only)
        return daily_rows(self.edges).parts(self.partial_days, instants_only=self.instants_only)

    @property
    def hours(self) -> sa.Select[Any]:
        """Return a SELECT of the hours of each series: see `hours_by_series`."""
        return hours_by_series(self.edges, by_days=self.has_totals, instants_only=self.instants_only)

    @property
    def reads_usages(self) -> bool:
        return self.partial_days is None or any(self.partial_days)


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
        rows = self._rows(_statement, query, sources, {}, parameters, ranges.values())
        return _found(rows, hours_by_days=False)

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
        read = () if by_days else ranges.values()
        rows = self._rows(_statement_from_totals, query, tuple(sources), {SELECTED_TOTALS: totals}, parameters, read)
        return _found(rows, hours_by_days=hours_by_days) if rows and rows[0].days_agree else None

    def _rows(
        self,
        build: Callable[..., Any],
        query: CachedQuery,
        sources: tuple[RowSource, ...],
        selections: dict[Any, sa.Select[Any]],
        parameters: Mapping[str, Any],
        ranges: Collection[Instants],
    ) -> Sequence[sa.Row[Any]]:
        """Return the rows of the statement of a query. ranges: their usages are read, and those of partial days.

        A statement that reads daily totals alone is prepared: it reads few rows by key, whatever the range is. One that
        reads usages is prepared for organizations without intervals. A plan that does not know how many intervals there
        are before and after a range would read too many.
        """
        if query.has_hours:
            selections = selections | {SELECTED_SITES: visible(Site)}
        if not any(source.reads_usages for source in sources):
            return execute(build(query, sources), selections, parameters, prepared=True).all()
        selections = selections | {SELECTED_USAGES: self.usages}
        organization_id, known = current_actor().organization_id, state().organizations_with_intervals
        if organization_id not in known and self.consolidation is None and self._is_read_in_order(ranges):
            first = sa.select(sa.func.min(Usage.usage_until).label(Usage.usage_until.key))
            checked = selections | {FIRST_INTERVAL: first.where(Usage.organization_id == organization_id)}
            for_instants = tuple(replace(source, instants_only=True) for source in sources)
            rows = execute(build(query, for_instants), checked, parameters, prepared=True).all()
            if not rows[0].has_intervals:
                return rows
            if len(known) >= MAX_KNOWN:
                known.clear()
            known.add(organization_id)
        return execute(build(query, sources), selections, parameters, prepared=False).all()

    def _is_read_in_order(self, ranges: Collection[Instants]) -> bool:
        """Return whether the ranges are short, and an index has exactly the usages of a range.

        Otherwise, the best plan depends on the values of the filters.
        """
        is_short = all(instants[-1] - instants[0] <= LONGEST_PREPARED for instants in ranges)
        return is_short and is_read_in_order(self.usages, [Usage.usage_at.asc()])


def _found(rows: Sequence[sa.Row[Any]], *, hours_by_days: bool) -> Found:
    """Return the rows of a statement, without the row that only has its checks."""
    has_sites = bool(rows) and getattr(rows[0], "has_sites", False)
    return Found([row for row in rows if getattr(row, "is_row", True)], has_sites, hours_by_days)


@cache
def _statement(query: CachedQuery, sources: tuple[RowSource, ...]) -> Any:
    found = query.build(sources, *query.options)
    has_checks = query.has_hours or sources[0].instants_only
    return _with_checks(query, sources, found) if has_checks else found.order_by(sa.text(query.order))


@cache
def _statement_from_totals(query: CachedQuery, sources: tuple[RowSource, ...]) -> sa.Select[Any]:
    """Return the statement that reads daily totals, and checks that PostgreSQL's days are Python's: `days_agree`."""
    agreements = [daily_rows(source.edges).agree() for source in sources if source.partial_days]
    agree = sa.and_(Organization.timezone == TIMEZONE, *agreements).label("days_agree")
    check = sa.select(agree).where(Organization.id == ORGANIZATION_ID)
    return _with_checks(query, sources, query.build(sources, *query.options), check)


def _with_checks(
    query: CachedQuery, sources: tuple[RowSource, ...], found: Any, check: sa.Select[Any] | None = None
) -> sa.Select[Any]:
    """Return a statement of the rows that are found, each with the columns of the check.

    Further columns are `has_sites`, if the query has hours, and `has_intervals`, if it is for instants only: then it
    finds no rows if there are intervals. It returns at least one row. `is_row` is null in the one that it returns if
    the query has none.
    """
    check = sa.select() if check is None else check
    if query.has_hours:
        check = check.add_columns(sa.exists(sa.select(SELECTED_SITES.c.id)).label("has_sites"))
    if sources[0].instants_only:
        check = check.add_columns(
            sa.select(FIRST_INTERVAL.c.usage_until.is_not(None)).scalar_subquery().label("has_intervals")
        )
    # Computed once, not for each row.
    checks = check.cte("checks").prefix_with("MATERIALIZED", dialect="postgresql")
    is_row = sa.literal(True).label("is_row")
    rows: Any = sa.select(sa.literal_column("found.*"), is_row).select_from(found.subquery("found"))
    if sources[0].instants_only:
        rows = rows.where(~sa.select(checks.c.has_intervals).scalar_subquery())
    statement = sa.select(sa.literal_column("answer.*"), *checks.c)
    statement = statement.select_from(checks).outerjoin(rows.subquery("answer"), sa.true())
    return statement.order_by(sa.text(query.order))

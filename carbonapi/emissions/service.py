"""Figures of usages: execute the statement that computes them, from daily totals where these suffice."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import sqlalchemy as sa

from ..accounts.models import Organization
from ..auth import current_actor, visible
from ..catalogue.models import DEFAULT_METHOD
from ..db import db, inline_cte, prepare
from ..rest.query import QueryFilter
from ..sites.ownership import ownership_by, ownership_parameters
from ..usages.daily_totals_query import matching_daily_totals
from ..usages.models import Usage
from .aggregation import SCOPES, Basis
from .daily_rows import PartialDays, daily_rows
from .prorated_rows import SELECTED_TOTALS, SELECTED_USAGES, TimeEdges, prorated_rows

Instants = Sequence[dt.datetime]
ORGANIZATION_ID = sa.bindparam("totals_organization_id", type_=sa.BigInteger)
TIMEZONE = sa.bindparam("totals_timezone", type_=sa.Text)


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
    """

    build: Callable[..., Any]
    order: str
    options: tuple[Any, ...] = ()


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

    def rows(
        self,
        query: CachedQuery,
        ranges: Mapping[TimeEdges, Instants],
        *,
        by_days: bool,
        hours_by_days: bool | None = None,
        **parameters: Any,
    ) -> Sequence[sa.Row[Any]]:
        """Return the rows of a query. ranges: the instants of its edges.

        by_days: whether daily totals may replace usages. hours_by_days: whether they may for the hours with data; by
        default, as for the rest.
        """
        hours_by_days = by_days if hours_by_days is None else hours_by_days
        if self.scopes is not None:
            parameters[SCOPES.key] = list(self.scopes)
        by_ownership = self.consolidation is not None
        if self.consolidation is not None:
            parameters |= ownership_parameters(ownership_by(self.consolidation))
            by_days = hours_by_days = False
        if self.totals is not None and (by_days or hours_by_days):
            rows = self._rows_from_totals(
                self.totals, query, ranges, parameters, by_days=by_days, hours_by_days=hours_by_days
            )
            if rows is not None:
                return rows
        for edges, instants in ranges.items():
            parameters |= edges.parameters(instants)
        sources = tuple(RowSource(edges, by_ownership=by_ownership) for edges in ranges)
        statement = _statement(query, sources)
        return db.session.execute(statement.add_cte(_rows_as(SELECTED_USAGES, self.usages)), parameters).all()

    def _rows_from_totals(
        self,
        totals: sa.Select[Any],
        query: CachedQuery,
        ranges: Mapping[TimeEdges, Instants],
        parameters: dict[str, Any],
        *,
        by_days: bool,
        hours_by_days: bool,
    ) -> Sequence[sa.Row[Any]] | None:
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
        statement = _statement_from_totals(query, tuple(sources)).add_cte(_rows_as(SELECTED_TOTALS, totals))
        if not hours_by_days or any(source.partial_days is None or any(source.partial_days) for source in sources):
            statement = statement.add_cte(_rows_as(SELECTED_USAGES, self.usages))
        else:  # Few rows by key, whatever the range is.
            statement = prepare(statement)
        rows = db.session.execute(statement, parameters).all()
        return [row for row in rows if row.is_row] if rows and rows[0].days_agree else None


def _rows_as(table: Any, rows: sa.Select[Any]) -> sa.CTE:
    """Return the CTE that the statement reads as this table."""
    columns = (rows.selected_columns[column.name] for column in table.c)
    return inline_cte(rows.with_only_columns(*columns), table.name)


@cache
def _statement(query: CachedQuery, sources: tuple[RowSource, ...]) -> Any:
    return query.build(sources, *query.options).order_by(sa.text(query.order))


@cache
def _statement_from_totals(query: CachedQuery, sources: tuple[RowSource, ...]) -> sa.Select[Any]:
    """Return the statement that reads daily totals, and checks that PostgreSQL's days are Python's: `days_agree`.

    It returns at least one row. `is_row` is null in the one that it returns if the query has none.
    """
    found = query.build(sources, *query.options).subquery("found")
    answer = sa.select(found, sa.literal(True).label("is_row")).subquery("answer")
    agreements = [daily_rows(source.edges).agree() for source in sources if source.partial_days]
    check = (
        sa.select(sa.and_(Organization.timezone == TIMEZONE, *agreements).label("days_agree"))
        .where(Organization.id == ORGANIZATION_ID)
        .cte("day_check")
        .prefix_with("MATERIALIZED", dialect="postgresql")  # Computed once, not for each row.
    )
    statement = sa.select(answer, check.c.days_agree).select_from(check).outerjoin(answer, sa.true())
    return statement.order_by(sa.text(query.order))

"""Figures of usages: the statement that works them out, from the days of the ledger where these can tell."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import sqlalchemy as sa

from ..accounts.models import Organization
from ..auth import current_actor, visible
from ..db import db, inline_cte
from ..rest.query import QueryFilter
from ..usages.daily_totals_query import matching_daily_totals
from ..usages.models import Usage
from .daily_rows import PartialDays, daily_rows
from .prorated_rows import ASKED, DAYS, TimeEdges, prorated_rows

Instants = Sequence[dt.datetime]
ORGANIZATION = sa.bindparam("days_organization_id", type_=sa.BigInteger)
TIMEZONE = sa.bindparam("days_timezone", type_=sa.Text)


@dataclass(frozen=True)
class RowSource:
    """Where the parts between edges come from: the days of the ledger, in this shape, or the usages themselves."""

    edges: TimeEdges
    shape: PartialDays | None = None

    @property
    def parts(self) -> Any:
        """The parts, as a table; spreading.py tells its columns, whole_days.py those that days have."""
        return prorated_rows(self.edges) if self.shape is None else daily_rows(self.edges).parts(self.shape)


@dataclass(frozen=True)
class CachedQuery:
    """A statement that is kept for the next request: `answer` gives it for these sources, to be ordered so.

    options: what else it depends on. answer reads ASKED, or DAYS, and is given a tuple of sources and the options.
    """

    answer: Callable[..., Any]
    order: str
    options: tuple[Any, ...] = ()


@dataclass(frozen=True)
class UsageSelection:
    """The usages that figures are asked of, but for the range; and the days that hold just these, if there are such.

    timezone: the organization's, in which its days are. The statement tells if it has just been changed.
    """

    usages: sa.Select[Any]
    days: sa.Select[Any] | None
    timezone: str

    @classmethod
    def of(cls, narrow: QueryFilter) -> Self:
        return cls(narrow.unbounded(visible(Usage)), matching_daily_totals(narrow), current_actor().timezone)

    def rows(
        self, question: CachedQuery, ranges: Mapping[TimeEdges, Instants], *, by_days: bool, **parameters: Any
    ) -> Sequence[sa.Row[Any]]:
        """The rows of the answer, in its order. ranges: the edges that it reads. by_days: whether days may be asked."""
        rows = self._of_days(question, ranges, parameters) if by_days and self.days is not None else None
        if rows is not None:
            return rows
        for edges, instants in ranges.items():
            parameters |= edges.parameters(instants)
        statement = _of_usages(question, tuple(map(RowSource, ranges)))
        return db.session.execute(statement.add_cte(_named(self.usages, ASKED)), parameters).all()

    def _of_days(
        self, question: CachedQuery, ranges: Mapping[TimeEdges, Instants], parameters: dict[str, Any]
    ) -> Sequence[sa.Row[Any]] | None:
        """The rows of the answer from days; None if these do not fit the edges."""
        assert self.days is not None
        parameters = parameters | {ORGANIZATION.key: current_actor().organization_id, TIMEZONE.key: self.timezone}
        sources = []
        for edges, instants in ranges.items():
            told = daily_rows(edges).parameters(instants, self.timezone)
            if told is None:
                return None
            sources.append(RowSource(edges, told[0]))
            parameters |= told[1]
        statement = _by_days(question, tuple(sources)).add_cte(_named(self.days, DAYS))
        if any(source.shape and source.shape.has_ends for source in sources):
            statement = statement.add_cte(_named(self.usages, ASKED))
        rows = db.session.execute(statement, parameters).all()
        return [row for row in rows if row.is_there] if rows and rows[0].fit else None


def _named(rows: sa.Select[Any], table: Any) -> sa.CTE:
    """Rows by the name and with the columns of a table, as a statement reads them."""
    columns = (rows.selected_columns[column.name] for column in table.c)
    return inline_cte(rows.with_only_columns(*columns), table.name)


@cache
def _of_usages(question: CachedQuery, sources: tuple[RowSource, ...]) -> Any:
    return question.answer(sources, *question.options).order_by(sa.text(question.order))


@cache
def _by_days(question: CachedQuery, sources: tuple[RowSource, ...]) -> sa.Select[Any]:
    """The answer, and beside each row, or alone if there are none, whether the days fit the edges: `fit`."""
    found = question.answer(sources, *question.options).subquery("found")
    answer = sa.select(found, sa.literal(True).label("is_there")).subquery("answer")
    fits = [daily_rows(source.edges).fit() for source in sources]
    whether = sa.select(sa.and_(Organization.timezone == TIMEZONE, *fits).label("fit"))
    # Worked out once, not for each row.
    told = whether.where(Organization.id == ORGANIZATION).cte("told").prefix_with("MATERIALIZED", dialect="postgresql")
    return (
        sa.select(answer, told.c.fit).select_from(told).outerjoin(answer, sa.true()).order_by(sa.text(question.order))
    )

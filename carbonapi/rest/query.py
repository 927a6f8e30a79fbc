"""Query arguments: each kind is declared here once, and gives the documents, the 422s, WHERE and ORDER BY."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import marshmallow as ma
import sqlalchemy as sa
from sqlalchemy.types import NULLTYPE
from webargs.fields import DelimitedList

from ..auth import current_actor
from .fields import MEDIA_TYPES, StrictInteger, Text, TimeZoneName, UtcDateTime, UtcDateTimeOrDate, now, start_of_day

Criterion = Callable[[Any], sa.ColumnElement[bool]]


class Schema(ma.Schema):
    """Base of all schemas: what is not declared is refused."""

    typed = True  # Values come as JSON has them. In a query string or a file all are text.

    class Meta:
        unknown = ma.RAISE


class QuerySchema(Schema):
    """The query arguments of one operation. An unknown one is refused, so that a misspelt filter answers nothing."""

    typed = False
    error_messages = {"unknown": "There is no such query argument here."}


def _narrowing(field: ma.fields.Field[Any], criterion: Criterion) -> ma.fields.Field[Any]:
    field.metadata = {**field.metadata, "criterion": criterion}
    return field


def any_of(criterion: Criterion, field: ma.fields.Field[Any], description: str) -> ma.fields.List[Any]:
    """A filter that may be repeated and then means any of the values; `criterion` takes the list of them."""
    listed: ma.fields.List[Any] = ma.fields.List(
        field,
        metadata={"description": f"{description} Repeat it to mean any of several.", "criterion": criterion},
        validate=ma.validate.Length(1, 100),
    )
    return listed


def equal_to(column: Any, field: ma.fields.Field[Any] | None = None) -> ma.fields.List[Any]:
    """A filter by the value of `column`."""
    return any_of(lambda values: column.in_(values), field or StrictInteger(), f"Only with this {column.key}.")


def time_range(column: Any) -> tuple[ma.fields.Field[Any], ma.fields.Field[Any]]:
    """`start` and `end`: the half-open interval [start, end) of `column`."""
    bare = "A bare date means midnight in `timezone`."
    start = UtcDateTimeOrDate(
        metadata={"description": f"Earliest {column.key}, included. {bare}", "example": "2021-01-01"}
    )
    end = UtcDateTimeOrDate(
        metadata={"description": f"Latest {column.key}, not included. {bare}", "example": "2022-01-01"}
    )
    return _narrowing(start, lambda moment: column >= moment), _narrowing(end, lambda moment: column < moment)


def time_zone() -> TimeZoneName:
    """`timezone`: what a bare date and a day mean; by default as in the actor's organization."""
    return TimeZoneName(
        metadata={
            "description": "IANA time zone in which bare dates and days are meant; your organization's by default.",
            "example": "Europe/London",
        }
    )


def as_of(believed_at: Callable[[sa.Select[Any], dt.datetime], sa.Select[Any]]) -> UtcDateTime:
    """`as_of`: the answer as it was at a moment; `believed_at` rewrites the statement so."""
    return UtcDateTime(
        metadata={
            "description": "Answer as the ledger would have at this moment; not in the future.",
            "rewrite": believed_at,
        }
    )


class Sort(DelimitedList):
    """Comma-separated columns, each ascending, or descending after a minus. Ties are broken by id."""

    def __init__(self, *columns: Any, default: str) -> None:
        self.columns = {column.key: column for column in columns}
        names = [sign + name for name in self.columns for sign in ("", "-")]
        super().__init__(
            ma.fields.String(validate=ma.validate.OneOf(names)),
            load_default=lambda: [default],
            validate=ma.validate.Length(1, len(self.columns)),
            metadata={
                "description": f"Order: comma-separated, a minus descends; by default `{default}`. Ties go by id."
            },
        )

    def order_by(self, names: list[str]) -> Iterator[sa.ColumnElement[Any]]:
        """What stands behind ORDER BY."""
        for name in names:
            column = self.columns[name.removeprefix("-")]
            yield column.desc() if name.startswith("-") else column.asc()
        # Ties are broken by id, so pages never overlap. It runs the way of the last column: an index serves both ways.
        if not {"id", "-id"} & set(names):
            id_column = column.class_.id
            yield id_column.desc() if names[-1].startswith("-") else id_column.asc()


@dataclass(frozen=True)
class QueryFilter:
    """What a list was asked for. Called with a SELECT, it narrows it; the floor sorts and pages."""

    arguments: Mapping[str, Any]
    filters: Mapping[str, Criterion]
    sort: Sort | None
    rewrites: tuple[tuple[Callable[..., sa.Select[Any]], Any], ...] = ()

    def __call__(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        return self._narrowed(statement, self.criteria.keys())

    def unbounded(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        """The statement narrowed by all but `start` and `end`, for figures that look beyond the range."""
        return self._narrowed(statement, self.criteria.keys() - {"start", "end"})

    def _narrowed(self, statement: sa.Select[Any], names: Iterable[str]) -> sa.Select[Any]:
        statement = statement.where(*(self.criteria[name] for name in names))
        for rewrite, value in self.rewrites:
            statement = rewrite(statement, value)
        return statement

    @cached_property
    def criteria(self) -> Mapping[str, sa.ColumnElement[bool]]:
        return {name: criterion(self.parameter(name)) for name, criterion in self.filters.items()}

    @cached_property
    def order(self) -> tuple[sa.ColumnElement[Any], ...]:
        return tuple(self.sort.order_by(self.arguments["sort"])) if self.sort else ()

    def parameter(self, name: str) -> Any:
        """Return the named parameter, or the list of them, that stands for an argument's value in a statement.

        It takes its type from the column it is compared with: from its value, an id would become a 4-byte integer.
        """
        value = self.arguments[name]
        if isinstance(value, list):
            return [sa.bindparam(f"{name}_{place}", element, NULLTYPE) for place, element in enumerate(value)]
        return sa.bindparam(name, value, NULLTYPE)

    @property
    def start(self) -> dt.datetime | None:
        return self.arguments.get("start")

    @property
    def end(self) -> dt.datetime | None:
        return self.arguments.get("end")

    @property
    def timezone(self) -> str:
        return str(self.arguments["timezone"])


class FilterSchema(QuerySchema):
    """Query arguments that narrow a SELECT. Loads into a Narrowing."""

    @ma.post_load
    def narrowing(self, arguments: dict[str, Any], **kwargs: Any) -> QueryFilter:
        if "timezone" in self.fields:
            arguments.setdefault("timezone", current_actor().timezone)
            _resolve_bare_dates(arguments)
        filters: dict[str, Criterion] = {}
        sort: Sort | None = None
        rewrites: list[tuple[Callable[..., sa.Select[Any]], Any]] = []
        for name, value in arguments.items():
            field = self.fields[name]
            if isinstance(field, Sort):
                sort = field
            elif "criterion" in field.metadata:
                filters[name] = field.metadata["criterion"]
            elif "rewrite" in field.metadata:
                _refuse_future(name, value)
                rewrites.append((field.metadata["rewrite"], value))
        return QueryFilter(arguments, filters, sort, tuple(rewrites))


def _resolve_bare_dates(arguments: dict[str, Any]) -> None:
    """Turn dates in starts and ends into instants. Raises ValidationError for a range that holds nothing."""
    for name, value in arguments.items():
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            arguments[name] = start_of_day(value, arguments["timezone"])
    for start, end in (("start", "end"), ("compare_start", "compare_end")):
        if start in arguments and end in arguments and arguments[end] <= arguments[start]:
            raise ma.ValidationError(f"Must be later than {start}: a range is [{start}, {end}).", end)


def _refuse_future(name: str, moment: dt.datetime) -> None:
    # A caller's clock may be a little ahead of ours: their now is our now.
    if moment > now() + dt.timedelta(minutes=1):
        raise ma.ValidationError("Lies in the future: nobody knows yet what the ledger will say then.", name)


class ListQuerySchema(FilterSchema):
    """The query arguments of a list: its filters, and which page."""

    page = StrictInteger(1, 10**9, metadata={"description": "Which page, from 1, which is the first and the default."})
    page_size = StrictInteger(1, 1000, load_default=50, metadata={"description": "Rows per page, at most 1000."})
    cursor = Text(
        metadata={
            "description": "Instead of `page`: empty to begin, then as the `next` of `Link` has it until there is "
            "none. It costs the same at any depth, and no total is told."
        }
    )

    @ma.validates_schema
    def page_or_cursor(self, arguments: dict[str, Any], **kwargs: Any) -> None:
        if "page" in arguments and "cursor" in arguments:
            raise ma.ValidationError("Give `page` or `cursor`, not both.", "cursor")


class ExportQuerySchema(FilterSchema):
    """The query arguments of a file of rows: its filters, and which kind of file. It needs a `sort`, as a list does."""

    format = Text(
        load_default="csv",
        validate=ma.validate.OneOf(list(MEDIA_TYPES)),
        metadata={"description": "The kind of file: CSV with a header, or a line of JSON for each row."},
    )


class IdsSchema(QuerySchema):
    """The query arguments of a removal of several rows."""

    id = ma.fields.List(
        StrictInteger(),
        required=True,
        validate=ma.validate.Length(1, 1000),
        metadata={"description": "Which rows; repeat it: `?id=1&id=2`. All of them go, or none."},
    )

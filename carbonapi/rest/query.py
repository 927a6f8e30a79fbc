"""Query arguments: declarations that produce validation, documentation, WHERE and ORDER BY."""

import copy
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
from .fields import (
    MEDIA_TYPES,
    Name,
    StrictBoolean,
    StrictInteger,
    Text,
    TimeZoneName,
    UtcDateTime,
    UtcDateTimeOrDate,
    now,
    start_of_day,
)

Criterion = Callable[[Any], sa.ColumnElement[bool]]


class Schema(ma.Schema):
    """Base of all schemas. Unknown fields are rejected."""

    typed = True  # Values have JSON types. In query strings and files, all values are text.

    class Meta:
        unknown = ma.RAISE


def changes_of(schema: type[Schema], doc: str, *left_out: str) -> type[Schema]:
    """Return a schema with the fields of another one, except for some. All can be omitted, and have no default."""
    fields = {name: copy.copy(field) for name, field in schema._declared_fields.items() if name not in left_out}
    for field in fields.values():
        field.required, field.load_default = False, ma.missing
    changes = Schema.from_dict(fields, name=schema.__name__.removeprefix("New").replace("Schema", "ChangesSchema"))
    changes.__doc__ = doc
    return changes  # type: ignore[return-value]


class QuerySchema(Schema):
    """The query arguments of an operation. Unknown ones are rejected, so that a misspelled filter is noticed."""

    typed = False
    reads_form = False  # Whether the fields of an uploaded form are arguments, too.
    error_messages = {"unknown": "There is no such query argument here."}


def _as_filter(field: ma.fields.Field[Any], criterion: Criterion) -> ma.fields.Field[Any]:
    field.metadata = {**field.metadata, "criterion": criterion}
    return field


def any_of(criterion: Criterion, field: ma.fields.Field[Any], description: str) -> ma.fields.List[Any]:
    """Return a repeatable filter that matches any of its values. `criterion` takes the list of values."""
    values: ma.fields.List[Any] = ma.fields.List(
        field,
        metadata={
            "description": f"{description} Can be repeated to match any of several values.",
            "criterion": criterion,
        },
        validate=ma.validate.Length(1, 100),
    )
    return values


def equal_to(column: Any, field: ma.fields.Field[Any] | None = None) -> ma.fields.List[Any]:
    """Return a filter by the value of `column`."""
    return any_of(
        lambda values: column.in_(values), field or StrictInteger(), f"Return only rows with this {column.key}."
    )


def words_in(*columns: Any) -> ma.fields.Field[Any]:
    """Return `q`: a filter for the rows that have each of its words in one of the columns. Case is ignored."""
    text = sa.func.concat_ws(" ", *columns)
    names = ", ".join(column.key for column in columns)
    field = Name(
        validate=ma.validate.Length(1, 200),
        metadata={"description": f"Return only rows that have all of these words in {names}. Case is ignored."},
    )
    return _as_filter(field, lambda words: sa.and_(*(text.icontains(word, autoescape=True) for word in words.split())))


def flag(criterion: sa.ColumnElement[bool], description: str) -> ma.fields.Field[Any]:
    """Return a filter for the rows that meet the criterion, with true, or that do not, with false."""
    return _as_filter(
        StrictBoolean(metadata={"description": description}), lambda value: criterion if value else sa.not_(criterion)
    )


def time_range(column: Any) -> tuple[ma.fields.Field[Any], ma.fields.Field[Any]]:
    """Return `start` and `end`: the half-open interval [start, end) of `column`."""
    bare = "A date without a time means midnight in `timezone`."
    start = UtcDateTimeOrDate(
        metadata={"description": f"Earliest {column.key}, inclusive. {bare}", "example": "2021-01-01"}
    )
    end = UtcDateTimeOrDate(
        metadata={"description": f"Latest {column.key}, exclusive. {bare}", "example": "2022-01-01"}
    )
    return _as_filter(start, lambda moment: column >= moment), _as_filter(end, lambda moment: column < moment)


def time_zone() -> TimeZoneName:
    """Return `timezone`: the time zone of days and of dates without a time, by default the organization's."""
    return TimeZoneName(
        metadata={
            "description": "IANA time zone of days, and of dates without a time. Default: your organization's.",
            "example": "Europe/London",
        }
    )


def as_of(versions_at: Callable[[sa.Select[Any], dt.datetime], sa.Select[Any]]) -> UtcDateTime:
    """Return `as_of`: a time in the past. `versions_at` rewrites a statement to read the versions of that time."""
    return UtcDateTime(
        metadata={
            "description": "Return the ledger as it was at this time, which must not be in the future.",
            "rewrite": versions_at,
        },
        validate=_check_not_future,
    )


def _check_not_future(moment: dt.datetime) -> None:
    # The clock of the client, or of the database, may be slightly ahead. The database waits for its own.
    if moment > now() + dt.timedelta(seconds=2):
        raise ma.ValidationError("Must not be in the future.")


class Sort(DelimitedList):
    """Comma-separated columns. A minus makes a column descending. Ties are sorted by id."""

    def __init__(self, *columns: Any, default: str) -> None:
        self.columns = {column.key: column for column in columns}
        names = [sign + name for name in self.columns for sign in ("", "-")]
        super().__init__(
            ma.fields.String(validate=ma.validate.OneOf(names)),
            load_default=lambda: [default],
            validate=ma.validate.Length(1, len(self.columns)),
            metadata={
                "description": f"Comma-separated columns, by default `{default}`. A minus sorts descending. "
                "Ties are sorted by id."
            },
        )

    def order_by(self, names: list[str]) -> Iterator[sa.ColumnElement[Any]]:
        """Yield the expressions of ORDER BY."""
        for name in names:
            column = self.columns[name.removeprefix("-")]
            yield column.desc() if name.startswith("-") else column.asc()
        # With ties sorted by id, pages never overlap. The id has the direction of the last column, so an index fits.
        if not {"id", "-id"} & set(names):
            id_column = column.class_.id
            yield id_column.desc() if names[-1].startswith("-") else id_column.asc()


@dataclass(frozen=True)
class QueryFilter:
    """The parsed query arguments of a list. Calling it with a SELECT adds their criteria."""

    arguments: Mapping[str, Any]
    filters: Mapping[str, Criterion]
    rewrites: Mapping[str, Callable[..., sa.Select[Any]]]
    sort: Any  # The Sort field, or None.

    def __call__(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        return self._apply(statement, self.criteria.keys())

    def unbounded(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        """Add all criteria except `start` and `end`, for figures that look beyond the range."""
        return self._apply(statement, self.criteria.keys() - {"start", "end"})

    def _apply(self, statement: sa.Select[Any], names: Iterable[str]) -> sa.Select[Any]:
        statement = statement.where(*(self.criteria[name] for name in names))
        for name, rewrite in self.rewrites.items():
            statement = rewrite(statement, self.arguments[name])
        return statement

    @cached_property
    def criteria(self) -> Mapping[str, sa.ColumnElement[bool]]:
        return {name: criterion(_parameters(self.arguments[name])) for name, criterion in self.filters.items()}

    @cached_property
    def order(self) -> tuple[sa.ColumnElement[Any], ...]:
        return tuple(self.sort.order_by(self.arguments["sort"])) if self.sort else ()

    @property
    def start(self) -> dt.datetime | None:
        return self.arguments.get("start")

    @property
    def end(self) -> dt.datetime | None:
        return self.arguments.get("end")

    @property
    def timezone(self) -> str:
        return str(self.arguments["timezone"])


def _parameters(value: Any) -> Any:
    """Return a list as one parameter for each element, of the type of the column that they are compared with."""
    return [sa.bindparam(None, element, NULLTYPE) for element in value] if isinstance(value, list) else value


class FilterSchema(QuerySchema):
    """Query arguments that filter a SELECT. Loading them returns a QueryFilter."""

    @ma.post_load
    def make_filter(self, arguments: dict[str, Any], **kwargs: Any) -> QueryFilter:
        if "timezone" in self.fields:
            arguments.setdefault("timezone", current_actor().timezone)
            _resolve_bare_dates(arguments)
        metadata = {name: self.fields[name].metadata for name in arguments}
        filters, rewrites = (
            {name: of_field[kind] for name, of_field in metadata.items() if kind in of_field}
            for kind in ("criterion", "rewrite")
        )
        return QueryFilter(arguments, filters, rewrites, self.fields.get("sort"))


def _resolve_bare_dates(arguments: dict[str, Any]) -> None:
    """Turn dates without a time into instants. Raise ValidationError for an empty range."""
    for name, value in arguments.items():
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            arguments[name] = start_of_day(value, arguments["timezone"])
    for start, end in (("start", "end"), ("compare_start", "compare_end")):
        if start in arguments and end in arguments and arguments[end] <= arguments[start]:
            raise ma.ValidationError(f"Must be later than {start}.", end)


class ListQuerySchema(FilterSchema):
    """The query arguments of a list: its filters and the page."""

    page = StrictInteger(1, 10**9, metadata={"description": "Page number, starting at 1, the default."})
    page_size = StrictInteger(1, 1000, load_default=50, metadata={"description": "Rows per page, up to 1000."})
    cursor = Text(
        metadata={
            "description": "Alternative to `page` for long lists. Start with an empty one, and follow `next` of `Link` "
            "until it is missing. Each page is equally fast. The response has no total."
        }
    )

    @ma.validates_schema
    def page_or_cursor(self, arguments: dict[str, Any], **kwargs: Any) -> None:
        if "page" in arguments and "cursor" in arguments:
            raise ma.ValidationError("Use either `page` or `cursor`.", "cursor")


class ExportQuerySchema(FilterSchema):
    """The query arguments of an export: its filters and the file format. Subclasses declare `sort`."""

    format = Text(
        load_default="csv",
        validate=ma.validate.OneOf(list(MEDIA_TYPES)),
        metadata={"description": "File format: CSV with a header, or NDJSON with one JSON object per line."},
    )


class IdsSchema(QuerySchema):
    """The query arguments for deleting several rows."""

    id = ma.fields.List(
        StrictInteger(),
        required=True,
        validate=ma.validate.Length(1, 1000),
        metadata={"description": "Ids of the rows to delete: `?id=1&id=2`. All of them are deleted, or none."},
    )

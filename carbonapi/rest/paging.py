"""One page of a list: its rows as JSON, and the headers with its position."""

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import marshmallow as ma
import sqlalchemy as sa
from flask import current_app, request

from ..db import CompiledStatement, db
from .base_path import url_of
from .cursor import decode_cursor, encode_cursor
from .json_sql import row_as_json
from .query import QueryFilter

MAX_LINKS_BYTES = 2048  # Of queries in a Link header. nginx accepts 4096 bytes of all headers by default.
DEEP_OFFSET = 1000  # Skipping more rows than this is slow: narrow the range first.
MAX_CACHED_PAGES = 500
Headers = dict[str, str]
# The compiled SELECTs of pages, and the names in them of the parameters of the view's SELECT, in order.
_CACHED_PAGES: dict[Hashable, tuple[CompiledStatement, list[str]]] = {}


@dataclass(frozen=True)
class PagePosition:
    """The position of a page in its list."""

    page: int
    page_size: int
    total: int

    @property
    def last_page(self) -> int:
        """The last page: of an empty list, the first page, which is empty."""
        return max(1, -(-self.total // self.page_size))

    @property
    def previous_page(self) -> int | None:
        return min(self.page - 1, self.last_page) if self.page > 1 else None

    @property
    def next_page(self) -> int | None:
        return self.page + 1 if self.page < self.last_page else None

    def headers(self) -> Headers:
        """Return X-Pagination, and Link (RFC 8288) with relative URLs."""
        pagination = {
            "total": self.total,
            "total_pages": -(-self.total // self.page_size),
            "first_page": 1,
            "last_page": self.last_page,
            "page": self.page,
            "previous_page": self.previous_page,
            "next_page": self.next_page,
        }
        pages = {"first": 1, "prev": self.previous_page, "next": self.next_page, "last": self.last_page}
        links = {relation: ("page", page) for relation, page in pages.items() if page is not None}
        return {"X-Pagination": json.dumps(pagination), "Link": _links(links)}


@dataclass(frozen=True)
class RowCount:
    """The number of rows of a list.

    around: takes the offset and the size of a page. Returns a criterion for a range of rows that includes the page, and
    the offset of the page within that range. PostgreSQL then skips fewer rows to reach a deep page.
    """

    total: sa.ColumnElement[int]
    around: Callable[[Any, Any], tuple[sa.ColumnElement[bool], sa.ColumnElement[int]]] | None = None


CountRows = Callable[[QueryFilter], RowCount | None]
Parts = Callable[[], Sequence[sa.ColumnElement[bool]]]


def render_page(
    statement: sa.Select[Any],
    schema: type[ma.Schema],
    query_filter: QueryFilter,
    count_rows: CountRows | None = None,
    parts: Parts | None = None,
) -> tuple[bytes, Headers]:
    """Return the JSON of the page that the request asks for, by number or by cursor, and its headers.

    statement: the SELECT of all rows of the list. count_rows: returns the number of rows without counting them, or None
    if it cannot. parts: returns the criteria of the parts that are read separately.
    """
    criteria = parts() if parts else ()
    if "cursor" in query_filter.arguments:
        return _page_by_cursor(statement, schema, query_filter, criteria)
    row_count = count_rows(query_filter) if count_rows else None
    return _page_by_number(statement, schema, query_filter, row_count, criteria)


def _first_of_parts(
    statement: sa.Select[Any], query_filter: QueryFilter, criteria: Sequence[sa.ColumnElement[bool]], limit: int
) -> sa.Select[Any]:
    """Return a SELECT of the first rows of each part, which include the first rows of the list."""
    (described,) = statement.column_descriptions
    key = described["entity"].__table__.primary_key.columns
    parts = (
        statement.where(criterion).with_only_columns(*key).order_by(*query_filter.order).limit(limit)
        for criterion in criteria
    )
    return sa.select(described["entity"]).where(sa.tuple_(*key).in_(sa.union_all(*parts)))


def _page_by_number(
    statement: sa.Select[Any],
    schema: type[ma.Schema],
    query_filter: QueryFilter,
    row_count: RowCount | None,
    criteria: Sequence[sa.ColumnElement[bool]],
) -> tuple[bytes, Headers]:
    """Read rows and total in one statement. A page after the last has no rows, so its total takes a second one."""
    page, page_size = query_filter.arguments.get("page", 1), query_filter.arguments["page_size"]
    offset = (page - 1) * page_size
    if criteria:
        first = _first_of_parts(statement, query_filter, criteria, offset + page_size)
        of_page = first.order_by(*query_filter.order).limit(page_size).offset(offset)
        with_total = _with_json(of_page, schema, _sort_keys(query_filter)).add_columns(_count(statement))
        rows = db.session.execute(with_total).all()
    elif row_count and row_count.around and offset >= DEEP_OFFSET:
        rows = db.session.execute(_deep_page(statement, schema, query_filter, row_count, offset)).all()
    else:
        rows = _read_page(statement, schema, query_filter, row_count, offset)
    if rows or page == 1:
        total = rows[0][-1] if rows else 0
    else:
        total = db.session.scalars(sa.select(row_count.total if row_count else _count(statement))).one()
    return _json(rows, schema), PagePosition(page, page_size, total).headers()


def _read_page(
    statement: sa.Select[Any],
    schema: type[ma.Schema],
    query_filter: QueryFilter,
    row_count: RowCount | None,
    offset: int,
) -> Sequence[Any]:
    """Execute the SELECT of a page.

    Wrapping and compiling the view's SELECT takes longer than the rest of the request, so the text is cached. Its key
    is that of SQLAlchemy's own cache, which has the structure of a statement, and its parameters in order.
    """
    parts = [statement._generate_cache_key()]
    if row_count:
        parts.append(row_count.total._generate_cache_key())
    parameters = [parameter for part in parts if part for parameter in part.bindparams]
    limits = {"page_offset": offset, "page_size": query_filter.arguments["page_size"]}
    key = (*(part and part.key for part in parts), schema, tuple(query_filter.arguments["sort"]))
    cached = _CACHED_PAGES.get(key)
    if cached is None:
        offset_parameter, page_size = (sa.bindparam(name, value, sa.BigInteger) for name, value in limits.items())
        page = statement.order_by(*query_filter.order).limit(page_size).offset(offset_parameter)
        total = row_count.total if row_count else _count(statement)
        page = _with_json(page, schema, _sort_keys(query_filter)).add_columns(total)
        is_json = isinstance(page.column_descriptions[0]["type"], sa.Text)
        if not is_json or None in parts or any(parameter.expanding for parameter in parameters):
            return db.session.execute(page).all()
        if len(_CACHED_PAGES) >= MAX_CACHED_PAGES:
            _CACHED_PAGES.clear()
        compiled = CompiledStatement(page)
        cached = _CACHED_PAGES[key] = compiled, [compiled.names[parameter.key] for parameter in parameters]
    compiled, names = cached
    values = dict(zip(names, (parameter.effective_value for parameter in parameters), strict=True))
    return compiled.execute(values | limits).all()


def _deep_page(
    statement: sa.Select[Any], schema: type[ma.Schema], query_filter: QueryFilter, row_count: RowCount, offset: int
) -> sa.Select[Any]:
    """Return the SELECT of a page for which the range of rows is narrowed first."""
    assert row_count.around is not None
    page_size = sa.literal(query_filter.arguments["page_size"], sa.BigInteger)
    criterion, remaining_offset = row_count.around(sa.literal(offset, sa.BigInteger), page_size)
    page = statement.where(criterion).order_by(*query_filter.order).limit(page_size).offset(remaining_offset)
    return _with_json(page, schema, _sort_keys(query_filter)).add_columns(row_count.total)


def _count(statement: sa.Select[Any]) -> sa.ScalarSelect[int]:
    return statement.with_only_columns(sa.func.count(), maintain_column_froms=True).correlate(None).scalar_subquery()


def _page_by_cursor(
    statement: sa.Select[Any],
    schema: type[ma.Schema],
    query_filter: QueryFilter,
    criteria: Sequence[sa.ColumnElement[bool]] = (),
) -> tuple[bytes, Headers]:
    """Read the rows after the cursor's row. All pages are equally fast. There is no total.

    Raise ValidationFailed for a cursor of another list, filter or order.
    """
    page_size, keys = query_filter.arguments["page_size"], _sort_keys(query_filter)
    if query_filter.arguments["cursor"]:
        values = decode_cursor(query_filter.arguments["cursor"], [column for column, _ in keys])
        statement = statement.where(_is_after(keys, values))
    if criteria:
        statement = _first_of_parts(statement, query_filter, criteria, page_size + 1)
    of_page = statement.order_by(*query_filter.order).limit(page_size + 1)
    rows = db.session.execute(_with_json(of_page, schema, keys)).all()
    links: dict[str, tuple[str, Any]] = {"first": ("cursor", "")}
    if len(rows) > page_size:
        links["next"] = ("cursor", encode_cursor(rows[page_size - 1][1:]))
    return _json(rows[:page_size], schema), {"Link": _links(links)}


def _sort_keys(query_filter: QueryFilter) -> list[tuple[Any, bool]]:
    """Return the columns that the list is sorted by, and whether each is descending."""
    return [(order.element, order.modifier is sa.sql.operators.desc_op) for order in query_filter.order]


def _with_json(page: sa.Select[Any], schema: type[ma.Schema], keys: Sequence[tuple[Any, bool]]) -> sa.Select[Any]:
    """Select the JSON of the page's rows, or the rows if PostgreSQL cannot write it, and their sort keys.

    The page is a subquery, so that PostgreSQL writes no JSON for skipped rows.
    """
    (described,) = page.column_descriptions
    row_json = row_as_json(schema, described["entity"])
    if row_json is None:
        return page.add_columns(*(column for column, _ in keys))
    rows = page.subquery(described["entity"].__tablename__)
    # By name: creating the column objects of the subquery takes longer than the rest of the request.
    named_keys = [(sa.literal_column(f"{rows.name}.{column.key}", column.type), descends) for column, descends in keys]
    return (
        sa.select(row_json, *(column for column, _ in named_keys))
        .select_from(rows)
        .order_by(*(column.desc() if descends else column.asc() for column, descends in named_keys))
    )


def _json(rows: Sequence[Any], schema: type[ma.Schema]) -> bytes:
    if rows and not isinstance(rows[0][0], str):
        return current_app.json.dumps(schema(many=True).dump([row[0] for row in rows])).encode()
    return f"[{','.join(row[0] for row in rows)}]".encode()


def cursor_link(values: Sequence[Any]) -> str:
    """Return a Link header whose `next` continues after a row with these sort keys."""
    return _links({"next": ("cursor", encode_cursor(values))})


def _links(links: dict[str, tuple[str, Any]]) -> str:
    """Return the header. Each link repeats the query, so a long one leaves room for few links in a proxy's buffer."""
    others = urlencode([item for item in request.args.items(multi=True) if item[0] not in ("page", "cursor")])
    count = MAX_LINKS_BYTES // len(others) if others else len(links)
    relations = [relation for relation in ("next", "prev", "first", "last") if relation in links]
    # `next` is always there. Without it, a client would take this page for the last one.
    shown = relations[: max(count, "next" in links)]
    address = f"{url_of(request.path)}?{others}{'&' if others else ''}"
    return ", ".join(
        f'<{address}{urlencode([argument])}>; rel="{relation}"'
        for relation, argument in links.items()
        if relation in shown
    )


def _is_after(keys: Sequence[tuple[Any, bool]], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Return a criterion for the rows after the one with these values, in the order of the keys."""
    columns = [column for column, _ in keys]
    directions = {descends for _, descends in keys}
    if len(directions) == 1 and None not in values and not any(column.nullable for column in columns):
        # A row comparison uses an index over the columns.
        row, last = sa.tuple_(*columns), sa.tuple_(*map(_literal, columns, values))
        return row < last if directions == {True} else row > last
    after = [
        sa.and_(*(_equal(column, value) for column, value in zip(columns[:place], values, strict=False)),
                _follows(*keys[place], values[place]))
        for place in range(len(keys))
    ]  # fmt: skip
    return sa.or_(*after)


def _follows(column: Any, descends: bool, value: Any) -> sa.ColumnElement[bool]:
    """PostgreSQL sorts nulls last, or first in descending order."""
    if value is None:
        return column.is_not(None) if descends else sa.false()
    follows: sa.ColumnElement[bool] = column < _literal(column, value) if descends else column > _literal(column, value)
    return follows if descends or not column.nullable else follows | column.is_(None)


def _equal(column: Any, value: Any) -> sa.ColumnElement[bool]:
    equal: sa.ColumnElement[bool] = column.is_(None) if value is None else column == _literal(column, value)
    return equal


def _literal(column: Any, value: Any) -> sa.ColumnElement[Any]:
    return sa.literal(value, column.type)

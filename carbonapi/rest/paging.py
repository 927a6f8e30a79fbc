"""One page of a list: its rows as JSON, and the headers with its position."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import marshmallow as ma
import sqlalchemy as sa
from flask import current_app, request

from ..db import db
from .base_path import url_of
from .cursor import decode_cursor, encode_cursor
from .page_query import count_of, read_page, sort_keys, with_json
from .query import QueryFilter

MAX_LINKS_BYTES = 2048  # Of queries in a Link header. nginx accepts 4096 bytes of all headers by default.
DEEP_OFFSET = 1000  # Skipping more rows than this is slow: narrow the range first.
Headers = dict[str, str]


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
        first = _first_of_parts(statement, query_filter, criteria, offset + page_size).order_by(*query_filter.order)
        bounds = sa.literal(page_size, sa.BigInteger), sa.literal(offset, sa.BigInteger)
        of_page = with_json(first, *bounds, schema=schema, query_filter=query_filter)
        rows = db.session.execute(of_page.add_columns(count_of(statement))).all()
    elif row_count and row_count.around and offset >= DEEP_OFFSET:
        rows = db.session.execute(_deep_page(statement, schema, query_filter, row_count, offset)).all()
    else:
        known = row_count.total if row_count else None
        rows = read_page(statement, schema, query_filter, limit=page_size, offset=offset, total=known)
    if rows or page == 1:
        total = rows[0][-1] if rows else 0
    else:
        total = db.session.scalars(sa.select(row_count.total if row_count else count_of(statement))).one()
    return _json(rows, schema), PagePosition(page, page_size, total).headers()


def _deep_page(
    statement: sa.Select[Any], schema: type[ma.Schema], query_filter: QueryFilter, row_count: RowCount, offset: int
) -> sa.Select[Any]:
    """Return the SELECT of a page for which the range of rows is narrowed first."""
    assert row_count.around is not None
    page_size = sa.literal(query_filter.arguments["page_size"], sa.BigInteger)
    criterion, remaining_offset = row_count.around(sa.literal(offset, sa.BigInteger), page_size)
    near = statement.where(criterion).order_by(*query_filter.order)
    page = with_json(near, page_size, remaining_offset, schema=schema, query_filter=query_filter)
    return page.add_columns(row_count.total)


def _page_by_cursor(
    statement: sa.Select[Any],
    schema: type[ma.Schema],
    query_filter: QueryFilter,
    criteria: Sequence[sa.ColumnElement[bool]] = (),
) -> tuple[bytes, Headers]:
    """Read the rows after the cursor's row. All pages are equally fast. There is no total.

    Raise ValidationFailed for a cursor of another list, filter or order.
    """
    page_size, keys = query_filter.arguments["page_size"], sort_keys(query_filter)
    if query_filter.arguments["cursor"]:
        values = decode_cursor(query_filter.arguments["cursor"], [column for column, _ in keys])
        statement = statement.where(_is_after(keys, values))
    if criteria:
        first = _first_of_parts(statement, query_filter, criteria, page_size + 1).order_by(*query_filter.order)
        limit = sa.literal(page_size + 1, sa.BigInteger)
        rows = db.session.execute(with_json(first, limit, schema=schema, query_filter=query_filter)).all()
    else:
        rows = read_page(statement, schema, query_filter, limit=page_size + 1)
    links: dict[str, tuple[str, Any]] = {"first": ("cursor", "")}
    if len(rows) > page_size:
        links["next"] = ("cursor", encode_cursor(rows[page_size - 1][1:]))
    return _json(rows[:page_size], schema), {"Link": _links(links)}


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

"""One page of a list: its rows as JSON, and the headers with its position."""

import base64
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import marshmallow as ma
import sqlalchemy as sa
from flask import current_app, request

from ..db import CompiledStatement, db
from ..errors import ValidationFailed
from .fields import format_datetime, format_decimal
from .json_sql import row_as_json
from .query import QueryFilter

SIGNATURE_BYTES = 12
DEEP_OFFSET = 1000  # Skipping more rows than this is slow: narrow the range first.
MAX_CACHED_PAGES = 500
Headers = dict[str, str]
# The compiled SELECTs of pages, and the names in them of the parameters of rows and number, in order.
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


@dataclass(frozen=True)
class List:
    """All rows of a list.

    statement: the SELECT that the view returned. count_rows: returns the number of rows without counting them, or None
    if it cannot.
    """

    statement: sa.Select[Any]
    schema: type[ma.Schema]
    query_filter: QueryFilter
    count_rows: CountRows | None = None

    def row_count(self) -> RowCount:
        return (self.count_rows and self.count_rows(self.query_filter)) or RowCount(_count(self.statement))

    def page(self, row_count: RowCount, offset: int, page_size: int) -> sa.Select[Any]:
        """Return the SELECT of a page, with the total in each row. Offset and size are named parameters."""
        statement = self.statement
        skipped: Any = sa.bindparam("page_offset", offset, sa.BigInteger)
        limit = sa.bindparam("page_size", page_size, sa.BigInteger)
        if row_count.around and offset >= DEEP_OFFSET:
            criterion, skipped = row_count.around(skipped, limit)
            statement = statement.where(criterion)
        statement = statement.order_by(*self.query_filter.order).limit(limit).offset(skipped)
        return _with_json(statement, self.schema, _sort_keys(self.query_filter)).add_columns(row_count.total)


def render_page(rows: List) -> tuple[bytes, Headers]:
    """Return the JSON of the page that the request asks for, by number or by cursor, and its headers."""
    if "cursor" in rows.query_filter.arguments:
        return _page_by_cursor(rows.statement, rows.schema, rows.query_filter)
    return _page_by_number(rows)


def _page_by_number(all_rows: List) -> tuple[bytes, Headers]:
    """Read rows and total in one statement. A page after the last has no rows, so its total takes a second one."""
    arguments = all_rows.query_filter.arguments
    page, page_size = arguments.get("page", 1), arguments["page_size"]
    rows = _read_page(all_rows, (page - 1) * page_size, page_size)
    if rows or page == 1:
        total = rows[0][-1] if rows else 0
    else:
        total = db.session.scalars(sa.select(all_rows.row_count().total)).one()
    return _json(rows, all_rows.schema), PagePosition(page, page_size, total).headers()


def _read_page(all_rows: List, offset: int, page_size: int) -> Sequence[Any]:
    """Execute the SELECT of a page.

    Wrapping the view's SELECT into that of a page and compiling it takes longer than all the rest of the request. So the
    text is cached under SQLAlchemy's cache keys of the two parts that vary, the rows and their number. A cache key holds
    the structure of a statement, and lists its parameters in order.
    """
    query_filter, row_count = all_rows.query_filter, all_rows.row_count()
    keys = all_rows.statement._generate_cache_key(), row_count.total._generate_cache_key()
    is_deep = row_count.around is not None and offset >= DEEP_OFFSET
    parameters = [parameter for key in keys if key for parameter in key.bindparams]
    if None in keys or is_deep or query_filter.rewrites or any(parameter.expanding for parameter in parameters):
        return db.session.execute(all_rows.page(row_count, offset, page_size)).all()
    cache_key = (*(key.key for key in keys if key), all_rows.schema, tuple(query_filter.arguments["sort"]))
    cached = _CACHED_PAGES.get(cache_key)
    if cached is None:
        statement = all_rows.page(row_count, offset, page_size)
        if not isinstance(statement.column_descriptions[0]["type"], sa.Text):  # The session loads these rows.
            return db.session.execute(statement).all()
        if len(_CACHED_PAGES) >= MAX_CACHED_PAGES:
            _CACHED_PAGES.clear()
        compiled = CompiledStatement(statement)
        cached = _CACHED_PAGES[cache_key] = compiled, [compiled.names[parameter.key] for parameter in parameters]
    compiled, names = cached
    values = dict(zip(names, (parameter.effective_value for parameter in parameters), strict=True))
    return compiled.execute(values | {"page_offset": offset, "page_size": page_size}).all()


def _count(statement: sa.Select[Any]) -> sa.ScalarSelect[int]:
    return statement.with_only_columns(sa.func.count(), maintain_column_froms=True).correlate(None).scalar_subquery()


def _page_by_cursor(
    statement: sa.Select[Any], schema: type[ma.Schema], query_filter: QueryFilter
) -> tuple[bytes, Headers]:
    """Read the rows after the cursor's row. All pages are equally fast. There is no total.

    Raise ValidationFailed for a cursor of another list, filter or order.
    """
    page_size, keys = query_filter.arguments["page_size"], _sort_keys(query_filter)
    if query_filter.arguments["cursor"]:
        values = _decode_cursor(query_filter.arguments["cursor"], [column for column, _ in keys])
        statement = statement.where(_is_after(keys, values))
    of_page = statement.order_by(*query_filter.order).limit(page_size + 1)
    rows = db.session.execute(_with_json(of_page, schema, keys)).all()
    links: dict[str, tuple[str, Any]] = {"first": ("cursor", "")}
    if len(rows) > page_size:
        links["next"] = ("cursor", _encode_cursor(rows[page_size - 1][1:]))
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


def _links(links: dict[str, tuple[str, Any]]) -> str:
    others = [(name, value) for name, value in request.args.items(multi=True) if name not in ("page", "cursor")]
    address = f"{request.path}?{urlencode(others)}{'&' if others else ''}"
    return ", ".join(f'<{address}{urlencode([argument])}>; rel="{relation}"' for relation, argument in links.items())


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


def _encode_cursor(values: Sequence[Any]) -> str:
    """Return a signed cursor with the sort keys of a row."""
    content = json.dumps([_serialize(value) for value in values], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_sign(content) + content).decode().rstrip("=")


def _decode_cursor(cursor: str, columns: Sequence[Any]) -> list[Any]:
    try:
        signed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        signature, content = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        is_valid = hmac.compare_digest(signature, _sign(content))
    except ValueError:
        is_valid = False
    if not is_valid:
        message = "Must be a cursor of this list with the same filters and order. Start with an empty one."
        raise ValidationFailed(message, {"query": {"cursor": [message]}})
    return [_parse(value, column) for value, column in zip(json.loads(content), columns, strict=True)]


def _serialize(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return format_datetime(value)
    return format_decimal(value) if isinstance(value, Decimal) else value


def _parse(value: Any, column: Any) -> Any:
    if value is None:
        return None
    python_type = column.type.python_type
    return dt.datetime.fromisoformat(value) if python_type is dt.datetime else python_type(value)


def _sign(content: bytes) -> bytes:
    """Return a signature that is valid for this path, filters and order only."""
    others = request.args.items(multi=True)
    arguments = sorted((name, value) for name, value in others if name not in ("cursor", "page_size"))
    key = current_app.config["SECRET_KEY"].encode()
    message = json.dumps([request.path.rstrip("/"), arguments]).encode() + b"\0" + content
    return hmac.digest(key, b"cursor\0" + message, hashlib.sha256)[:SIGNATURE_BYTES]

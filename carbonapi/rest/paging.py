"""One page of a SELECT, and the headers that tell where it stands."""

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

from ..auth import current_actor
from ..db import CompiledStatement, db
from ..errors import ValidationFailed
from .fields import format_datetime, format_decimal
from .json_sql import row_as_json
from .query import QueryFilter

SEAL_BYTES = 12
DEEP_OFFSET = 1000  # Rows before a page that are passed over rather than looked for.
MOST_KEPT = 500  # Statements of pages, by all that makes one unlike another but its values.
Headers = dict[str, str]
_KEPT: dict[Hashable, CompiledStatement] = {}


@dataclass(frozen=True)
class PagePosition:
    """Where a page stands in its list."""

    page: int
    page_size: int
    total: int

    @property
    def last_page(self) -> int:
        """The last page; of an empty list it is the first, which is empty."""
        return max(1, -(-self.total // self.page_size))

    @property
    def previous_page(self) -> int | None:
        return min(self.page - 1, self.last_page) if self.page > 1 else None

    @property
    def next_page(self) -> int | None:
        return self.page + 1 if self.page < self.last_page else None

    def headers(self) -> Headers:
        """X-Pagination, and Link as in RFC 8288, relative to the host."""
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
    """How many rows a list has, where that is known without counting them.

    around: what narrows the list to rows around those of a page, told its offset and its size as parameters, and the
    offset among these; None if nobody knows.
    """

    total: sa.ColumnElement[int]
    around: Callable[[Any, Any], tuple[sa.ColumnElement[bool], sa.ColumnElement[int]]] | None = None


@dataclass(frozen=True)
class ListSource:
    """A list of which a page is asked for.

    rows: builds the SELECT of all of it. tally: may know how many these are. kept_as: names the list, if its statement
    depends on nothing but what narrows it and the actor's role. If PostgreSQL writes the rows, it is built once then.
    """

    rows: Callable[[], sa.Select[Any]]
    schema: type[ma.Schema]
    tally: Callable[[QueryFilter], RowCount | None] | None = None
    kept_as: Hashable = None

    def counted(self, narrowing: QueryFilter) -> tuple[sa.Select[Any], RowCount]:
        """The SELECT, and how many rows it has."""
        rows = self.rows()
        known = self.tally(narrowing) if self.tally else None
        return rows, known or RowCount(_counted(rows))


def render_page(listed: ListSource, narrowing: QueryFilter) -> tuple[bytes, Headers]:
    """The JSON of the page that `narrowing` asks for, by its number or by a cursor, and the headers that go with it."""
    if "cursor" in narrowing.arguments:
        return _page_by_cursor(listed.rows(), listed.schema, narrowing)
    return _page_by_number(listed, narrowing)


def _page_by_number(listed: ListSource, narrowing: QueryFilter) -> tuple[bytes, Headers]:
    """The exact total comes with the rows in one statement; past the end, where there are no rows, it takes another."""
    page, page_size = narrowing.arguments.get("page", 1), narrowing.arguments["page_size"]
    cut = {"page_offset": (page - 1) * page_size, "page_size": page_size}
    rows = _rows(listed, narrowing, cut)
    if rows or page == 1:
        total = rows[0][-1] if rows else 0
    else:
        _, tally = listed.counted(narrowing)
        total = db.session.scalars(sa.select(tally.total)).one()
    return _json(rows, listed.schema), PagePosition(page, page_size, total).headers()


def _rows(listed: ListSource, narrowing: QueryFilter, cut: dict[str, int]) -> Sequence[Any]:
    """The page's rows, each with the total at its end; by the statement of a like page, if one was built."""
    if listed.kept_as is None or narrowing.rewrites:
        return db.session.execute(_numbered(listed, narrowing, cut)).all()
    name = (listed.kept_as, current_actor().role, narrowing.shape(), cut["page_offset"] >= DEEP_OFFSET)
    kept = _KEPT.get(name)
    if kept is None:
        statement = _numbered(listed, narrowing, cut)
        if not isinstance(statement.column_descriptions[0]["type"], sa.Text):  # The session makes the rows.
            return db.session.execute(statement).all()
        if len(_KEPT) >= MOST_KEPT:
            _KEPT.clear()
        kept = _KEPT[name] = CompiledStatement(statement)
    return kept.execute(narrowing.values() | cut).all()


def _numbered(listed: ListSource, narrowing: QueryFilter, cut: dict[str, int]) -> sa.Select[Any]:
    """The SELECT of a page by its number; all that another page of its kind has otherwise is a named parameter."""
    statement, tally = listed.counted(narrowing)
    offset, page_size = (sa.bindparam(name, value, sa.BigInteger) for name, value in cut.items())
    beyond: Any = offset
    if tally.around and cut["page_offset"] >= DEEP_OFFSET:
        criterion, beyond = tally.around(offset, page_size)
        statement = statement.where(criterion)
    of_page = statement.order_by(*narrowing.order).limit(page_size).offset(beyond)
    return _shown(of_page, listed.schema, _keys(narrowing)).add_columns(tally.total)


def _counted(statement: sa.Select[Any]) -> sa.ScalarSelect[int]:
    return statement.with_only_columns(sa.func.count(), maintain_column_froms=True).correlate(None).scalar_subquery()


def _page_by_cursor(
    statement: sa.Select[Any], schema: type[ma.Schema], narrowing: QueryFilter
) -> tuple[bytes, Headers]:
    """The rows behind the one that the cursor names, at the same cost at any depth; no total.

    Raises Invalid for a cursor that is not one of this list, as it is filtered and sorted now.
    """
    page_size, keys = narrowing.arguments["page_size"], _keys(narrowing)
    if narrowing.arguments["cursor"]:
        values = _values_of(narrowing.arguments["cursor"], [column for column, _ in keys])
        statement = statement.where(_beyond(keys, values))
    of_page = statement.order_by(*narrowing.order).limit(page_size + 1)
    rows = db.session.execute(_shown(of_page, schema, keys)).all()
    links: dict[str, tuple[str, Any]] = {"first": ("cursor", "")}
    if len(rows) > page_size:
        links["next"] = ("cursor", _cursor_of(rows[page_size - 1][1:]))
    return _json(rows[:page_size], schema), {"Link": _links(links)}


def _keys(narrowing: QueryFilter) -> list[tuple[Any, bool]]:
    """What the list is ordered by: each column, and whether it descends."""
    return [(order.element, order.modifier is sa.sql.operators.desc_op) for order in narrowing.order]


def _shown(page: sa.Select[Any], schema: type[ma.Schema], keys: Sequence[tuple[Any, bool]]) -> sa.Select[Any]:
    """What is shown of a page's rows, their JSON where PostgreSQL can write it, else the rows; and their keys.

    The page is cut first and its text written then: else that of all rows which are passed over would be written too.
    """
    (described,) = page.column_descriptions
    line = row_as_json(schema, described["entity"])
    if line is None:
        return page.add_columns(*(column for column, _ in keys))
    cut = page.subquery(described["entity"].__tablename__)
    # By name: to ask the subquery for its columns makes all of them anew, which takes longer than the whole page.
    shown = [(sa.literal_column(f"{cut.name}.{column.key}", column.type), descends) for column, descends in keys]
    return (
        sa.select(line, *(column for column, _ in shown))
        .select_from(cut)
        .order_by(*(column.desc() if descends else column.asc() for column, descends in shown))
    )


def _json(rows: Sequence[Any], schema: type[ma.Schema]) -> bytes:
    if rows and not isinstance(rows[0][0], str):
        return current_app.json.dumps(schema(many=True).dump([row[0] for row in rows])).encode()
    return f"[{','.join(row[0] for row in rows)}]".encode()


def _links(links: dict[str, tuple[str, Any]]) -> str:
    others = [(name, value) for name, value in request.args.items(multi=True) if name not in ("page", "cursor")]
    address = f"{request.path}?{urlencode(others)}{'&' if others else ''}"
    return ", ".join(f'<{address}{urlencode([argument])}>; rel="{relation}"' for relation, argument in links.items())


def _beyond(keys: Sequence[tuple[Any, bool]], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Whether a row comes after the one with these values, in the order of the keys: (column, whether it descends)."""
    columns = [column for column, _ in keys]
    directions = {descends for _, descends in keys}
    if len(directions) == 1 and None not in values and not any(column.nullable for column in columns):
        # Compared as a row, which an index over the columns serves at any depth.
        here, there = sa.tuple_(*columns), sa.tuple_(*map(_literal, columns, values))
        return here < there if directions == {True} else here > there
    after = [
        sa.and_(*(_equal(column, value) for column, value in zip(columns[:place], values, strict=False)),
                _after(*keys[place], values[place]))
        for place in range(len(keys))
    ]  # fmt: skip
    return sa.or_(*after)


def _after(column: Any, descends: bool, value: Any) -> sa.ColumnElement[bool]:
    """PostgreSQL has nulls behind everything, and so first where it descends."""
    if value is None:
        return column.is_not(None) if descends else sa.false()
    further: sa.ColumnElement[bool] = column < _literal(column, value) if descends else column > _literal(column, value)
    return further if descends or not column.nullable else further | column.is_(None)


def _equal(column: Any, value: Any) -> sa.ColumnElement[bool]:
    equal: sa.ColumnElement[bool] = column.is_(None) if value is None else column == _literal(column, value)
    return equal


def _literal(column: Any, value: Any) -> sa.ColumnElement[Any]:
    return sa.literal(value, column.type)


def _cursor_of(values: Sequence[Any]) -> str:
    """A text that names a row by its values, sealed together with what the list was asked for."""
    told = json.dumps([_told(value) for value in values], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_seal(told) + told).decode().rstrip("=")


def _values_of(cursor: str, columns: Sequence[Any]) -> list[Any]:
    try:
        sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        seal, told = sealed[:SEAL_BYTES], sealed[SEAL_BYTES:]
        genuine = hmac.compare_digest(seal, _seal(told))
    except ValueError:
        genuine = False
    if not genuine:
        message = "Not a cursor of this list as it is filtered and sorted. Begin with an empty one."
        raise ValidationFailed(message, {"query": {"cursor": [message]}})
    return [_read(value, column) for value, column in zip(json.loads(told), columns, strict=True)]


def _told(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return format_datetime(value)
    return format_decimal(value) if isinstance(value, Decimal) else value


def _read(value: Any, column: Any) -> Any:
    if value is None:
        return None
    kind = column.type.python_type
    return dt.datetime.fromisoformat(value) if kind is dt.datetime else kind(value)


def _seal(told: bytes) -> bytes:
    """Of the cursor of this very list: another path, filter or order has another one."""
    others = request.args.items(multi=True)
    asked = sorted((name, value) for name, value in others if name not in ("cursor", "page_size"))
    key = current_app.config["SECRET_KEY"].encode()
    message = json.dumps([request.path.rstrip("/"), asked]).encode() + b"\0" + told
    return hmac.digest(key, b"cursor\0" + message, hashlib.sha256)[:SEAL_BYTES]

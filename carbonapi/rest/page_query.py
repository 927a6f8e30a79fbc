"""The SELECT of a page: compiled once for each list with the same filters and order, and executed for each page."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import marshmallow as ma
import sqlalchemy as sa

from ..db import CompiledStatement, db, is_read_in_order
from .json_sql import row_as_json
from .query import QueryFilter

MAX_CACHED_PAGES = 500
SHALLOW_ROWS = 2000  # Of a page and before it.
# The compiled SELECTs of pages, and the names in them of the parameters of the view's SELECT, in order.
_CACHED_PAGES: dict[Hashable, tuple[CompiledStatement, list[str]]] = {}


def read_page(
    statement: sa.Select[Any],
    schema: type[ma.Schema],
    query_filter: QueryFilter,
    *,
    limit: int,
    offset: int | None = None,
    total: sa.ColumnElement[int] | None = None,
) -> Sequence[Any]:
    """Return the rows of a page as `with_json` selects them. With an offset, each has the total, by default counted.

    Wrapping and compiling the view's SELECT takes longer than the rest of the request, so the text is cached. Its key
    is that of SQLAlchemy's own cache, which has the structure of a statement, and its parameters in order.
    """
    parts = [part._generate_cache_key() for part in (statement, total) if part is not None]
    parameters = [parameter for part in parts if part for parameter in part.bindparams]
    limits = {"page_size": limit} if offset is None else {"page_size": limit, "page_offset": offset}
    is_shallow = sum(limits.values()) <= SHALLOW_ROWS
    sort = tuple(query_filter.arguments["sort"])
    key = (*(part and part.key for part in parts), schema, sort, is_shallow, len(limits))
    cached = _CACHED_PAGES.get(key)
    if cached is None:
        bounds = [sa.bindparam(name, value, sa.BigInteger) for name, value in limits.items()]
        ordered = statement.order_by(*query_filter.order)
        is_prepared = is_shallow and not query_filter.rewrites and is_read_in_order(statement, query_filter.order)
        page = with_json(ordered, *bounds, schema=schema, query_filter=query_filter, is_prepared=is_prepared)
        if offset is not None:
            page = page.add_columns(count_of(statement) if total is None else total)
        is_json = isinstance(page.column_descriptions[0]["type"], sa.Text)
        if not is_json or None in parts or any(parameter.expanding for parameter in parameters):
            return db.session.execute(page).all()
        if len(_CACHED_PAGES) >= MAX_CACHED_PAGES:
            _CACHED_PAGES.clear()
        compiled = CompiledStatement(page, prepared=is_prepared)
        cached = _CACHED_PAGES[key] = compiled, [compiled.names[parameter.key] for parameter in parameters]
    compiled, names = cached
    values = dict(zip(names, (parameter.effective_value for parameter in parameters), strict=True))
    return compiled.execute(values | limits).all()


def with_json(
    ordered: sa.Select[Any],
    limit: sa.ColumnElement[int],
    offset: sa.ColumnElement[int] | None = None,
    *,
    schema: type[ma.Schema],
    query_filter: QueryFilter,
    is_prepared: bool = False,
) -> sa.Select[Any]:
    """Select the JSON of a page's rows, or the rows if PostgreSQL cannot write it, and their sort keys.

    The page is a subquery, so that PostgreSQL writes no JSON for skipped rows.
    """
    (described,) = ordered.column_descriptions
    keys, row_json = sort_keys(query_filter), row_as_json(schema, described["entity"])
    if row_json is None:
        return ordered.limit(limit).offset(offset).add_columns(*(column for column, _ in keys))
    if is_prepared:
        # A plan for any parameters does not know that the page is short. The constant limit says so.
        nearest = ordered.limit(sa.literal_column(str(SHALLOW_ROWS), sa.BigInteger)).subquery("nearest")
        ordered = sa.select(sa.text("*")).select_from(nearest).order_by(*_by_name(nearest, keys))
    rows = ordered.limit(limit).offset(offset).subquery(described["entity"].__tablename__)
    columns = (sa.literal_column(f"{rows.name}.{column.key}", column.type) for column, _ in keys)
    return sa.select(row_json, *columns).select_from(rows).order_by(*_by_name(rows, keys))


def count_of(statement: sa.Select[Any]) -> sa.ScalarSelect[int]:
    """Return the number of rows of a SELECT."""
    return statement.with_only_columns(sa.func.count(), maintain_column_froms=True).correlate(None).scalar_subquery()


def sort_keys(query_filter: QueryFilter) -> list[tuple[Any, bool]]:
    """Return the columns that the list is sorted by, and whether each is descending."""
    return [(order.element, order.modifier is sa.sql.operators.desc_op) for order in query_filter.order]


def _by_name(rows: sa.Subquery, keys: list[tuple[Any, bool]]) -> Iterator[sa.ColumnElement[Any]]:
    """Yield the order of a subquery: creating its column objects takes longer than the rest of the request."""
    for key, descends in keys:
        column: sa.ColumnElement[Any] = sa.literal_column(f"{rows.name}.{key.key}", key.type)
        yield column.desc() if descends else column.asc()

"""One page of a SELECT, and the headers that tell where it stands."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from flask import request

from ..db import db
from .query import Narrowing


@dataclass(frozen=True)
class Position:
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

    def headers(self) -> dict[str, str]:
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
        others = [(name, value) for name, value in request.args.items(multi=True) if name != "page"]
        links = (
            f'<{request.path}?{urlencode([*others, ("page", page)])}>; rel="{relation}"'
            for relation, page in pages.items()
            if page is not None
        )
        return {"X-Pagination": json.dumps(pagination), "Link": ", ".join(links)}


def page_of(statement: sa.Select[Any], narrowing: Narrowing) -> tuple[list[Any], Position]:
    """The rows of the page that `narrowing` asks for, and its position.

    The exact total comes with the rows in one statement; past the end, where there are no rows, it takes another.
    """
    page, page_size = narrowing.arguments["page"], narrowing.arguments["page_size"]
    counted = statement.with_only_columns(sa.func.count(), maintain_column_froms=True).correlate(None).scalar_subquery()
    rows = db.session.execute(
        statement.add_columns(counted).order_by(*narrowing.order).limit(page_size).offset((page - 1) * page_size)
    ).all()
    total = rows[0][-1] if rows else db.session.scalars(sa.select(counted)).one() if page > 1 else 0
    return [row[0] for row in rows], Position(page, page_size, total)

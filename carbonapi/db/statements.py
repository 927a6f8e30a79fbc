"""Ways to build and execute statements."""

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from .engine import db


class CompiledStatement:
    """A statement that is compiled once and executed many times.

    Building a large statement, or looking it up in SQLAlchemy's cache, takes ten times as long as sending it. Name the
    values of a request: `sa.bindparam("recorded_at")`. Values without a name become constants of the statement.
    """

    def __init__(self, statement: sa.Select[Any]) -> None:
        compiled = statement.compile(dialect=postgresql.dialect())
        self._text = str(compiled)
        self.names = {bind.key: name for bind, name in compiled.bind_names.items()}
        self._constants = {name: bind.effective_value for bind, name in compiled.bind_names.items() if bind.unique}

    def execute(self, values: Mapping[str, Any]) -> sa.CursorResult[Any]:
        """Execute it with the values of its named parameters."""
        return db.session.connection().exec_driver_sql(self._text, {**self._constants, **values})


def count_affected(statement: sa.Update | sa.Delete | sa.Insert) -> int:
    """Execute a statement, and return the number of rows that it changed."""
    result: Any = db.session.execute(statement)
    return int(result.rowcount)


def is_any_of(column: Any, ids: Collection[int]) -> sa.ColumnElement[bool]:
    """Return the condition that a column has one of these ids, which are one parameter."""
    condition: sa.ColumnElement[bool] = column == sa.any_(sa.literal(list(ids), postgresql.ARRAY(sa.BigInteger)))
    return condition


def inline_cte(rows: sa.SelectBase, name: str) -> sa.CTE:
    """Return a CTE that PostgreSQL merges into the statement, so that the statement's criteria use the indexes."""
    return rows.cte(name).prefix_with("NOT MATERIALIZED", dialect="postgresql")

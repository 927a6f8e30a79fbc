"""Ways to build and execute statements."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import operators

from .engine import db
from .prepared import OPTION, PreparedStatement

_BOUNDS = {operators.ge, operators.gt, operators.le, operators.lt}


class CompiledStatement:
    """A statement that is compiled once and executed many times.

    Building a large statement, or looking it up in SQLAlchemy's cache, takes ten times as long as sending it. Name the
    values of a request: `sa.bindparam("recorded_at")`. Values without a name become constants of the statement.

    prepared: whether PostgreSQL also parses and plans it only once for each connection. See `prepare`.
    """

    def __init__(self, statement: sa.Select[Any], *, prepared: bool) -> None:
        compiled = statement.compile(dialect=postgresql.dialect())
        self._text = str(compiled)
        self.is_complete = not compiled.post_compile_params  # Otherwise its text depends on the number of values.
        types = {name: bind.type for bind, name in compiled.bind_names.items()}
        self._options = {OPTION: PreparedStatement(self._text, types)} if prepared else {}
        self.names = {bind.key: name for bind, name in compiled.bind_names.items()}
        self._constants = {name: bind.effective_value for bind, name in compiled.bind_names.items() if bind.unique}
        self._sources = {name: bind._cloned_set for bind, name in compiled.bind_names.items()}

    def names_of(self, binds: Sequence[Any], constants: Sequence[Any]) -> list[str]:
        """Return the name of each of these parameters of the statement, whose values are those of a request.

        constants: the other parameters. A parameter that is neither would keep the value of the first request.
        """
        names = {source: name for name, sources in self._sources.items() for source in sources}
        known = {names[bind] for bind in (*binds, *constants)}
        if self._sources.keys() - known:
            raise ValueError(f"unknown parameters {self._sources.keys() - known}")
        return [names[bind] for bind in binds]

    def execute(self, values: Mapping[str, Any]) -> sa.CursorResult[Any]:
        """Execute it with the values of its named parameters."""
        return db.session.connection().exec_driver_sql(
            self._text, {**self._constants, **values}, execution_options=self._options
        )


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


def is_read_in_order(statement: sa.Select[Any], order: Sequence[Any]) -> bool:
    """Return whether an index has exactly the rows of a SELECT of one model in this order, whatever its values are.

    It has if each criterion is the value of a column, or a bound of the first sort keys, and the index begins with
    these columns and continues with the sort keys.
    """
    (described,) = statement.column_descriptions
    table, keys = described["entity"].__table__, [each.element.key for each in order]
    if statement.get_final_froms() != [table] or len({each.modifier for each in order}) > 1:
        return False
    equal: set[Any] = set()
    for criterion in statement._where_criteria:
        operator, left = getattr(criterion, "operator", None), getattr(criterion, "left", None)
        compared: Any = left.clauses if isinstance(left, sa.Tuple) else [left]
        columns = [getattr(column, "key", None) for column in compared]
        if operator in _BOUNDS and columns == keys[: len(columns)]:
            continue
        if not _is_one_value(criterion) or equal & {*columns}:  # Two values of a column are the rows of no index.
            return False
        equal |= {*columns}
    return any(
        {*columns[: len(equal)]} == equal and columns[len(equal) :][: len(keys)] == keys
        for columns in (index.columns.keys() for index in (table.primary_key, *table.indexes) if _has_all_values(index))
    )


def _is_one_value(criterion: Any) -> bool:
    """Return whether a criterion is that a column has the value of one parameter."""
    operator, right = getattr(criterion, "operator", None), getattr(criterion, "right", None)
    values: Any
    if operator is operators.in_op and isinstance(right, sa.sql.elements.Grouping):
        values = right.element
        right = values.clauses[0] if len(values.clauses) == 1 else None
    elif operator is not operators.eq:
        return False
    return isinstance(criterion.left, sa.Column) and isinstance(right, sa.BindParameter) and not right.expanding


def _has_all_values(index: Any) -> bool:
    """Return whether an index has the rows with any value in its columns. It may lack those with null."""
    condition = index.dialect_options["postgresql"]["where"] if isinstance(index, sa.Index) else None
    return condition is None or str(condition) in {f"{column.key} IS NOT NULL" for column in index.columns}

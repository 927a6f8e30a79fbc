"""Execute statements of figures, which are compiled once per process for each form of their usages.

Building such a statement, or looking it up in SQLAlchemy's cache, takes longer than the rest of a request. So a request
builds only the short SELECTs of its usages, daily totals and sites, and gives their values to the compiled statement.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any

import sqlalchemy as sa

from ..db import CompiledStatement, db, inline_cte

Selections = Mapping[Any, sa.Select[Any]]


@dataclass(frozen=True)
class _Form:
    """A statement without the values of a request. keys: of its selections, which differ in nothing but values."""

    statement: Any
    keys: tuple[Any, ...]
    is_prepared: bool
    selections: Selections = field(compare=False)

    def build(self) -> Any:
        ctes = (_rows_as(table, rows) for table, rows in self.selections.items())
        return self.statement.add_cte(*ctes)


def execute(
    statement: Any, selections: Selections, parameters: Mapping[str, Any], *, prepared: bool
) -> sa.CursorResult[Any]:
    """Execute a statement, which is one object in the whole process, and return its result.

    selections: by the table as which the statement reads each. prepared: see `db.prepare`.
    """
    keys: list[Any] = [rows._generate_cache_key() for rows in selections.values()]
    if None not in keys:
        compiled, names = _compile(_Form(statement, tuple(each.key for each in keys), prepared, selections))
        if compiled.is_complete:
            binds = (bind for each in keys for bind in each.bindparams)
            values = {name: bind.effective_value for name, bind in zip(names, binds, strict=True)}
            return compiled.execute({**values, **parameters})
    found: Any = db.session.execute(_Form(statement, (), False, selections).build(), parameters)
    return found  # type: ignore[no-any-return]


@lru_cache(maxsize=500)
def _compile(form: _Form) -> tuple[CompiledStatement, list[str]]:
    """Return the compiled statement, and the names of its parameters for the values of the selections, in order."""
    compiled = CompiledStatement(form.build(), prepared=form.is_prepared)
    own, *of_selections = (
        each._generate_cache_key().bindparams for each in (form.statement, *form.selections.values())
    )
    return compiled, compiled.names_of([*chain(*of_selections)], constants=own)


def _rows_as(table: Any, rows: sa.Select[Any]) -> sa.CTE:
    """Return the CTE that the statement reads as this table."""
    columns = (rows.selected_columns[column.name] for column in table.c)
    return inline_cte(rows.with_only_columns(*columns), table.name)

"""Statements that are compiled once and executed many times."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from .engine import db


class CompiledStatement:
    """A statement that is compiled once and executed many times, with values for the parameters that it names.

    To build a large one anew, or to look up by its parts how it was compiled, takes ten times as long as to send it.
    All that is of one request must be named, `sa.bindparam("recorded_at")`: what is not is kept with the statement.
    """

    def __init__(self, statement: sa.Select[Any]) -> None:
        compiled = statement.compile(dialect=postgresql.dialect())
        self._text = str(compiled)
        self.names = {bind.key: name for bind, name in compiled.bind_names.items()}
        self._constants = {name: bind.effective_value for bind, name in compiled.bind_names.items() if bind.unique}

    def execute(self, values: Mapping[str, Any]) -> sa.CursorResult[Any]:
        """Send it. values: of all parameters that it names, by their names."""
        return db.session.connection().exec_driver_sql(self._text, {**self._constants, **values})

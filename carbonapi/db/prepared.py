"""Prepared statements: PostgreSQL parses and plans a frequent statement once for each connection.

Mark a statement with `prepare`. Its first execution on a connection sends PREPARE, and each one the short EXECUTE.
PostgreSQL uses a generic plan, which knows the values of no parameter. Do not mark a statement whose best plan depends
on its values.

Something else may remove the statements of a connection, such as a DISCARD ALL, and a migration may change the type of
their results. Then EXECUTE fails before it does anything. If it is the first statement of its transaction, it is
prepared and executed again here. A later statement of a transaction is executed as prepared only if the transaction
began with a prepared statement, which proves that the connection still has its own.
"""

import itertools
import re
from collections import OrderedDict
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import psycopg2
import sqlalchemy as sa
from psycopg2 import errorcodes
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from sqlalchemy.dialects import postgresql

from . import row_security

S = TypeVar("S", bound=sa.Executable)
MAX_STATEMENTS = 50  # Of a connection. PostgreSQL keeps about 0.4 MB for each.
OPTION = "carbonapi_prepared"
LOST = {
    errorcodes.INVALID_SQL_STATEMENT_NAME,
    errorcodes.DUPLICATE_PREPARED_STATEMENT,
    errorcodes.FEATURE_NOT_SUPPORTED,  # The type of its results has changed.
}
_STATEMENTS, _IS_PROVEN = "prepared_statements", "has_prepared_statements"  # In the info of a connection.
_PARAMETER = re.compile(r"%%|%\(([^)]+)\)s")
# It returns a row if nothing is between the service and PostgreSQL. A pooler has a process id of its own.
_USE_GENERIC_PLANS = "SELECT set_config('plan_cache_mode', 'force_generic_plan', false) WHERE pg_backend_pid() = %s"
_TYPES = postgresql.dialect().type_compiler_instance


class PreparedStatement:
    """The SQL that prepares and executes a statement. types: of its parameters, by name."""

    _numbers = itertools.count(1)

    def __init__(self, text: str, types: dict[str, Any]) -> None:
        names: dict[str, str] = {}

        def replace(match: re.Match[str]) -> str:
            return names.setdefault(match[1], f"${len(names) + 1}") if match[1] else "%"

        self._text = _PARAMETER.sub(replace, text)
        self._types = ", ".join(_type_name(types.get(name)) for name in names)
        self._values = ", ".join(f"%({name})s" for name in names)
        self._name = f"carbonapi_{next(self._numbers)}"

    def name(self) -> str:
        """Return its name for the current scope. PostgreSQL plans it for each role."""
        return f"{self._name}_all" if row_security.sees_all_organizations() else self._name

    def prepare(self, name: str) -> str:
        return f"PREPARE {name}{self._types and f' ({self._types})'} AS {self._text}"

    def execute(self, name: str) -> str:
        return f"EXECUTE {name}{self._values and f'({self._values})'}"


# Those of SQLAlchemy's cache of compiled statements.
_OF_COMPILED: WeakKeyDictionary[Any, PreparedStatement] = WeakKeyDictionary()


def prepare(statement: S) -> S:
    """Return the statement with the mark that it should be prepared."""
    return statement.execution_options(**{OPTION: True})


def install(engine: sa.Engine) -> None:
    """Prepare the marked statements of this engine."""
    sa.event.listen(engine, "do_execute", _execute)
    sa.event.listen(engine, "begin", lambda connection: connection.info.pop(_IS_PROVEN, None))


def _execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    """Execute a statement as prepared, and return True. Return False if it should be sent as text."""
    prepared = _prepared(context)
    if prepared is None:
        return False
    info, driver = context.root_connection.info, cursor.connection
    is_first = driver.get_transaction_status() == TRANSACTION_STATUS_IDLE
    if is_first and _STATEMENTS not in info:
        info[_STATEMENTS] = _begin(driver)
    known: OrderedDict[str, None] | None = info.get(_STATEMENTS)
    if known is None or not (is_first or info.get(_IS_PROVEN)):
        return False
    name = prepared.name()
    if is_first and not driver.autocommit:
        info[_IS_PROVEN] = name in known or not known
    scope = statement.removesuffix(context.statement)
    try:
        _prepare_and_execute(cursor, known, prepared, name, scope, parameters)
    except psycopg2.Error as error:
        if error.pgcode not in LOST:
            raise
        del info[_STATEMENTS]
        if not is_first:
            raise
        if not driver.autocommit:
            driver.rollback()
        known = info[_STATEMENTS] = _begin(driver, again=True)
        if known is None:
            return False
        _prepare_and_execute(cursor, known, prepared, name, scope, parameters)
    return True


def _prepare_and_execute(
    cursor: Any, known: OrderedDict[str, None], prepared: PreparedStatement, name: str, scope: str, parameters: Any
) -> None:
    if name in known:
        known.move_to_end(name)
    else:
        if len(known) >= MAX_STATEMENTS:
            cursor.execute(f"DEALLOCATE {known.popitem(last=False)[0]}")
        cursor.execute(scope + prepared.prepare(name))
        known[name] = None
    cursor.execute(scope + prepared.execute(name), parameters)


def _prepared(context: Any) -> PreparedStatement | None:
    """Return the prepared form of a statement that is marked.

    The text of some depends on the number of values, and some are compiled again for each execution.
    """
    marked = context.execution_options.get(OPTION)
    if marked is None or isinstance(marked, PreparedStatement):
        return marked
    compiled = context.compiled
    if compiled.post_compile_params or compiled.cache_key is None:
        return None
    found = _OF_COMPILED.get(compiled)
    if found is None:
        types = {name: bind.type for bind, name in compiled.bind_names.items()}
        found = _OF_COMPILED[compiled] = PreparedStatement(context.statement, types)
    return found


def _begin(driver: Any, *, again: bool = False) -> OrderedDict[str, None] | None:
    """Return the prepared statements of a connection, none at first. Return None behind a pooler.

    A transaction would revert the setting if it is rolled back.
    """
    is_autocommit, driver.autocommit = driver.autocommit, True
    try:
        with driver.cursor() as cursor:
            cursor.execute(_USE_GENERIC_PLANS, [driver.get_backend_pid()])
            if cursor.fetchone() is None:
                return None
            if again:
                cursor.execute("DEALLOCATE ALL")
    finally:
        if not driver.closed:
            driver.autocommit = is_autocommit
    return OrderedDict()


def _type_name(type_: Any) -> str:
    """Return the name of a parameter's type for PREPARE. PostgreSQL infers an unknown one from the statement."""
    return "unknown" if type_ is None or isinstance(type_, sa.types.NullType) else _TYPES.process(type_)

"""Row-level security: PostgreSQL shows a transaction only the rows of one organization.

This is the second layer of defense between organizations, behind the criteria that auth.scoping adds to statements. The
policies of the tables compare each row with the setting `carbonapi.organization_id`. Without it no row can be read or
written, so code that sets no scope fails. The role ALL_ORGANIZATIONS has a policy that shows it every row. It cannot
log in: the service takes it on for a transaction. Its members do not inherit from it, which would always show them
every row.

Neither outlives a transaction, since a pooler may give the connection to another client then. The first statement of
each transaction sets the scope, in the same message. Outside of a transaction, every statement does.
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, TypeVar

import sqlalchemy as sa

T = TypeVar("T")
SETTING = "carbonapi.organization_id"
ALL_ORGANIZATIONS = "carbonapi_all_organizations"  # Of every database of a server, since roles are.
_ALL_ORGANIZATIONS_SCOPE = "*"
_NO_ORGANIZATION = ""
_SAVEPOINT_STATEMENTS = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")
_SCOPE: ContextVar[str | None] = ContextVar("scope", default=_NO_ORGANIZATION)


@contextlib.contextmanager
def during_block(variable: ContextVar[T], value: T) -> Iterator[T]:
    """Set a context variable within the block."""
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)


def without_scope() -> AbstractContextManager[str | None]:
    """Set no scope in the block, which may run before the first migration."""
    return during_block(_SCOPE, None)


def for_organization(organization_id: int) -> AbstractContextManager[str | None]:
    """Restrict the block to the rows of one organization."""
    return during_block(_SCOPE, str(int(organization_id)))


def for_all_organizations() -> AbstractContextManager[str | None]:
    """Let the block read and write the rows of all organizations.

    For admins, operators, and the few queries that determine the organization of a request.
    """
    return during_block(_SCOPE, _ALL_ORGANIZATIONS_SCOPE)


def for_no_organization() -> AbstractContextManager[str | None]:
    """Let the block run as the role of the connection, and see no rows of organizations."""
    return during_block(_SCOPE, _NO_ORGANIZATION)


def sees_all_organizations() -> bool:
    """Return whether the rows of all organizations are visible, as another role."""
    return _SCOPE.get() == _ALL_ORGANIZATIONS_SCOPE


def install(engine: sa.Engine) -> None:
    """Send the current scope to the engine's connections, together with their statements."""
    sa.event.listen(engine, "before_cursor_execute", _add_scope, retval=True)
    # PostgreSQL reverts the setting at the end of a transaction, and when a statement fails.
    for event in ("commit", "rollback", "rollback_savepoint"):
        sa.event.listen(engine, event, lambda connection, *_: _forget_on(connection))
    sa.event.listen(engine, "handle_error", _forget_after_error)


def forget_scope(info: dict[Any, Any]) -> None:
    """Send the scope again with the next statement. `info` belongs to a connection."""
    info.pop(SETTING, None)


def _add_scope(
    connection: sa.Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> tuple[str, Any]:
    scope, is_autocommit = _SCOPE.get(), cursor.connection.autocommit
    if scope is None:
        return statement, parameters
    # A failed transaction accepts no other statement.
    if (is_autocommit or connection.info.get(SETTING) != scope) and not statement.startswith(_SAVEPOINT_STATEMENTS):
        if not is_autocommit:
            connection.info[SETTING] = scope
        statement = f"{statement_of_current_scope()}; {statement}"
    return statement, parameters


def statement_of_current_scope() -> str:
    """Return the SQL that sets the scope until the end of the transaction."""
    return f"SELECT carbonapi_use_organization('{_SCOPE.get()}')"


def _forget_on(connection: sa.Connection) -> None:
    if not connection.invalidated:  # A broken connection has no info.
        forget_scope(connection.info)


def _forget_after_error(context: sa.engine.ExceptionContext) -> None:
    if context.connection is not None:
        _forget_on(context.connection)

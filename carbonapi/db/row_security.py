"""Row-level security: PostgreSQL shows a connection only the rows of one organization.

This is the second layer of defense between organizations, behind the criteria that auth.scoping adds to statements. The
policies of the tables compare each row with the setting `carbonapi.organization_id`: the id of an organization, or `*`
for all of them. Without the setting no row can be read or written, so code that does not set a scope fails.

The setting never outlives a transaction, since a pooler may give the connection to another client then. The first
statement of each transaction sets it, in the same message. Outside of a transaction, every statement does.
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, TypeVar

import sqlalchemy as sa

T = TypeVar("T")
SETTING = "carbonapi.organization_id"
EVERYWHERE = "*"
_NO_ORGANIZATION = ""
GRANT_LOCK = 6_120_743_902  # An advisory lock for changes of roles, distinct from the one of migrations.
READ_ONLY = {"audit_entries": "UPDATE, DELETE", "alembic_version": "INSERT, UPDATE, DELETE"}
_LACKS_PRIVILEGES = """
    SELECT bool_or(
        NOT has_table_privilege(:role, oid, 'SELECT')
        OR has_table_privilege(:role, oid, 'DELETE') = (relname = ANY (:read_only))
    )
    FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
        AND relowner <> (SELECT oid FROM pg_roles WHERE rolname = :role)
"""
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
    return during_block(_SCOPE, EVERYWHERE)


def install(engine: sa.Engine) -> None:
    """Send the current scope to the engine's connections, together with their statements."""
    sa.event.listen(engine, "before_cursor_execute", _add_scope, retval=True)
    # PostgreSQL reverts the setting at the end of a transaction, and when a statement fails.
    for event in ("commit", "rollback", "rollback_savepoint"):
        sa.event.listen(engine, event, lambda connection, *_: _forget_on(connection))
    sa.event.listen(engine, "handle_error", _forget_after_error)


def grant_service_role(connection: sa.Connection, role: str | None) -> None:
    """Let a role use the tables of the connected role. It cannot change audit entries.

    Nothing happens if it is the connected role, or None, or if it has its privileges already.
    """
    owner = connection.scalar(sa.text("SELECT current_user"))
    if role is None or role == owner or not lacks_privileges(connection, role):
        return
    name = connection.dialect.identifier_preparer.quote_identifier(role)
    # Concurrent grants on the same table fail in PostgreSQL.
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": GRANT_LOCK})
    connection.execute(sa.text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}"))
    for table, revoked in READ_ONLY.items():
        connection.execute(sa.text(f"REVOKE {revoked} ON {table} FROM {name}"))


def lacks_privileges(connection: sa.Connection, role: str | None = None) -> bool:
    """Return whether a role, by default the connected one, lacks its privileges or has those on read-only tables.

    The owner of the tables has all privileges.
    """
    parameters = {"role": role or connection.scalar(sa.text("SELECT current_user")), "read_only": [*READ_ONLY]}
    return bool(connection.scalar(sa.text(_LACKS_PRIVILEGES), parameters))


def bypasses_row_security(connection: sa.Connection) -> bool:
    """Return whether the connected role ignores policies."""
    query = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    return bool(connection.scalar(sa.text(query)))


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

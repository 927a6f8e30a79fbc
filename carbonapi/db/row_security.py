"""Row-level security: PostgreSQL shows a connection only the rows of one organization.

This is the second layer of defense between organizations, behind the criteria that auth.scoping adds to statements. The
policies of the tables compare each row with the session setting `carbonapi.organization_id`: the id of an organization,
or `*` for all of them. Without the setting no row can be read or written, so code that does not set a scope fails.

The setting is sent in the same message as a statement, and only if it differs from the connection's current one.
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
_GRANT_LOCK = 6_120_743_902  # An advisory lock, distinct from the one of migrations.
_SAVEPOINT_STATEMENTS = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")
_SCOPE: ContextVar[str] = ContextVar("scope", default=_NO_ORGANIZATION)


@contextlib.contextmanager
def during_block(variable: ContextVar[T], value: T) -> Iterator[T]:
    """Set a context variable within the block."""
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)


def for_organization(organization_id: int) -> AbstractContextManager[str]:
    """Restrict the block to the rows of one organization."""
    return during_block(_SCOPE, str(int(organization_id)))


def for_all_organizations() -> AbstractContextManager[str]:
    """Let the block read and write the rows of all organizations.

    For admins, operators, and the few queries that determine the organization of a request.
    """
    return during_block(_SCOPE, EVERYWHERE)


def install(engine: sa.Engine) -> None:
    """Send the current scope to the engine's connections, together with their statements."""
    sa.event.listen(engine, "before_cursor_execute", _add_scope, retval=True)
    # PostgreSQL also reverts the setting when a statement fails or its transaction is rolled back.
    for event in ("rollback", "rollback_savepoint"):
        sa.event.listen(engine, event, lambda connection, *_: _forget_on(connection))
    sa.event.listen(engine, "handle_error", _forget_after_error)


def grant_service_role(connection: sa.Connection, role: str | None) -> None:
    """Let a role use the tables of the connected role. It cannot change audit entries.

    Nothing happens if it is the connected role, or None.
    """
    owner = connection.scalar(sa.text("SELECT current_user"))
    if role is None or role == owner:
        return
    name = connection.dialect.identifier_preparer.quote_identifier(role)
    # Concurrent grants on the same table fail in PostgreSQL.
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _GRANT_LOCK})
    connection.execute(sa.text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}"))
    for table, revoked in (("audit_entries", "UPDATE, DELETE"), ("alembic_version", "INSERT, UPDATE, DELETE")):
        connection.execute(sa.text(f"REVOKE {revoked} ON {table} FROM {name}"))


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
    scope = _SCOPE.get()
    # A failed transaction accepts no other statement.
    if connection.info.get(SETTING) != scope and not statement.startswith(_SAVEPOINT_STATEMENTS):
        connection.info[SETTING] = scope
        statement = f"SET {SETTING} = '{scope}'; {statement}"
    return statement, parameters


def _forget_on(connection: sa.Connection) -> None:
    if not connection.invalidated:  # A broken connection has no info.
        forget_scope(connection.info)


def _forget_after_error(context: sa.engine.ExceptionContext) -> None:
    if context.connection is not None:
        _forget_on(context.connection)

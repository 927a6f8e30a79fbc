"""The second wall between organizations: PostgreSQL itself shows a connection the rows of one organization alone.

The first is what `access` puts into every statement. This one stands in the tables' row-level security policies, which
compare each row with the session setting `carbonapi.organization_id`: an organization's id, or `*` for whoever sees all
of them. Without it there is nothing to see and nothing to write, so whatever forgets to say for whom it asks fails.

The setting travels in the same message as the statement, and only when it is another than the connection has already.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import sqlalchemy as sa

SETTING = "carbonapi.organization_id"
EVERYWHERE = "*"
_NOWHERE = ""
_ADMITTING = 6_120_743_902  # An advisory lock. Any number of our own, but that of migrations.
_SAVEPOINTS = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")
_SCOPE: ContextVar[str] = ContextVar("scope", default=_NOWHERE)


@contextlib.contextmanager
def for_organization(organization_id: int) -> Iterator[None]:
    """See and write the rows of this organization alone within the block."""
    token = _SCOPE.set(str(int(organization_id)))
    try:
        yield
    finally:
        _SCOPE.reset(token)


@contextlib.contextmanager
def for_all_organizations() -> Iterator[None]:
    """See and write the rows of all organizations within the block.

    For admins, operators, and the few questions that come before it is known whose they are.
    """
    token = _SCOPE.set(EVERYWHERE)
    try:
        yield
    finally:
        _SCOPE.reset(token)


def install(engine: sa.Engine) -> None:
    """Have every connection of the engine told for whom its statements ask."""
    sa.event.listen(engine, "before_cursor_execute", _tell_scope, retval=True)
    # PostgreSQL undoes what was told together with the statement that failed, or with its transaction.
    for undoing in ("rollback", "rollback_savepoint"):
        sa.event.listen(engine, undoing, lambda connection, *_: _forget_on(connection))
    sa.event.listen(engine, "handle_error", _forget_after)


def grant_service_role(connection: sa.Connection, role: str | None) -> None:
    """Let a role use the tables of the one that is connected, unless they are its own. It may not alter the audit log.

    role: None for the one that PostgreSQL takes by default.
    """
    owner = connection.scalar(sa.text("SELECT current_user"))
    if role is None or role == owner:
        return
    name = connection.dialect.identifier_preparer.quote_identifier(role)
    # Of two that grant the same at once, PostgreSQL lets one fail.
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADMITTING})
    connection.execute(sa.text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}"))
    for table, withheld in (("audit_entries", "UPDATE, DELETE"), ("alembic_version", "INSERT, UPDATE, DELETE")):
        connection.execute(sa.text(f"REVOKE {withheld} ON {table} FROM {name}"))


def bypasses_row_security(connection: sa.Connection) -> bool:
    """Whether the role that is connected sees all rows whatever a policy says."""
    mine = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    return bool(connection.scalar(sa.text(mine)))


def forget_scope(info: dict[Any, Any]) -> None:
    """Have the connection of which this is known told again."""
    info.pop(SETTING, None)


def _tell_scope(
    connection: sa.Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> tuple[str, Any]:
    scope = _SCOPE.get()
    # A transaction that failed takes nothing but being rolled back.
    if connection.info.get(SETTING) != scope and not statement.startswith(_SAVEPOINTS):
        connection.info[SETTING] = scope
        statement = f"SET {SETTING} = '{scope}'; {statement}"
    return statement, parameters


def _forget_on(connection: sa.Connection) -> None:
    if not connection.invalidated:  # One that was cut takes what is known of it along.
        forget_scope(connection.info)


def _forget_after(context: sa.engine.ExceptionContext) -> None:
    if context.connection is not None:
        _forget_on(context.connection)

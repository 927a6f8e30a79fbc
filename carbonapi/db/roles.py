"""The roles of the database: what the service's role needs, and what `carbonapi migrate` grants it.

The service should own nothing and be no superuser, so row-level security applies to it and it cannot change the audit
log. A single role, which owns the tables, works too.

ROLE_TIMEOUTS bound every request; `allow` sets others for long transactions. They are settings of the role, so that
they also apply behind a pooler, which rejects startup options.
"""

import sqlalchemy as sa

from .row_security import ALL_ORGANIZATIONS

LOCK = 6_120_743_902  # An advisory lock for changes of roles, distinct from the one of migrations.
ROLE_TIMEOUTS = {"statement_timeout": "30s", "lock_timeout": "2s", "idle_in_transaction_session_timeout": "10s"}
READ_ONLY = {"audit_entries": "UPDATE, DELETE", "alembic_version": "INSERT, UPDATE, DELETE"}
_LACKS_PRIVILEGES = """
    SELECT bool_or(
        NOT has_table_privilege(rolname, pg_class.oid, 'SELECT')
        OR has_table_privilege(rolname, pg_class.oid, 'DELETE') = (relname = ANY (:read_only))
    )
    FROM pg_class JOIN pg_roles ON relowner <> pg_roles.oid AND rolname IN (coalesce(:role, session_user), :all)
    WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
"""
_BYPASSES_POLICIES = """
    SELECT rolsuper OR rolbypassrls OR coalesce(pg_has_role(oid, to_regrole(:all)::oid, 'USAGE'), false)
    FROM pg_roles WHERE rolname = session_user
"""
# A superuser can take on every role. The current user may be one that the transaction has taken on.
_MEMBERS = """
    SELECT quote_ident(rolname) AS name, rolinherit AS inherits,
        coalesce(pg_has_role(oid, to_regrole(:all)::oid, :membership), false) AS is_member
    FROM pg_roles WHERE rolname IN (session_user, :role) AND NOT rolsuper ORDER BY rolname
"""


def bypasses_policies(connection: sa.Connection) -> bool:
    """Return whether row-level security does not limit what the connected role sees."""
    return bool(connection.scalar(sa.text(_BYPASSES_POLICIES), {"all": ALL_ORGANIZATIONS}))


def missing_members(connection: sa.Connection, role: str | None = None) -> list[str]:
    """Return the statements that create ALL_ORGANIZATIONS, and make the connected role and `role` its members."""
    has_options = connection.scalar(sa.text("SELECT current_setting('server_version_num')::integer >= 160000"))
    parameters = {"all": ALL_ORGANIZATIONS, "role": role, "membership": "SET" if has_options else "MEMBER"}
    statements = []
    if connection.scalar(sa.text("SELECT to_regrole(:all) IS NULL"), parameters):
        statements.append(f"CREATE ROLE {ALL_ORGANIZATIONS} NOLOGIN")
    for name, inherits, is_member in connection.execute(sa.text(_MEMBERS), parameters):
        if inherits and not has_options:  # Before PostgreSQL 16, only the member decides whether it inherits.
            statements.append(f"ALTER ROLE {name} NOINHERIT")
        if not is_member:
            options = " WITH INHERIT FALSE, SET TRUE" if has_options else ""
            statements.append(f"GRANT {ALL_ORGANIZATIONS} TO {name}{options}")
    return statements


def lacks_privileges(connection: sa.Connection, role: str | None = None) -> bool:
    """Return whether a role, by default the connected one, lacks its privileges or has those on read-only tables.

    The owner of the tables has all privileges. ALL_ORGANIZATIONS must have the same ones as the role.
    """
    parameters = {"role": role, "all": ALL_ORGANIZATIONS, "read_only": [*READ_ONLY]}
    return bool(connection.scalar(sa.text(_LACKS_PRIVILEGES), parameters))


def add_missing_members(connection: sa.Connection, role: str | None) -> None:
    """Create ALL_ORGANIZATIONS, and make the connected role and `role` its members. It may need a superuser."""
    if missing_members(connection, role):
        _lock(connection)
        for statement in missing_members(connection, role):
            connection.execute(sa.text(statement))


def grant_privileges(connection: sa.Connection, role: str | None) -> None:
    """Let a role, and ALL_ORGANIZATIONS, use the tables of the connected role. They cannot change audit entries.

    Nothing happens if they have their privileges already.
    """
    if not lacks_privileges(connection, role):
        return
    owner = connection.scalar(sa.text("SELECT current_user"))
    _lock(connection)
    for grantee in {role or owner, ALL_ORGANIZATIONS} - {owner}:
        name = connection.dialect.identifier_preparer.quote_identifier(grantee)
        connection.execute(sa.text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}"))
        connection.execute(sa.text(f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}"))  # For backups.
        for table, revoked in READ_ONLY.items():
            connection.execute(sa.text(f"REVOKE {revoked} ON {table} FROM {name}"))


def missing_timeouts(connection: sa.Connection) -> list[str]:
    """Return the names of the timeouts that are not set on this connection."""
    query = sa.text("SELECT name FROM pg_settings WHERE name = ANY (:names) AND setting = '0'")
    return list(connection.scalars(query, {"names": [*ROLE_TIMEOUTS]}))


def set_missing_timeouts(connection: sa.Connection) -> None:
    """Set the missing timeouts on the connected role, for its later connections."""
    missing = missing_timeouts(connection)
    if missing:
        _lock(connection)
    for name in missing:
        connection.execute(sa.text(f"ALTER ROLE CURRENT_USER SET {name} = '{ROLE_TIMEOUTS[name]}'"))


def _lock(connection: sa.Connection) -> None:
    """Wait for other servers that change roles. PostgreSQL rejects concurrent changes."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})

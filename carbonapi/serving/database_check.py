"""Find out what is wrong with the database before the service starts."""

import re
from dataclasses import dataclass

import sqlalchemy as sa

from ..db import connect_args, roles, row_security
from ..db.revisions import current_revision, revisions

URL, MIGRATION_URL = "CARBONAPI_DATABASE_URL", "CARBONAPI_MIGRATION_DATABASE_URL"
MAX_NAMED = 20
BYPASSES_POLICIES = (
    f"{URL} has a role that bypasses row-level security: a superuser, one with BYPASSRLS, or one that inherits from "
    f"{row_security.ALL_ORGANIZATIONS}. Use an ordinary role for the service; {MIGRATION_URL} may have another role "
    "for migrations."
)
NOT_ACCEPTED = "The server does not accept this role from this machine: see its pg_hba.conf"
# The errors of a connection that a retry does not avoid. libpq reports them without a SQLSTATE. The first one applies.
PERMANENT_ERRORS = {
    "password authentication failed|no password supplied|role .* does not exist": (
        "PostgreSQL rejects the role or the password of {url}"
    ),
    "database .* does not exist|no such database": (
        "PostgreSQL does not have the database of {url}. Create it with the encoding UTF8"
    ),
    "does not support SSL": "The server does not support TLS, but {url} requires it: set sslmode=prefer, or enable TLS",
    "no pg_hba.conf entry .*, SSL encryption": NOT_ACCEPTED,
    "no pg_hba.conf entry .*, no encryption|SSL required": (
        "The server does not accept {url} without TLS: add ?sslmode=require, or see its pg_hba.conf"
    ),
    "no pg_hba.conf entry": NOT_ACCEPTED,
    "certificate|SSL error": "The TLS certificate of the server is not accepted",
    "unsupported startup parameter": "The pooler rejects an option of {url}. Remove it, or have the pooler ignore it",
}


@dataclass(frozen=True)
class Database:
    """The state of the database.

    error: a sentence that says why the service cannot start with it. reason: why it cannot be reached now.
    warning: what does not work in it.
    """

    is_reachable: bool = True
    is_migrated: bool = False
    error: str | None = None
    reason: str | None = None
    warning: str | None = None


def examine(url: str) -> Database:
    """Connect to a database, and return its state."""
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=connect_args(url))
        with engine.connect() as connection:
            return _examine(connection)
    except sa.exc.OperationalError as error:
        message = str(error.orig).strip()
        if sentence := connection_error(message, URL):
            return Database(is_reachable=False, error=sentence)
        return Database(is_reachable=False, reason=f"Cannot reach the database: {message} The service tries again.")
    except (ValueError, sa.exc.SQLAlchemyError) as error:
        return Database(error=f"{URL} is not a valid URL of a database: {str(error).splitlines()[0]}.")


def connection_error(message: str, variable: str) -> str | None:
    """Return what is wrong with the setting, or None if connecting may succeed later. message: libpq's."""
    for pattern, sentence in PERMANENT_ERRORS.items():
        if re.search(pattern, message):
            return f"{sentence.format(url=variable)}. ({message.splitlines()[-1]})"
    return None


def _examine(connection: sa.Connection) -> Database:
    encoding, schema = connection.execute(sa.text("SELECT getdatabaseencoding(), current_schema()")).one()
    if encoding != "UTF8":
        return Database(error=f"The database has the encoding {encoding}. Create one with ENCODING 'UTF8'.")
    if schema != "public":
        return Database(
            error=f"The first schema of the search_path is {schema or 'missing'}, but the tables are in public. Remove "
            f"search_path from {URL}, its role and its database, or put public first."
        )
    if roles.bypasses_policies(connection):
        return Database(error=BYPASSES_POLICIES)
    is_migrated = (
        not roles.lacks_privileges(connection)
        and current_revision(connection) == revisions()[0]
        and not roles.missing_timeouts(connection)
        and not roles.missing_members(connection)
    )
    return Database(is_migrated=is_migrated, warning=_missing_time_zones(connection) if is_migrated else None)


def _missing_time_zones(connection: sa.Connection) -> str | None:
    """Return a sentence about organizations with a time zone that PostgreSQL does not know, or None."""
    with row_security.for_all_organizations():
        connection.execute(sa.text(row_security.statement_of_current_scope()))
    query = sa.text(
        "SELECT id, timezone FROM organizations WHERE timezone NOT IN (SELECT name FROM pg_timezone_names) ORDER BY id"
    )
    found = [f"{row.id} ({row.timezone})" for row in connection.execute(query)]
    if not found:
        return None
    named = ", ".join(found[:MAX_NAMED]) + (f" and {len(found) - MAX_NAMED} more" if found[MAX_NAMED:] else "")
    return (
        f"PostgreSQL does not know the time zones of these organizations: {named}. They cannot record usages. Set "
        "other time zones, or install the missing ones where PostgreSQL runs (package tzdata-legacy), and restart it."
    )

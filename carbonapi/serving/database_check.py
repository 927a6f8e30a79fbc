"""Find out what is wrong with the database before the service starts."""

import re
from dataclasses import dataclass

import sqlalchemy as sa

from ..db import row_security
from ..db.revisions import current_revision, revisions
from ..db.role_timeouts import missing_timeouts
from ..db.row_security import lacks_privileges

URL = "CARBONAPI_DATABASE_URL"
BYPASSES_POLICIES = (
    f"{URL} has a role that bypasses row-level security: a superuser, or one with BYPASSRLS. Use an ordinary role for "
    "the service; CARBONAPI_MIGRATION_DATABASE_URL may have another role for migrations."
)
# The errors of a connection that a retry does not avoid. libpq reports them without a SQLSTATE.
PERMANENT_ERRORS = {
    "password authentication failed|no password supplied|role .* does not exist": (
        "PostgreSQL rejects the role or the password of {url}"
    ),
    "database .* does not exist": "PostgreSQL does not have the database of {url}. Create it with the encoding UTF8",
    "does not support SSL": "The server does not support TLS, but {url} requires it: set sslmode=prefer, or enable TLS",
    "no encryption|SSL off": "The server requires TLS: add ?sslmode=require to {url}",
    "certificate|SSL error": "The TLS certificate of the server is not accepted",
    "no pg_hba.conf entry": "The server does not accept this role from this machine: see its pg_hba.conf",
}


@dataclass(frozen=True)
class Database:
    """The state of the database.

    error: a sentence that says why the service cannot start with it. reason: why it cannot be reached now.
    """

    is_reachable: bool = True
    is_migrated: bool = False
    error: str | None = None
    reason: str | None = None


def examine(url: str) -> Database:
    """Connect to a database, and return its state."""
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"connect_timeout": 3})
        with engine.connect() as connection:
            return _examine(connection)
    except sa.exc.OperationalError as error:
        return _unreachable(str(error.orig).strip())
    except (ValueError, sa.exc.SQLAlchemyError) as error:
        return Database(error=f"{URL} is not a valid URL of a database: {str(error).splitlines()[0]}.")


def _examine(connection: sa.Connection) -> Database:
    encoding, schema = connection.execute(sa.text("SELECT getdatabaseencoding(), current_schema()")).one()
    if encoding != "UTF8":
        return Database(error=f"The database has the encoding {encoding}. Create one with ENCODING 'UTF8'.")
    if schema != "public":
        return Database(
            error=f"The first schema of the search_path is {schema}, but the tables are in public. Remove search_path "
            f"from {URL} and from its role, or put public first."
        )
    if row_security.bypasses_row_security(connection):
        return Database(error=BYPASSES_POLICIES)
    is_migrated = (
        current_revision(connection) == revisions()[0]
        and not missing_timeouts(connection)
        and not lacks_privileges(connection)
    )
    return Database(is_migrated=is_migrated)


def _unreachable(message: str) -> Database:
    for pattern, sentence in PERMANENT_ERRORS.items():
        if re.search(pattern, message):
            return Database(is_reachable=False, error=f"{sentence.format(url=URL)}. ({message.splitlines()[-1]})")
    return Database(is_reachable=False, reason=f"Cannot reach the database: {message} The service tries again.")

"""The timeouts of the service's role. They bound every request; `allow` sets others for long transactions.

They are settings of the role, so that they also apply behind a pooler, which rejects startup options.
"""

import sqlalchemy as sa

from .row_security import GRANT_LOCK

ROLE_TIMEOUTS = {"statement_timeout": "30s", "lock_timeout": "2s", "idle_in_transaction_session_timeout": "10s"}


def missing_timeouts(connection: sa.Connection) -> list[str]:
    """Return the names of the timeouts that are not set on this connection."""
    query = sa.text("SELECT name FROM pg_settings WHERE name = ANY (:names) AND setting = '0'")
    return list(connection.scalars(query, {"names": [*ROLE_TIMEOUTS]}))


def set_missing_timeouts(connection: sa.Connection) -> None:
    """Set the missing timeouts on the connected role, for its later connections."""
    missing = missing_timeouts(connection)
    if missing:  # Servers that start at once all set them, and PostgreSQL rejects concurrent changes of a role.
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": GRANT_LOCK})
    for name in missing:
        connection.execute(sa.text(f"ALTER ROLE CURRENT_USER SET {name} = '{ROLE_TIMEOUTS[name]}'"))

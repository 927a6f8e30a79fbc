"""Runs migrations in the app's own database, one runner at a time."""

from alembic import context
from flask import current_app
from sqlalchemy import text

# Two servers that start at once both migrate; an advisory lock lets one wait for the other. Any number of our own.
LOCK = 6_120_743_901

extension = current_app.extensions["migrate"]

with extension.db.engine.connect() as connection:
    # A migration is about all organizations: their rows are hidden even from the tables' owner otherwise.
    connection.execute(text("SET lock_timeout = 0; SET statement_timeout = 0; SET carbonapi.organization_id = '*'"))
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=extension.db.metadata,
        compare_server_default=True,
        transaction_per_migration=True,
        **extension.configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
    connection.commit()
    connection.invalidate()  # Its time-outs were changed: it must not go back to the pool.

"""Run migrations in the database of the app, one process at a time."""

from alembic import context
from flask import current_app
from sqlalchemy import text

# Servers that start at once all migrate. An advisory lock makes them wait for each other. The number is arbitrary.
LOCK = 6_120_743_901

extension = current_app.extensions["migrate"]

with extension.db.engine.connect() as connection:
    # Row-level security would hide the rows of all organizations, even from the owner of the tables.
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
    connection.invalidate()  # Its settings were changed, so it must not return to the pool.

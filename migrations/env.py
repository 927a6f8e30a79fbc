"""Run migrations in the database of the app, one process at a time."""

import click
from alembic import context
from flask import current_app
from sqlalchemy import NullPool, create_engine, text

# Servers that start at once all migrate. An advisory lock makes them wait for each other. The number is arbitrary.
LOCK = 6_120_743_901
HOLDER = """
    SELECT activity.pid, coalesce(host(client_addr), 'this machine') AS host FROM pg_locks
    JOIN pg_stat_activity activity USING (pid)
    WHERE locktype = 'advisory' AND classid = :key >> 32 AND objid = :key & 4294967295 AND granted
"""


def wait_for_lock(connection):
    if connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK}):
        return
    for holder in connection.execute(text(HOLDER), {"key": LOCK}):
        click.echo(f"Waiting for the migration of process {holder.pid} of PostgreSQL, from {holder.host}.", err=True)
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})


extension = current_app.extensions["migrate"]
# A connection of its own, since it keeps its settings and the lock between transactions.
connect_args = current_app.config["SQLALCHEMY_ENGINE_OPTIONS"]["connect_args"]
engine = create_engine(extension.db.engine.url, poolclass=NullPool, connect_args=connect_args)

with engine.connect() as connection:
    # Row-level security would hide the rows of all organizations, even from the owner of the tables.
    connection.execute(text("SET lock_timeout = 0; SET statement_timeout = 0; SET carbonapi.organization_id = '*'"))
    connection.execute(text("SET timezone = 'UTC'; SET idle_in_transaction_session_timeout = 0"))
    wait_for_lock(connection)
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

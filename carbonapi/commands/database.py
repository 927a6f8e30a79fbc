"""`carbonapi migrate`, `backup` and `restore`."""

import logging
from pathlib import Path
from typing import Any

import click
import flask
import flask_migrate
import sqlalchemy as sa
from psycopg2 import errorcodes

from ..db import connect_args, db, revisions, roles, row_security
from ..postgres import backup as backups
from ..rest import now
from .application import application

pg_bin_dir_option = click.option(
    "--pg-bin-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of pg_dump, pg_restore and psql. Without it, the command uses those of the embedded PostgreSQL.",
)


@click.command()
def migrate() -> None:
    """Migrate the database to the current schema, and grant the service's role its privileges.

    A second migration waits for the first to finish.
    """
    with application(as_owner=True):
        migrate_database()


def migrate_database() -> None:
    """Migrate the database of the current app, and prepare the service's role: its privileges and its timeouts.

    If there is nothing to do, no lock is taken. Raise ClickException if this connection cannot migrate.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    service_url = sa.make_url(flask.current_app.config["DATABASE_URL"])
    with row_security.without_scope():
        with db.engine.begin() as connection:
            is_current = revisions.current_revision(connection) == flask.current_app.config["REVISION"]
            if not is_current and (obstacle := _obstacle(connection)):
                raise click.ClickException(obstacle)
            _add_missing_members(connection, service_url.username)
        if not is_current:
            flask_migrate.upgrade()
        with db.engine.begin() as connection:
            roles.grant_privileges(connection, service_url.username)
    engine = sa.create_engine(service_url, poolclass=sa.NullPool, connect_args=connect_args(service_url))
    with engine.begin() as connection:
        roles.set_missing_timeouts(connection)


def _add_missing_members(connection: sa.Connection, role: str | None) -> None:
    try:
        with connection.begin_nested():
            roles.add_missing_members(connection, role)
    except sa.exc.ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) != errorcodes.INSUFFICIENT_PRIVILEGE:
            raise
        statements = "; ".join(roles.missing_members(connection, role))
        raise click.ClickException(
            f"The role of this connection may not create roles or members of them. As a superuser: {statements};"
        ) from None


def _obstacle(connection: sa.Connection) -> str | None:
    """Return why this connection cannot migrate, and what to do about it."""
    driver: Any = connection.connection.driver_connection
    pid, can_create, can_extend, role, database = connection.execute(
        sa.text(
            """
            SELECT pg_backend_pid(), has_schema_privilege('public', 'CREATE'),
                has_database_privilege(current_database(), 'CREATE')
                    OR EXISTS (SELECT FROM pg_extension WHERE extname = 'btree_gist'),
                quote_ident(current_user), quote_ident(current_database())
            """
        )
    ).one()
    # A pooler introduces itself with a process id of its own. It may run each statement on another connection, so that
    # the lock of the migration would stay behind.
    if driver.get_backend_pid() != pid:
        return (
            "Migrations cannot go through a connection pooler. Set CARBONAPI_MIGRATION_DATABASE_URL to the address of "
            "PostgreSQL itself. CARBONAPI_DATABASE_URL may have the address of the pooler."
        )
    if not can_create:
        return f"The role {role} may not create tables. As a superuser: GRANT CREATE ON SCHEMA public TO {role};"
    if not can_extend:
        return (
            f"The role {role} may not create the extension btree_gist. As a superuser, in the database {database}: "
            "CREATE EXTENSION btree_gist;"
        )
    return None


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@pg_bin_dir_option
def backup(file: Path, pg_bin_dir: Path | None) -> None:
    """Back up the database to a new FILE.

    FILE is in the custom format of pg_dump. FILE.manifest.json has row counts and checksums, which `restore` compares.
    The backup is a consistent snapshot; the service can write during it.
    """
    with application(as_owner=True):
        click.echo(f"Backed up {_size(backups.create_backup(file, pg_bin_dir, now()))} to {file}.")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@pg_bin_dir_option
def restore(file: Path, pg_bin_dir: Path | None) -> None:
    """Restore a backup FILE into an empty database, and compare it with FILE.manifest.json.

    If a table differs, the command lists it, restores nothing, and exits with code 1. It migrates the backup of an
    older version to the current schema.
    """
    with application(as_owner=True):
        with row_security.without_scope(), db.engine.begin() as connection:  # The policies of the backup name the role.
            _add_missing_members(connection, sa.make_url(flask.current_app.config["DATABASE_URL"]).username)
        click.echo(f"Restored {_size(backups.restore(file, pg_bin_dir))}. Every table matches the manifest.")
        migrate_database()


def _size(manifest: dict[str, Any]) -> str:
    tables = manifest["tables"].values()
    return f"{sum(table['rows'] for table in tables)} rows of {len(tables)} tables"

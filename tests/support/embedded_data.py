"""A data folder of the embedded PostgreSQL, migrated once per process and copied for each service that needs one."""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

import flask_migrate
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.db import db, row_security
from carbonapi.db.role_timeouts import set_missing_timeouts
from carbonapi.postgres import embedded

from .apps import settings_for


def copy_to(folder: Path) -> None:
    """Create a data folder with a migrated database, so that the first start of a service is fast."""
    shutil.copytree(_migrated(), folder, copy_function=_copy, symlinks=True)
    _copy_owners(_migrated(), folder)


@functools.cache
def _migrated() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="carbonapi-tests-data-"))
    atexit.register(shutil.rmtree, folder)
    with embedded.running(folder) as url:
        app = create_app(settings_for(embedded.owner_url(url)))
        with app.app_context():
            flask_migrate.upgrade()
            with db.engine.begin() as connection:
                row_security.grant_service_role(connection, embedded.ROLE)
            db.engine.dispose()
        role = sa.create_engine(url, poolclass=sa.NullPool)
        with role.begin() as connection:
            set_missing_timeouts(connection)  # Otherwise, each service would start with a migration.
    shutil.rmtree(folder / "run", ignore_errors=True)
    for name in ("keeper.lock", "postgresql.log", "secret_key"):
        (folder / name).unlink(missing_ok=True)
    return folder


def _copy(source: str, target: str) -> None:
    """Copy a file of data; link a program, which nothing writes to."""
    if "/postgresql/" in source:
        shutil.copy2(source, target)
    else:
        os.link(source, target)


def _copy_owners(source: Path, target: Path) -> None:
    """Give the copies to the account that PostgreSQL runs as, if this is root."""
    if os.geteuid() == 0:
        for path in (source, *source.rglob("*")):
            status = path.lstat()
            os.chown(target / path.relative_to(source), status.st_uid, status.st_gid, follow_symlinks=False)

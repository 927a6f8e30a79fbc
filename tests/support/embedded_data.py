"""A data folder of the embedded PostgreSQL, migrated once per process and copied for each server that needs one."""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import flask_migrate
import sqlalchemy as sa

from carbonapi import create_app
from carbonapi.db import db, roles
from carbonapi.postgres import embedded

from .apps import settings_for


def copy_to(folder: Path) -> None:
    """Fill a data folder with a migrated database, so that the first start of a service is fast."""
    folder.mkdir(exist_ok=True)
    status = _migrated().stat()
    if os.geteuid() == 0:  # PostgreSQL runs as another account.
        os.chown(folder, status.st_uid, status.st_gid)
    folder.chmod(status.st_mode & 0o777)
    subprocess.run(["cp", "-pR", _migrated() / "postgresql", folder], check=True)
    for programs in _migrated().glob("binaries-*"):  # Nothing writes to them.
        (folder / programs.name).symlink_to(programs)


@functools.cache
def _migrated() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="carbonapi-tests-data-"))
    atexit.register(shutil.rmtree, folder)
    with embedded.running(folder) as url:
        app = create_app(settings_for(embedded.owner_url(url)), as_owner=True)
        with app.app_context():
            flask_migrate.upgrade()
            with db.engine.begin() as connection:
                roles.grant_privileges(connection, embedded.ROLE)
            db.engine.dispose()
        role = sa.create_engine(url, poolclass=sa.NullPool)
        with role.begin() as connection:
            roles.set_missing_timeouts(connection)  # Otherwise, each service would start with a migration.
    shutil.rmtree(folder / "run", ignore_errors=True)
    for name in ("keeper.lock", "postgresql.log", "secret_key"):
        (folder / name).unlink(missing_ok=True)
    return folder

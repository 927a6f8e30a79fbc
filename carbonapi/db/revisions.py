"""The migrations: their folder, their revisions, and whether a database has the newest one."""

from pathlib import Path

import sqlalchemy as sa
from alembic.script import ScriptDirectory

PACKAGE = Path(__file__).parents[1]
# The wheel has the migrations inside the package; the repository has them beside it.
FOLDER = next(folder for folder in (PACKAGE / "migrations", PACKAGE.parent / "migrations") if folder.is_dir())


def revisions() -> list[str]:
    """Return the revisions of all migrations, newest first."""
    return [script.revision for script in ScriptDirectory(str(FOLDER)).walk_revisions()]


def current_revision(connection: sa.Connection) -> str | None:
    """Return the revision of a database, or None before its first migration."""
    is_begun = connection.scalar(sa.text("SELECT to_regclass('alembic_version') IS NOT NULL"))
    return connection.scalar(sa.text("SELECT version_num FROM alembic_version")) if is_begun else None

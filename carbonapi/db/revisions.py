"""The migrations: their folder, their revisions, and whether a database has the newest one."""

import re
from pathlib import Path

import sqlalchemy as sa

PACKAGE = Path(__file__).parents[1]
# The wheel has the migrations inside the package; the repository has them beside it.
FOLDER = next(folder for folder in (PACKAGE / "migrations", PACKAGE.parent / "migrations") if folder.is_dir())

_REVISION = re.compile(r'^revision = "(.+)"$', re.MULTILINE)


def revisions() -> list[str]:
    """Return the revisions of all migrations, newest first. The number in the name of a file gives its place.

    Alembic would import every migration for this, which takes a sixth of the time of a start.
    """
    files = sorted((FOLDER / "versions").glob("[0-9]*_*.py"), reverse=True)
    return [revision for file in files for revision in _REVISION.findall(file.read_text())]


def current_revision(connection: sa.Connection) -> str | None:
    """Return the revision of a database, or None before its first migration."""
    is_begun = connection.scalar(sa.text("SELECT to_regclass('alembic_version') IS NOT NULL"))
    return connection.scalar(sa.text("SELECT version_num FROM alembic_version")) if is_begun else None

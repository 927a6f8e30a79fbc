"""Backups: a file in pg_dump's custom format, and beside it a manifest, with which a restored database is compared.

Both are of one snapshot, taken while others go on writing. The manifest tells of each table how many rows it has, a
hash sum over them, and what its owner may not do to it. Restoring is one transaction, which is committed only when the
restored tables are what the manifest says. All tables are backed up, kept answers too: a request that is sent again
after restoring is known then, and not done twice.
"""

import datetime as dt
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import marshmallow as ma
from alembic.script import ScriptDirectory

from ..db import db
from .client_tools import BackupError, Psql, client_directory, client_environment, dsn, error_text

LOCK_SECONDS = 60  # How long a migration that runs already is waited for.
# A hash is of a row's text, which must be the same whatever a server or a role is set to.
SETTINGS = f"""
    SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres';
    SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = '{LOCK_SECONDS}s';
"""
# Names as they stand in a statement. An extension brings its own tables along.
TABLES = """
    SELECT coalesce(jsonb_agg(quote_ident(nspname) || '.' || quote_ident(relname) ORDER BY nspname, relname), '[]')
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname !~ '^pg_' AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
"""
# SHA-256, for PostgreSQL's own hashes may differ between its versions and between machines. The sum knows no order.
ROWS = """
    SELECT count(*) AS rows,
        coalesce(sum(('x' || left(encode(sha256(convert_to((told.*)::text, 'UTF8')), 'hex'), 16))::bit(64)::bigint), 0)
        AS hash_sum
    FROM ONLY {name} AS told
"""
WITHHELD = """
    SELECT coalesce(jsonb_agg(usual.privilege_type ORDER BY usual.privilege_type), '[]')
    FROM pg_class, aclexplode(acldefault('r', relowner)) AS usual
    WHERE pg_class.oid = {literal}::regclass AND relacl IS NOT NULL AND NOT EXISTS (
        SELECT FROM aclexplode(relacl) AS granted
        WHERE granted.grantee = relowner AND granted.privilege_type = usual.privilege_type)
"""


class TableSchema(ma.Schema):
    """What is compared of a table."""

    rows = ma.fields.Integer(required=True, strict=True)
    hash_sum = ma.fields.String(required=True)
    withheld = ma.fields.List(ma.fields.String(validate=ma.validate.Regexp("[A-Z]+\\Z")), required=True)


class ManifestSchema(ma.Schema):
    """FILE.manifest.json: `sha256` is of FILE, `revision` the last migration of its database."""

    made_at = ma.fields.AwareDateTime(required=True)
    postgresql = ma.fields.String(required=True)
    revision = ma.fields.String(required=True)
    sha256 = ma.fields.String(required=True)
    tables = ma.fields.Dict(keys=ma.fields.String(), values=ma.fields.Nested(TableSchema), required=True)


def create_backup(file: Path, programs: Path | None, moment: dt.datetime) -> dict[str, Any]:
    """Write the database to `file`, and its manifest beside it; the manifest.

    Both are there whole or not at all, for their owner alone. programs: the folder of pg_dump, None for the wheel's.
    Raises BackupError, also if one of the two is there already.
    """
    folder = client_directory(programs)
    for path in (file, _manifest_of(file)):
        if path.exists():
            raise BackupError(f"There is {path} already. Give the backup another name.")
    try:
        with tempfile.TemporaryDirectory(prefix=f"{file.name}-new-", dir=file.parent) as draft:
            dump, beside = Path(draft, "dump"), Path(draft, "manifest")
            manifest = _dumped(dump, folder, moment)
            dump.chmod(0o600)
            beside.touch(0o600)
            with beside.open("w", encoding="utf-8") as text:
                json.dump(ManifestSchema().dump(manifest), text, indent=2, sort_keys=True)
                text.flush()
                os.fsync(text.fileno())
            # `file` comes last: where it is, its manifest is too.
            beside.rename(_manifest_of(file))
            dump.rename(file)
            _sync(file.parent)
    except OSError as error:
        raise BackupError(f"Cannot write {file}: {error.strerror}.") from None
    return manifest


def restore(file: Path, programs: Path | None) -> dict[str, Any]:
    """Restore a backup into this database, which has no tables yet, and compare it with its manifest; the manifest.

    Raises BackupError that names every table which is not what it was; nothing is left behind then.
    """
    folder = client_directory(programs)
    manifest = _read_manifest(file)
    revision = manifest["revision"]
    migrations = ScriptDirectory(flask.current_app.extensions["migrate"].directory)
    if revision not in {script.revision for script in migrations.walk_revisions()}:
        raise BackupError(f"The backup is of a newer carbonapi, at {revision}. Restore it with that one.")
    with db.engine.connect() as connection:
        present = connection.exec_driver_sql(TABLES).scalar_one()
    if present:
        raise BackupError(
            f"The database has tables already, such as {present[0]}. Restore into an empty one: have "
            "CARBONAPI_DATABASE_URL, and CARBONAPI_MIGRATION_DATABASE_URL if it is set, name a new database, or "
            "CARBONAPI_EMBEDDED_DATA_DIR a new folder."
        )
    with Psql(folder) as psql:
        psql.restore(file)
        psql.send(SETTINGS)
        names = psql.fetch_json(TABLES)
        for name in names:
            withheld = manifest["tables"].get(name, {}).get("withheld")
            if withheld:
                psql.send(f"REVOKE {', '.join(withheld)} ON {name} FROM PUBLIC, CURRENT_USER;")
        differences = list(_differences(manifest["tables"], psql.fetch_json(_told_of(names))))
        if differences:
            told = "What was restored is not what was backed up, so nothing of it is kept."
            raise BackupError("\n".join([told, *differences]))
        # Until PostgreSQL has counted the rows, it does not plan well.
        psql.send("ANALYZE;")
        psql.commit()
    return manifest


def _dumped(dump: Path, folder: Path, moment: dt.datetime) -> dict[str, Any]:
    """Have pg_dump write `dump`, and compute the manifest meanwhile, in the same snapshot."""
    with db.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        if connection.exec_driver_sql("SELECT to_regclass('alembic_version') IS NULL").scalar_one():
            raise BackupError("The database has no tables yet: there is nothing to back up.")
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
        connection.exec_driver_sql(SETTINGS)
        snapshot = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
        options = ["--format=custom", "--no-password", "--enable-row-security", f"--snapshot={snapshot}"]
        options += [f"--lock-wait-timeout={LOCK_SECONDS}s", f"--file={dump}", f"--dbname={dsn()}"]
        with tempfile.TemporaryFile() as complaints:
            with subprocess.Popen(
                [folder / "pg_dump", *options], env=client_environment(), stdout=complaints, stderr=complaints
            ) as pg_dump:
                try:
                    names = connection.exec_driver_sql(TABLES).scalar_one()
                    tables = connection.exec_driver_sql(_told_of(names)).scalar_one()
                    version = connection.exec_driver_sql("SHOW server_version").scalar_one()
                except BaseException:
                    pg_dump.terminate()
                    raise
            if pg_dump.returncode != 0:
                raise BackupError(f"{error_text(complaints)}. There is no backup.")
    with dump.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return {"made_at": moment, "postgresql": version, "revision": revision, "sha256": sha256, "tables": tables}


def _told_of(names: list[str]) -> str:
    """The query for what a manifest tells of these tables, by name."""
    literals = {name: "'" + name.replace("'", "''") + "'" for name in names}
    each = " UNION ALL ".join(
        f"SELECT {literal} AS name, rows, hash_sum, ({WITHHELD.format(literal=literal)}) AS withheld "
        f"FROM ({ROWS.format(name=name)}) AS counted"
        for name, literal in literals.items()
    )
    row = "jsonb_build_object('rows', rows, 'hash_sum', hash_sum::text, 'withheld', withheld)"
    return f"SELECT jsonb_object_agg(name, {row}) FROM ({each}) AS tables"


def _differences(expected: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for name in sorted(expected.keys() | found.keys()):
        was, now_is = expected.get(name), found.get(name)
        if was is None or now_is is None:
            yield f"  {name}: {'was not backed up' if was is None else 'is not there'}."
        elif was["rows"] != now_is["rows"]:
            yield f"  {name}: {was['rows']} rows were backed up, {now_is['rows']} are there."
        elif was["hash_sum"] != now_is["hash_sum"]:
            yield f"  {name}: as many rows, {was['rows']}, but not the same values."
        elif was["withheld"] != now_is["withheld"]:
            yield f"  {name}: withheld from its owner were {was['withheld']}, and now are {now_is['withheld']}."


def _read_manifest(file: Path) -> dict[str, Any]:
    """The manifest of a backup, once it is known to be that of this very file."""
    path = _manifest_of(file)
    try:
        manifest: dict[str, Any] = ManifestSchema().loads(path.read_text(encoding="utf-8"))
        with file.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise BackupError(f"Cannot read {error.filename}: {error.strerror}. A backup is both files.") from None
    except (ValueError, ma.ValidationError):
        raise BackupError(f"{path} is no manifest of a backup. Restore another backup.") from None
    if sha256 != manifest["sha256"]:
        raise BackupError(f"{file} is not the file of which {path} tells, or not all of it. Restore another backup.")
    return manifest


def _manifest_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.manifest.json")


def _sync(directory: Path) -> None:
    """Have the directory itself written down: that its new names are there after a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

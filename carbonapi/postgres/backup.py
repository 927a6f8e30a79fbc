"""Backups: a file in pg_dump's custom format, and a manifest, with which `restore` compares the restored database.

Both come from one snapshot, so the service can write during a backup. For each table, the manifest has the number of
rows, a checksum, and the privileges that are revoked from its owner. Restoring is one transaction, which is committed
only if the restored tables match the manifest. Backups include idempotency records, so a request that is repeated after
a restore is not executed twice.
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

import marshmallow as ma

from ..db import db, revisions, row_security
from .client_tools import BackupError, Psql, client_directory, client_environment, dsn, error_text

LOCK_SECONDS = 60  # Time to wait for a running migration.
# A checksum is of the text of a row, which must not depend on the settings of a server or a role.
SETTINGS = f"""
    SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres';
    SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = '{LOCK_SECONDS}s';
"""
# The policies of an older version know no role for all organizations, but a value of the setting.
SEE_ALL_ROWS = """
    DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_policy WHERE polname = 'all_organizations') THEN
            PERFORM public.carbonapi_use_organization('*');
        ELSE
            SET LOCAL carbonapi.organization_id = '*';
        END IF;
    END $$;
"""
# Quoted names of all tables, except those of extensions.
TABLES = """
    SELECT coalesce(jsonb_agg(quote_ident(nspname) || '.' || quote_ident(relname) ORDER BY nspname, relname), '[]')
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname !~ '^pg_' AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
"""
# PostgreSQL's own hashes may differ between versions and machines. A sum does not depend on the order of rows.
ROWS = """
    SELECT count(*) AS rows,
        coalesce(sum(('x' || left(encode(sha256(convert_to((entry.*)::text, 'UTF8')), 'hex'), 16))::bit(64)::bigint), 0)
        AS hash_sum
    FROM ONLY {name} AS entry
"""
REVOKED = """
    SELECT coalesce(jsonb_agg(standard.privilege_type ORDER BY standard.privilege_type), '[]')
    FROM pg_class, aclexplode(acldefault('r', relowner)) AS standard
    WHERE pg_class.oid = {literal}::regclass AND relacl IS NOT NULL AND NOT EXISTS (
        SELECT FROM aclexplode(relacl) AS granted
        WHERE granted.grantee = relowner AND granted.privilege_type = standard.privilege_type)
"""


class TableSchema(ma.Schema):
    """The part of the manifest about one table."""

    rows = ma.fields.Integer(required=True, strict=True)
    hash_sum = ma.fields.String(required=True)
    revoked = ma.fields.List(ma.fields.String(validate=ma.validate.Regexp("[A-Z]+\\Z")), required=True)


class ManifestSchema(ma.Schema):
    """FILE.manifest.json. `sha256` is the hash of FILE, `revision` the last migration of its database."""

    made_at = ma.fields.AwareDateTime(required=True)
    postgresql = ma.fields.String(required=True)
    revision = ma.fields.String(required=True)
    sha256 = ma.fields.String(required=True)
    tables = ma.fields.Dict(keys=ma.fields.String(), values=ma.fields.Nested(TableSchema), required=True)


def create_backup(file: Path, pg_bin_dir: Path | None, moment: dt.datetime) -> dict[str, Any]:
    """Write the database to `file`, and its manifest to FILE.manifest.json. Return the manifest.

    Both files are complete, and private to their owner. Raise BackupError, also if one of them exists already.
    """
    folder = client_directory(pg_bin_dir)
    for path in (file, _manifest_of(file)):
        if path.exists():
            raise BackupError(f"{path} exists already. Choose another name for the backup.")
    try:
        with tempfile.TemporaryDirectory(prefix=f"{file.name}-new-", dir=file.parent) as draft:
            dump, description = Path(draft, "dump"), Path(draft, "manifest")
            with row_security.without_scope():  # The database may be of an older version. SEE_ALL_ROWS sets the scope.
                manifest = _dump(dump, folder, moment)
            dump.chmod(0o600)
            description.touch(0o600)
            with description.open("w", encoding="utf-8") as text:
                json.dump(ManifestSchema().dump(manifest), text, indent=2, sort_keys=True)
                text.flush()
                os.fsync(text.fileno())
            # The backup comes last, so it never exists without its manifest.
            description.rename(_manifest_of(file))
            dump.rename(file)
            # Write the directory itself to disk, so that new names survive a power failure.
            descriptor = os.open(file.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise BackupError(f"Cannot write {file}: {error.strerror}.") from None
    return manifest


def restore(file: Path, pg_bin_dir: Path | None) -> dict[str, Any]:
    """Restore a backup into this database, which has no tables yet. Return the manifest of the backup.

    Raise BackupError that lists every table that differs from the manifest. The database stays empty then.
    """
    folder = client_directory(pg_bin_dir)
    manifest = _read_manifest(file)
    revision = manifest["revision"]
    if revision not in revisions.revisions():
        raise BackupError(f"The backup is from a newer carbonapi, at migration {revision}. Restore it with that one.")
    with row_security.without_scope(), db.engine.connect() as connection:
        present = connection.exec_driver_sql(TABLES).scalar_one()
    if present:
        raise BackupError(
            f"The database is not empty: it has the table {present[0]}. Set CARBONAPI_DATABASE_URL, and "
            "CARBONAPI_MIGRATION_DATABASE_URL if you use it, to a new database, or CARBONAPI_EMBEDDED_DATA_DIR to a "
            "new folder."
        )
    with Psql(folder) as psql:
        psql.restore(file)
        psql.send(SETTINGS)
        names = psql.fetch_json(TABLES)
        for name in names:
            revoked = manifest["tables"].get(name, {}).get("revoked")
            if revoked:
                psql.send(f"REVOKE {', '.join(revoked)} ON {name} FROM PUBLIC, CURRENT_USER;")
        psql.send(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {row_security.ALL_ORGANIZATIONS}; {SEE_ALL_ROWS}")
        differences = list(_differences(manifest["tables"], psql.fetch_json(_summaries(names))))
        if differences:
            message = "The restored tables do not match the manifest. Nothing was restored."
            raise BackupError("\n".join([message, *differences]))
        # The planner needs statistics.
        psql.send("SET LOCAL ROLE NONE; ANALYZE;")
        psql.commit()
    return manifest


def _dump(dump: Path, folder: Path, moment: dt.datetime) -> dict[str, Any]:
    """Run pg_dump, and compute the manifest of the same snapshot. Return the manifest."""
    with db.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        if connection.exec_driver_sql("SELECT to_regclass('alembic_version') IS NULL").scalar_one():
            raise BackupError("The database has no tables yet. Run `carbonapi migrate` first.")
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
        connection.exec_driver_sql(SETTINGS)
        connection.exec_driver_sql(SEE_ALL_ROWS)
        role, is_other = connection.exec_driver_sql("SELECT current_user, current_user <> session_user").one()
        # Row-level security would hide rows from pg_dump too.
        scope = {} if is_other else {"PGOPTIONS": f"-c {row_security.SETTING}=*"}
        snapshot = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
        options = ["--format=custom", "--no-password", "--enable-row-security", f"--snapshot={snapshot}"]
        options += [f"--role={role}"] if is_other else []
        options += [f"--lock-wait-timeout={LOCK_SECONDS}s", f"--file={dump}", f"--dbname={dsn()}"]
        with tempfile.TemporaryFile() as stderr:
            with subprocess.Popen(
                [folder / "pg_dump", *options], env=client_environment() | scope, stdout=stderr, stderr=stderr
            ) as pg_dump:
                try:
                    names = connection.exec_driver_sql(TABLES).scalar_one()
                    tables = connection.exec_driver_sql(_summaries(names)).scalar_one()
                    version = connection.exec_driver_sql("SHOW server_version").scalar_one()
                except BaseException:
                    pg_dump.terminate()
                    raise
            if pg_dump.returncode != 0:
                raise BackupError(f"pg_dump failed: {error_text(stderr)}. No backup was written.")
    with dump.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return {"made_at": moment, "postgresql": version, "revision": revision, "sha256": sha256, "tables": tables}


def _summaries(names: list[str]) -> str:
    """Return the query for the manifest's part about each of these tables."""
    literals = {name: "'" + name.replace("'", "''") + "'" for name in names}
    each = " UNION ALL ".join(
        f"SELECT {literal} AS name, rows, hash_sum, ({REVOKED.format(literal=literal)}) AS revoked "
        f"FROM ({ROWS.format(name=name)}) AS counted"
        for name, literal in literals.items()
    )
    row = "jsonb_build_object('rows', rows, 'hash_sum', hash_sum::text, 'revoked', revoked)"
    return f"SELECT jsonb_object_agg(name, {row}) FROM ({each}) AS tables"


def _differences(expected: dict[str, Any], restored: dict[str, Any]) -> Iterator[str]:
    for name in sorted(expected.keys() | restored.keys()):
        before, after = expected.get(name), restored.get(name)
        if before is None or after is None:
            yield f"  {name}: {'not in the manifest' if before is None else 'not restored'}."
        elif before["rows"] != after["rows"]:
            yield f"  {name}: {before['rows']} rows in the manifest, {after['rows']} restored."
        elif before["hash_sum"] != after["hash_sum"]:
            yield f"  {name}: {before['rows']} rows, but their values differ."
        elif before["revoked"] != after["revoked"]:
            yield f"  {name}: revoked privileges are {before['revoked']} in the manifest, {after['revoked']} restored."


def _read_manifest(file: Path) -> dict[str, Any]:
    """Return the manifest of a backup. Raise BackupError if it does not belong to this file."""
    path = _manifest_of(file)
    try:
        manifest: dict[str, Any] = ManifestSchema().loads(path.read_text(encoding="utf-8"))
        with file.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise BackupError(f"Cannot read {error.filename}: {error.strerror}. A backup consists of both files.") from None
    except (ValueError, ma.ValidationError):
        raise BackupError(f"{path} is not a valid manifest. Restore another backup.") from None
    if sha256 != manifest["sha256"]:
        raise BackupError(f"{file} is incomplete, or does not belong to {path}. Restore another backup.")
    return manifest


def _manifest_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.manifest.json")

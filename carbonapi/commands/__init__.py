"""The operators' door: everything that is done beside the API."""

import contextlib
import itertools
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import flask
import flask_migrate
import sqlalchemy as sa

from .. import create_app
from ..accounts import service
from ..accounts.models import Organization, User
from ..auth import ROLES, Actor, acting_as, get_visible
from ..catalogue.factor_formats import FORMATS
from ..catalogue.factor_import import import_factors
from ..db import constraint_message, db, row_security
from ..errors import CarbonError, ValidationFailed
from ..imports.formats.rows import format_errors
from ..imports.formats.text_files import rows_rejected
from ..imports.jobs.progress import ProgressReader
from ..imports.models import Import
from ..imports.service import import_file
from ..postgres import backup as backups
from ..postgres import embedded
from ..postman import build_collection
from ..rest import now
from ..serving import supervisor
from ..settings import DEFAULTS, SettingsError, from_environ
from ..usages import ledger
from . import demo as demos
from .import_options import import_options, load_options

# An operator acts for nobody in particular, and may do anything.
OPERATOR = Actor(id=0, organization_id=0, role="admin", timezone="UTC")


@click.group()
def main() -> None:
    """carbonapi: a ledger of carbon usage."""


@contextlib.contextmanager
def application(*, as_owner: bool = False) -> Iterator[None]:
    """The app in its context, on the database of the environment, or else on the embedded one.

    as_owner: whether it connects as the role that owns the tables.
    What goes wrong is told in a sentence, as to a caller of the API.
    """
    with contextlib.ExitStack() as stack:
        environ = dict(os.environ)
        if not environ.get("CARBONAPI_DATABASE_URL"):
            folder = Path(environ.get("CARBONAPI_EMBEDDED_DATA_DIR") or embedded.default_data_dir(Path.cwd()))
            try:
                environ["CARBONAPI_DATABASE_URL"] = stack.enter_context(embedded.running(folder))
                environ["CARBONAPI_MIGRATION_DATABASE_URL"] = embedded.owner_url(environ["CARBONAPI_DATABASE_URL"])
                environ["CARBONAPI_SECRET_KEY"] = environ.get("CARBONAPI_SECRET_KEY") or embedded.secret_key(folder)
            except embedded.EmbeddedError as error:
                raise click.ClickException(str(error)) from None
        try:
            with create_app(from_environ(environ), as_owner=as_owner).app_context(), acting_as(OPERATOR):
                yield
                db.session.remove()
                db.engine.dispose()
        except ValidationFailed as error:
            raise click.ClickException("\n".join([str(error), *_faults(error)])) from None
        except (CarbonError, SettingsError) as error:
            raise click.ClickException(str(error)) from None
        except sa.exc.IntegrityError as error:
            told = constraint_message(getattr(getattr(error.orig, "diag", None), "constraint_name", None) or "")
            raise click.ClickException(told[0] if told else str(error.orig)) from None
        except sa.exc.OperationalError:
            raise click.ClickException("The database is away or busy. Try again shortly.") from None


def _faults(error: ValidationFailed) -> Iterator[str]:
    for line, messages in error.errors.get("file", {}).items():
        yield from (f"  line {line}: {message}" for message in messages)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=supervisor.default_workers,
    envvar="CARBONAPI_WORKERS",
    show_default="one for each core, from 2 to 8",
    help="Processes that answer requests.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=DEFAULTS["WORKER_THREADS"],
    envvar="CARBONAPI_WORKER_THREADS",
    show_default=True,
    help="Threads of each worker, at most; most wait for long uploads.",
)
@click.option(
    "--drain-seconds",
    type=click.IntRange(0),
    default=DEFAULTS["DRAIN_SECONDS"],
    envvar="CARBONAPI_DRAIN_SECONDS",
    show_default=True,
    help="Once told to stop, go on serving so long while /health/ready says 503.",
)
def serve(host: str, port: int, workers: int, threads: int, drain_seconds: int) -> None:
    """Start the service, with a PostgreSQL of its own if CARBONAPI_DATABASE_URL is not set."""
    sys.exit(supervisor.serve(host, port, workers, threads, drain_seconds, os.environ))


@main.command()
def migrate() -> None:
    """Bring the database up to date, and let the service's role in. Two at once wait for one another."""
    with application(as_owner=True):
        _migrate()


def _migrate() -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    flask_migrate.upgrade()
    with db.engine.begin() as connection:
        row_security.grant_service_role(connection, sa.make_url(flask.current_app.config["DATABASE_URL"]).username)


@main.command()
def demo() -> None:
    """Fill an organization with the real readings of a British household, and tell how to sign in.

    Once: what is there already is left as it is. A database that is not up to date yet is migrated.
    """
    with application(as_owner=True):
        _migrate()
        with application():
            made = demos.fill(now())
        if made is None:
            click.echo(f"The demo is there already: sign in as {demos.EMAIL}.")
        else:
            click.echo(f"{demos.NAME}: {made.usage_count} hourly readings of electricity and gas, 2020 to 2022.")
            click.echo(f"  Sign in as:  {demos.EMAIL}\n  Password:    {made.password}  (told only now; change it)")


@main.group()
def users() -> None:
    """Users: the first admin comes from here."""


@users.command("add")
@click.option("--email", required=True)
@click.option("--name", required=True)
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--organization", required=True, help="Its name; it is created if there is none.")
@click.password_option(envvar="CARBONAPI_NEW_PASSWORD", help="Asked for if it is not given.")
def add_user(email: str, name: str, role: str, organization: str, password: str) -> None:
    """Add a user, of any role."""
    with application():
        found = db.session.scalar(sa.select(Organization).where(Organization.name == organization))
        owner = found or service.create_organization(name=organization)
        user = service.create_user(now(), owner.id, email=email, name=name, role=role, password=password)
        db.session.commit()
        click.echo(f"Added {role} {email}, user {user.id} of organization {owner.id}.")


@main.group()
def factors() -> None:
    """Emission factors."""


@factors.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--format", type=click.Choice(list(FORMATS)), default="own", show_default=True, help="Whose table it is.")
def import_factor_file(file: Path, layout: str) -> None:
    """Book the emission factors of a CSV FILE. What is there already is left."""
    with application():
        outcome = import_factors(file, layout)
        db.session.commit()
        passed_over = f" {outcome.passed_over} lines passed over." if outcome.passed_over else ""
        click.echo(f"{outcome.added} factors added, {outcome.same} there already.{passed_over}")


@main.group()
def usages() -> None:
    """Usages."""


@usages.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--user", "email", required=True, help="Whose usages they are, by e-mail address.")
@click.option(
    "--usage-type",
    help="By id or name, if the file does not say it; of several types of one name, that in the unit of the line.",
)
@click.option(
    "--profile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file with options for all files of its kind; those on the command line go before it.",
)
@import_options
def import_usage_file(file: Path, email: str, usage_type: str | None, mapping: Path | None, **given: Any) -> None:
    """Record the usages of a FILE, CSV, NDJSON or Green Button: all of them, or none if a line has a fault.

    The other options are those of POST /imports. Lines with errors are told; if there are any, the exit code is 1.
    """
    with application():
        owner = db.session.scalar(sa.select(User).where(User.email_key == email.lower()))
        if owner is None:
            raise click.ClickException(f"There is no user {email}.")
        options = load_options(owner.id, usage_type, mapping, **given)
        size, is_seen = file.stat().st_size, sys.stderr.isatty()
        with (
            acting_as(Actor(owner.id, owner.organization_id, "manager", "UTC")),
            click.progressbar(length=size, label="Reading", file=sys.stderr, hidden=not is_seen) as bar,
            ProgressReader(file.open("rb", buffering=0), lambda read: bar.update(read - bar.pos)) as content,
        ):
            booked = import_file(content, now(), **options)
        db.session.commit()
        _tell_of(booked)


@usages.command("rebuild-totals")
@click.option("--organization", "organization_id", type=int, help="By id; without it, each, one after the other.")
def recount_days(organization_id: int | None) -> None:
    """Count the days of the ledger anew, of which trends and summaries are made up.

    Says how many there are, and how many were not what the usages add up to and are mended. What is written to an
    organization meanwhile waits.
    """
    with application():
        if organization_id is not None:
            get_visible(Organization, organization_id)
        all_ids = db.session.scalars(sa.select(Organization.id).order_by(Organization.id)).all()
        for id_ in all_ids if organization_id is None else [organization_id]:
            recounted = ledger.rebuild_daily_totals(id_)
            db.session.commit()
            click.echo(f"Organization {id_}: {recounted.day_count} days, {recounted.corrected_count} mended.")


def _tell_of(booked: Import) -> None:
    """Say what came of an import. Raises Invalid that tells of the lines with errors, if there are any."""
    if booked.id is None:
        click.echo(f"Would record {booked.usage_count} usages; nothing was recorded.")
    else:
        click.echo(f"Recorded {booked.usage_count} usages as import {booked.id}.")
    for warning in booked.warnings:
        click.echo(f"Line {warning['line']}: {warning['message']}", err=True)
    if booked.errors:
        by_line = itertools.groupby(booked.errors, lambda fault: int(fault["line"]))
        told = {line: format_errors(list(errors)) for line, errors in by_line}
        raise rows_rejected(told, "not recorded", booked.rejected_count)


programs_option = click.option(
    "--pg-bin-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of pg_dump, pg_restore and psql, where the installation comes without them.",
)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@programs_option
def backup(file: Path, programs: Path | None) -> None:
    """Write all that the database has to a new FILE, and what it is compared with later to FILE.manifest.json.

    Nobody need stop writing meanwhile: it is the database of one moment. FILE is in pg_dump's custom format.
    """
    with application(as_owner=True):
        click.echo(f"Backed up {_size(backups.create_backup(file, programs, now()))} to {file}.")


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@programs_option
def restore(file: Path, programs: Path | None) -> None:
    """Restore a backup FILE into a database that is empty yet, and compare it with FILE.manifest.json.

    If anything differs, each such table is told, nothing is kept, and the exit code is 1. A backup of an older
    carbonapi is migrated.
    """
    with application(as_owner=True):
        click.echo(f"Restored {_size(backups.restore(file, programs))}, all as they were backed up.")
        _migrate()


def _size(manifest: dict[str, Any]) -> str:
    tables = manifest["tables"].values()
    return f"{sum(table['rows'] for table in tables)} rows of {len(tables)} tables"


@main.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    with application():
        click.echo(flask.current_app.json.dumps(flask.current_app.extensions["carbonapi-api"].document))


@main.command()
def postman() -> None:
    """Print the Postman collection."""
    with application():
        collection = build_collection(flask.current_app.extensions["carbonapi-api"].document)
        click.echo(json.dumps(collection, indent=2, ensure_ascii=False))

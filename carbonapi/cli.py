"""The operators' door: everything that is done beside the API."""

import contextlib
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

from . import create_app, embedded, server
from .access import ROLES, Actor, acting_as
from .accounts import people
from .accounts.models import Organization, User
from .catalogue.factor_files import import_factors
from .catalogue.models import UsageType
from .db import constraint_message, db
from .errors import CarbonError, Invalid
from .imports.booking import book
from .rest import now
from .settings import SettingsError, from_environ

# An operator acts for nobody in particular, and may do anything.
OPERATOR = Actor(id=0, organization_id=0, role="admin", timezone="UTC")


@click.group()
def main() -> None:
    """carbonapi: a ledger of carbon usage."""


@contextlib.contextmanager
def application() -> Iterator[None]:
    """The app in its context, on the database of the environment, or else on the embedded one.

    What goes wrong is told in a sentence, as to a caller of the API.
    """
    with contextlib.ExitStack() as stack:
        environ = dict(os.environ)
        if not environ.get("CARBONAPI_DATABASE_URL"):
            folder = Path(environ.get("CARBONAPI_DATA_FOLDER") or embedded.default_folder(Path.cwd()))
            try:
                environ["CARBONAPI_DATABASE_URL"] = stack.enter_context(embedded.running(folder))
                environ["CARBONAPI_SECRET_KEY"] = environ.get("CARBONAPI_SECRET_KEY") or embedded.secret_key(folder)
            except embedded.EmbeddedError as error:
                raise click.ClickException(str(error)) from None
        try:
            with create_app(from_environ(environ)).app_context(), acting_as(OPERATOR):
                yield
                db.session.remove()
                db.engine.dispose()
        except Invalid as error:
            raise click.ClickException("\n".join([str(error), *_faults(error)])) from None
        except (CarbonError, SettingsError) as error:
            raise click.ClickException(str(error)) from None
        except sa.exc.IntegrityError as error:
            told = constraint_message(getattr(getattr(error.orig, "diag", None), "constraint_name", None) or "")
            raise click.ClickException(told[0] if told else str(error.orig)) from None


def _faults(error: Invalid) -> Iterator[str]:
    for line, messages in error.errors.get("file", {}).items():
        yield from (f"  line {line}: {message}" for message in messages)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=server.default_workers,
    envvar="CARBONAPI_WORKERS",
    show_default="one for each core, from 2 to 8",
    help="Processes that answer requests.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=300,
    envvar="CARBONAPI_THREADS",
    show_default=True,
    help="Threads of each worker; most wait for slow clients.",
)
def serve(host: str, port: int, workers: int, threads: int) -> None:
    """Start the service, with a PostgreSQL of its own if CARBONAPI_DATABASE_URL is not set."""
    sys.exit(server.serve(host, port, workers, threads, os.environ))


@main.command()
def migrate() -> None:
    """Bring the database up to date. Two at once wait for one another."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with application():
        flask_migrate.upgrade()


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
        owner = found or people.create_organization(name=organization)
        user = people.create_user(owner.id, email=email, name=name, role=role, password=password)
        db.session.commit()
        click.echo(f"Added {role} {email}, user {user.id} of organization {owner.id}.")


@main.group()
def factors() -> None:
    """Emission factors."""


@factors.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_factor_file(file: Path) -> None:
    """Book the emission factors of a CSV FILE. What is there already is left."""
    with application():
        outcome = import_factors(file)
        db.session.commit()
        click.echo(f"{outcome.added} factors added, {outcome.same} there already.")


@main.group()
def usages() -> None:
    """Usages."""


@usages.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--user", "email", required=True, help="Whose usages they are, by e-mail address.")
@click.option("--usage-type", help="By id, or by name where only one has it; not needed if the file has the column.")
@click.option("--region", help="Whose emission factors apply; the organization's by default.")
def import_usage_file(file: Path, email: str, usage_type: str | None, region: str | None) -> None:
    """Record the usages of a CSV FILE, all of them or none."""
    with application():
        owner = db.session.scalar(sa.select(User).where(sa.func.lower(User.email) == email.lower()))
        if owner is None:
            raise click.ClickException(f"There is no user {email}.")
        defaults: dict[str, Any] = {"usage_type_id": _usage_type_id(usage_type), "region": region}
        with acting_as(Actor(owner.id, owner.organization_id, "manager", "UTC")), file.open("rb") as content:
            booked = book(content, now(), **{name: value for name, value in defaults.items() if value is not None})
        db.session.commit()
        click.echo(f"Recorded {booked.usage_count} usages as import {booked.id}.")
        for warning in booked.warnings:
            click.echo(f"Line {warning['line']}: {warning['message']}", err=True)


def _usage_type_id(asked: str | None) -> int | None:
    """The id of the usage type asked for by id or name."""
    if asked is None or (asked.isascii() and asked.isdigit()):
        return int(asked) if asked else None
    found = db.session.scalars(sa.select(UsageType).where(UsageType.name == asked)).all()
    if len(found) == 1:
        return found[0].id
    known = ", ".join(f"{usage_type.id} ({usage_type.unit})" for usage_type in found)
    raise click.ClickException(f"{asked} is ambiguous: {known}." if found else f"There is no usage type {asked}.")


@main.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    with application():
        click.echo(flask.current_app.json.dumps(flask.current_app.extensions["carbonapi-api"].document))


if __name__ == "__main__":
    main()

"""`carbonapi usages`: importing files, and rebuilding daily totals."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import marshmallow as ma
import sqlalchemy as sa

from ..accounts.models import Organization, User
from ..auth import Actor, acting_as, get_visible
from ..db import db
from ..errors import rows_rejected
from ..imports.formats.rows import format_errors
from ..imports.jobs.progress import ProgressReader
from ..imports.models import Import
from ..imports.profiles import load_profile, without_types
from ..imports.schemas import ImportOptions
from ..imports.service import import_file
from ..rest import now
from ..usages import ledger
from .application import application

SET_OTHERWISE = {"user_id", "user_email", "usage_type_id", "usage_type"}  # By options of their own.


@click.group()
def usages() -> None:
    """Import usages and maintain the ledger."""


def import_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `POST /imports`, except those that set the user and the usage type."""
    # Each decorator puts its option before those that are there, so the last option comes first.
    for name, field in reversed(ImportOptions().fields.items()):
        if name not in SET_OTHERWISE:
            validator: Any = getattr(field, "inner", field).validate
            is_choice = isinstance(validator, ma.validate.OneOf)
            kind: dict[str, Any] = {
                "type": click.Choice(list(validator.choices)) if is_choice else str,
                "multiple": isinstance(field, ma.fields.List),
            }
            if isinstance(field, ma.fields.Boolean):
                kind = {"is_flag": True, "flag_value": "true", "default": None}
            help_text = field.metadata["description"]
            command = click.option(f"--{name.replace('_', '-')}", name, help=help_text, **kind)(command)
    return command


@usages.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--user", "email", required=True, help="E-mail address of the user to whom the usages belong.")
@click.option(
    "--usage-type",
    help="Usage type of lines that have none, by id or name. If several types have this name, the unit of the line "
    "selects one.",
)
@click.option(
    "--profile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Import profile: a TOML file with options for one kind of file. Options of the command line take precedence.",
)
@import_options
def import_usage_file(file: Path, email: str, usage_type: str | None, profile: Path | None, **options: Any) -> None:
    """Import the usages of a CSV, NDJSON or Green Button FILE.

    By default, the command imports all lines, or none if a line has an error. It prints the first errors, and exits
    with code 1 if there are any. The further options are those of POST /imports.
    """
    with application():
        user = db.session.scalar(sa.select(User).where(User.email_key == email.lower()))
        if user is None:
            raise click.ClickException(f"There is no user {email}.")
        import_settings = load_options(user.id, usage_type, profile, **options)
        size = file.stat().st_size
        with (
            acting_as(Actor(user.id, user.organization_id, "manager", "UTC")),
            click.progressbar(length=size, label="Reading", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar,
            ProgressReader(file.open("rb", buffering=0), lambda read: bar.update(read - bar.pos)) as content,
        ):
            completed = import_file(content, now(), **import_settings)
        db.session.commit()
        _report(completed)


def load_options(user_id: int, usage_type: str | None, profile: Path | None, **options: Any) -> dict[str, Any]:
    """Return the keyword arguments of `import_file`. The options take precedence over those of the profile.

    Raise BadParameter for an option that the API would reject, and ValidationFailed for an invalid profile.
    """
    merged = load_profile(profile) if profile else {}
    if usage_type is not None:
        is_id = usage_type.isascii() and usage_type.isdigit()
        merged = without_types(merged) | {"usage_type_id" if is_id else "usage_type": usage_type}
    merged |= {name: value for name, value in options.items() if value not in (None, ())}
    try:
        return dict(ImportOptions().load({**merged, "user_id": str(user_id)}))
    except ma.ValidationError as error:
        (name, (message, *_)), *_ = error.normalized_messages().items()
        raise click.BadParameter(
            message, param_hint=f"--{(name.removesuffix('_id') if name in SET_OTHERWISE else name).replace('_', '-')}"
        ) from None


def _report(completed: Import) -> None:
    """Print the result of an import. Raise ValidationFailed if lines have errors."""
    if completed.id is None:
        click.echo(f"Would record {completed.usage_count} usages; nothing was recorded.")
    else:
        click.echo(f"Recorded {completed.usage_count} usages as import {completed.id}.")
    for warning in completed.warnings:
        click.echo(f"Line {warning['line']}: {warning['message']}", err=True)
    if completed.errors:
        by_line = itertools.groupby(completed.errors, lambda error: int(error["line"]))
        messages = {line: format_errors(list(errors)) for line, errors in by_line}
        raise rows_rejected(messages, "not recorded", completed.rejected_count)


@usages.command("rebuild-totals")
@click.option("--organization", "organization_id", type=int, help="Id of one organization. Without it, all of them.")
def rebuild_totals(organization_id: int | None) -> None:
    """Recalculate the daily totals of the ledger, from which the service calculates trends and summaries.

    Print the number of daily totals, and the number that were wrong and are corrected now. Writes to an organization
    wait until its totals are rebuilt.
    """
    with application():
        if organization_id is not None:
            get_visible(Organization, organization_id)
        all_ids = db.session.scalars(sa.select(Organization.id).order_by(Organization.id)).all()
        for id_ in all_ids if organization_id is None else [organization_id]:
            result = ledger.rebuild_daily_totals(id_)
            db.session.commit()
            click.echo(f"Organization {id_}: {result.day_count} daily totals, {result.corrected_count} corrected.")

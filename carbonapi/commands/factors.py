"""`carbonapi factors`."""

from pathlib import Path

import click

from ..catalogue.factor_formats import FORMATS
from ..catalogue.factor_import import import_factors
from ..db import db
from .application import application


@click.group()
def factors() -> None:
    """Manage emission factors."""


@factors.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "file_format",
    type=click.Choice(list(FORMATS)),
    default="own",
    show_default=True,
    help="Format of FILE.",
)
def import_factor_file(file: Path, file_format: str) -> None:
    """Import emission factors from a CSV FILE. Existing factors stay unchanged."""
    with application():
        result = import_factors(file, file_format)
        db.session.commit()
        skipped = f" Skipped {result.skipped} lines." if result.skipped else ""
        click.echo(f"Added {result.added} factors; {result.unchanged} existed already.{skipped}")

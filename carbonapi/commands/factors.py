"""`carbonapi factors`."""

import json
from pathlib import Path
from typing import Any

import click

from ..auth import get_visible
from ..catalogue.factor_formats import FORMATS, read_mapping
from ..catalogue.factor_import import import_factors
from ..catalogue.factor_import_result import FactorImportResult
from ..catalogue.factor_revert import revert_factor_set
from ..catalogue.models import GWP_SETS, FactorSet
from ..db import db
from .application import application

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def factors() -> None:
    """Manage emission factors."""


@factors.command("import")
@click.argument("file", type=FILE)
@click.option(
    "--format", "file_format", type=click.Choice(list(FORMATS)), help="Format of FILE. Default: the header decides."
)
@click.option("--dry-run", is_flag=True, help="Record nothing, and print what an import would do.")
@click.option("--sheet", help="Sheet of a workbook. Default: the first one with a known header.")
@click.option("--year", type=click.IntRange(1990, 2200), help="Year of the factors, if FILE does not state it.")
@click.option("--gwp", type=click.Choice(GWP_SETS), help="Global warming potentials. Default: those of the year.")
@click.option("--decimal", type=click.Choice([".", ","]), help="Decimal mark of FILE.")
@click.option("--publisher", help="Publisher of the factor set. Default: that of the format.")
@click.option("--edition", help="Edition of the factor set. Default: the year and version of FILE.")
@click.option("--mapping", "mapping_file", type=FILE, help="JSON file with a column mapping, for any other table.")
@click.option("--organization", "organization_id", type=int, help="Id of the owner. Default: the factors are shared.")
def import_factor_file(file: Path, dry_run: bool, mapping_file: Path | None, **options: Any) -> None:
    """Import emission factors from a CSV or XLSX FILE.

    Adds the factors that the catalogue lacks. A figure that the publisher corrected supersedes the factor in force;
    recorded usages keep theirs until a restatement.
    """
    with application():
        if mapping_file is not None:
            try:
                options["mapping"] = read_mapping(json.loads(mapping_file.read_text(encoding="utf-8")))
            except ValueError:
                raise click.BadParameter("The file must contain a JSON object.", param_hint="--mapping") from None
        result = import_factors(file, mode="dry-run" if dry_run else "apply", **options)
        db.session.commit()
        _report(result)


@factors.command("revert")
@click.argument("factor_set_id", type=int)
def revert(factor_set_id: int) -> None:
    """Delete a factor set and its factors, and put those that they superseded in force again.

    The command fails if a usage has one of the factors.
    """
    with application():
        result = revert_factor_set(get_visible(FactorSet, factor_set_id, lock=True))
        db.session.commit()
        click.echo(f"Deleted {result.deleted_count} factors and {result.usage_type_count} usage types.")
        click.echo(f"{result.restored_count} factors are in force again.")


def _report(result: FactorImportResult) -> None:
    """Print the counts of an import, an example of each outcome that needs attention, and the warnings."""
    edition = f"{result.publisher}, {result.edition}"
    where = f"as factor set {result.id}" if result.id else "Dry run: nothing was recorded"
    click.echo(f"{edition} ({where}).")
    click.echo(
        f"Added {result.added_count} factors; superseded {result.superseded_count}; {result.unchanged_count} existed "
        f"already. Skipped {result.skipped_count} lines. Rounded {result.rounded_count} figures."
    )
    for example in result.examples["superseded"]:
        click.echo(
            f"Line {example['line']}: {example['usage_type']} ({example['unit']}): "
            f"{example['previous_factor'].normalize():f} is now {example['factor'].normalize():f}."
        )
    for reason, count in result.skipped_reasons.most_common():
        click.echo(f"Skipped {count}: {reason}")
    for figure in result.examples["rounded"]:
        click.echo(f"Line {figure['line']}: {figure['published']} was rounded to {figure['recorded']}.")
    for warning in result.warnings:
        click.echo(f"Line {warning['line']}: {warning['message']}", err=True)

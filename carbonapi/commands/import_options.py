"""The options of `carbonapi usages import`: those of `POST /imports`, on the command line and in a mapping."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import marshmallow as ma

from ..imports.formats.rows import NAMES
from ..imports.profiles import load_profile, without_types
from ..imports.schemas import ImportOptions


def import_options(command: Callable[..., None]) -> Callable[..., None]:
    """An option for each that `POST /imports` has, but for those that say whose usages they are and of what type."""
    # From the last to the first, for each is put before those that are there.
    for name, field in reversed(ImportOptions().fields.items()):
        if name not in {*NAMES, *NAMES.values()}:
            validator: Any = getattr(field, "inner", field).validate
            is_choice = isinstance(validator, ma.validate.OneOf)
            command = click.option(
                f"--{name.replace('_', '-')}",
                name,
                type=click.Choice(list(validator.choices)) if is_choice else str,
                multiple=isinstance(field, ma.fields.List),
                help=field.metadata["description"],
            )(command)
    return command


def load_options(user_id: int, usage_type: str | None, mapping: Path | None, **given: Any) -> dict[str, Any]:
    """The options as `book` takes them; what is given goes before what the mapping says.

    usage_type: its id or its name. What is wrong with an option is told as it is of the API's. Raises Invalid for what
    is no mapping.
    """
    options = load_profile(mapping) if mapping else {}
    if usage_type is not None:
        is_id = usage_type.isascii() and usage_type.isdigit()
        options = without_types(options) | {"usage_type_id" if is_id else "usage_type": usage_type}
    options |= {name: value for name, value in given.items() if value not in (None, ())}
    try:
        ready: dict[str, Any] = ImportOptions().load({**options, "user_id": str(user_id)})
        return ready
    except ma.ValidationError as error:
        (name, (message, *_)), *_ = error.normalized_messages().items()
        raise click.BadParameter(message, param_hint=f"--{name.removesuffix('_id').replace('_', '-')}") from None

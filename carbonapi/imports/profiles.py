"""Import profiles: TOML files with the import options of one kind of file."""

import tomllib
from pathlib import Path
from typing import Any

import marshmallow as ma

from ..errors import ValidationFailed
from .schemas import ImportOptions

SHIPPED_PROFILES = Path(__file__).with_name("shipped_profiles")
OPTIONS_OF_ONE_IMPORT = ("user_id", "user_email", "again")  # They do not depend on the kind of file.
TYPE_OPTIONS = ("usage_type", "usage_type_id")


def load_profile(path: Path) -> dict[str, Any]:
    """Return the options of a profile as query parameters, for ImportOptions to load.

    `columns` may be a table of the API's names to those of the file. Raise ValidationFailed for an invalid profile.
    """
    try:
        with path.open("rb") as file:
            options = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValidationFailed(f"{path.name} is not a TOML file: {error}.") from None
    known = [name for name in ImportOptions().fields if name not in OPTIONS_OF_ONE_IMPORT]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValidationFailed(f"{path.name} has unknown options: {', '.join(unknown)}. Options: {', '.join(known)}.")
    return {name: _parameter(path, name, value) for name, value in options.items()}


def without_types(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in TYPE_OPTIONS}


def _parameter(path: Path, name: str, value: Any) -> Any:
    """Return an option of a profile as a query parameter."""
    if name == "columns" and isinstance(value, dict) and all(isinstance(column, str) for column in value.values()):
        if any("," in column for column in value.values()):
            raise ValidationFailed(f"{path.name}: a column name must not contain a comma. Rename it in the file.")
        return ",".join(f"{field}:{column}" for field, column in value.items())
    if name == "ignore" and isinstance(value, list) and all(isinstance(column, str) for column in value):
        return value
    if isinstance(value, str):
        return value
    if isinstance(value, bool) and isinstance(ImportOptions().fields[name], ma.fields.Boolean):
        return str(value).lower()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValidationFailed(f"{path.name}: {name} must be a string or an integer.")

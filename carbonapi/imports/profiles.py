"""Mappings: TOML files that say once how somebody's files are written, by the names of an import's options."""

import tomllib
from pathlib import Path
from typing import Any

from ..errors import ValidationFailed
from .schemas import ImportOptions

SHIPPED_PROFILES = Path(__file__).with_name("shipped_profiles")
WHOSE = ("user_id", "user_email")  # That is said by who imports.
TYPES = ("usage_type", "usage_type_id")


def load_profile(path: Path) -> dict[str, Any]:
    """The options of a mapping as a query would have them, to be loaded by ImportOptions.

    Its `columns` may be a table: our names, and what the file calls them. Raises Invalid for what is no mapping.
    """
    try:
        with path.open("rb") as file:
            options = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValidationFailed(f"{path.name} is no TOML file: {error}.") from None
    known = [name for name in ImportOptions().fields if name not in WHOSE]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValidationFailed(f"{path.name} has {', '.join(unknown)}, but a mapping has {', '.join(known)} only.")
    return {name: _text(path, name, value) for name, value in options.items()}


def without_types(options: dict[str, Any]) -> dict[str, Any]:
    """The options but for what they say of the usage type."""
    return {name: value for name, value in options.items() if name not in TYPES}


def _text(path: Path, name: str, value: Any) -> Any:
    if name == "columns" and isinstance(value, dict) and all(isinstance(theirs, str) for theirs in value.values()):
        if any("," in theirs for theirs in value.values()):
            raise ValidationFailed(
                f"{path.name}: a column whose name has a comma cannot be read. Rename it in the file."
            )
        return ",".join(f"{ours}:{theirs}" for ours, theirs in value.items())
    if name == "ignore" and isinstance(value, list) and all(isinstance(column, str) for column in value):
        return value
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValidationFailed(f"{path.name}: {name} must be a text or a whole number.")

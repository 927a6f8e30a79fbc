"""What a violated constraint means to the caller."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from .engine import Base


def choice_constraint(column: str, choices: Sequence[str]) -> sa.CheckConstraint:
    """Return a CHECK that the column has one of these values."""
    return sa.CheckConstraint(f"{column} IN ({', '.join(map(repr, choices))})", name=column)


def constraint_message(name: str) -> tuple[str, str | None] | None:
    """What the constraint of this name tells a caller: a sentence, and the field at fault; None if it tells nothing.

    Stands as `info={"message": ..., "field": ...}` beside the constraint itself.
    """
    info = _constraint_info(name)
    return (info["message"], info.get("field")) if "message" in info else None


def is_transient(name: str) -> bool:
    """Whether what the constraint of this name refuses may go well when it is sent again.

    Stands as `info={"is_momentary": True}` beside the constraint itself.
    """
    return "is_momentary" in _constraint_info(name)


def _constraint_info(name: str) -> Mapping[Any, Any]:
    for table in Base.metadata.tables.values():
        for rule in (*table.constraints, *table.indexes):
            if getattr(rule, "name", None) == name:
                return rule.info
    return {}

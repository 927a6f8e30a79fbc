"""Messages of violated constraints."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from .engine import Base


def choice_constraint(column: str, choices: Sequence[str]) -> sa.CheckConstraint:
    """Return a CHECK that the column has one of these values."""
    return sa.CheckConstraint(f"{column} IN ({', '.join(map(repr, choices))})", name=column)


def constraint_message(name: str) -> tuple[str, str | None] | None:
    """Return the message of a constraint and the field that it concerns, or None if it has no message.

    Constraints declare both as `info={"message": ..., "field": ...}`.
    """
    info = _constraint_info(name)
    return (info["message"], info.get("field")) if "message" in info else None


def is_transient(name: str) -> bool:
    """Return whether a request that violates a constraint may succeed when it is repeated.

    Constraints declare it as `info={"is_transient": True}`.
    """
    return "is_transient" in _constraint_info(name)


def _constraint_info(name: str) -> Mapping[Any, Any]:
    for table in Base.metadata.tables.values():
        for constraint in (*table.constraints, *table.indexes):
            if getattr(constraint, "name", None) == name:
                return constraint.info
    return {}

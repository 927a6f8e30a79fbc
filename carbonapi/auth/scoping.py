"""Which rows the actor may see."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import sqlalchemy as sa

from ..db import Model, db
from ..errors import NotFound, ValidationFailed
from .actors import Actor, current_actor

M = TypeVar("M", bound=Model)

Narrow = Callable[[sa.Select[Any]], sa.Select[Any]]


def scope_criteria(model: Any) -> tuple[sa.ColumnElement[bool], ...]:
    """The criteria of the rows of `model` that the actor may see."""
    return tuple(model.visible_to(viewer_parameters()))


def viewer_parameters() -> Actor:
    """The actor as statements have them: named by parameters, so that what is kept serves all of the same role."""
    names: Any = [sa.bindparam(name, value, sa.BigInteger) for name, value in viewer_parameter_values().items()]
    return replace(current_actor(), id=names[0], organization_id=names[1])


def viewer_parameter_values() -> dict[str, int]:
    """The values of the parameters that `viewer` names."""
    actor = current_actor()
    return {"viewer_id": actor.id, "viewer_organization_id": actor.organization_id}


def visible(model: type[M]) -> sa.Select[M]:
    """The rows of `model` that the actor may see, as a SELECT."""
    return sa.select(model).where(*scope_criteria(model))


def get_visible(model: type[M], id_: int, narrow: Narrow | None = None, *, lock: bool = False) -> M:
    """The visible row with this id among those that `narrow` leaves, locked until the commit if asked.

    Raises NotFound: somebody else's row and no row look the same.
    """
    statement = visible(model).where(_id(model) == id_)
    statement = narrow(statement) if narrow else statement
    row = db.session.scalar(statement.with_for_update(of=model) if lock else statement)
    if row is None:
        raise NotFound(f"There is no {display_name(model)} {id_}.")
    return row


def get_referenced(model: type[M], id_: int, field: str, location: str = "json") -> M:
    """The visible row that a request names in a field of its body, or of its query.

    Raises Invalid that names the field: the request itself is at the right address, so it is not NotFound.
    """
    try:
        return get_visible(model, id_)
    except NotFound as error:
        raise ValidationFailed(str(error), {location: {field: [str(error)]}}) from None


def get_all_visible(model: type[M], ids: list[int], *, lock: bool = False) -> list[M]:
    """The visible rows with these ids, in the order of their ids. Raises NotFound that names those missing."""
    statement = visible(model).where(_id(model).in_(ids)).order_by(_id(model))
    rows = db.session.scalars(statement.with_for_update(of=model) if lock else statement).all()
    missing = sorted(set(ids) - {_id(row) for row in rows})
    if missing:
        raise NotFound(f"There is no {display_name(model)} {', '.join(map(str, missing))}. Nothing was changed.")
    return list(rows)


def _id(model: Any) -> Any:
    return model.id


def display_name(model: Any) -> str:
    """What a caller calls a row of `model`: usage, usage type, user."""
    return str(model.__tablename__).removesuffix("s").replace("_", " ")

"""The rows that the actor may see."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from ..db import Model, db, is_any_of, prepare
from ..errors import NotFound, ValidationFailed
from .actors import current_actor

M = TypeVar("M", bound=Model)

Narrow = Callable[[sa.Select[Any]], sa.Select[Any]]


def scope_criteria(model: Any) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the criteria of the rows of `model` that the actor may see."""
    return tuple(model.visible_to(current_actor()))


def visible(model: type[M]) -> sa.Select[M]:
    """Return a SELECT of the rows of `model` that the actor may see."""
    return sa.select(model).where(*scope_criteria(model))


def get_visible(model: type[M], id_: int, narrow: Narrow | None = None, *, lock: bool = False) -> M:
    """Return the visible row with this id, among those that `narrow` leaves. `lock` locks it until the commit.

    Raise NotFound for a missing row and for one that the actor may not see, with the same message.
    """
    statement = visible(model).where(_id(model) == id_)
    statement = narrow(statement) if narrow else statement
    row = db.session.scalar(prepare(statement.with_for_update(of=model) if lock else statement))
    if row is None:
        raise _not_found(model, id_)
    return row


def find_visible(model: type[M], ids: Collection[int]) -> dict[int, M]:
    """Return the visible rows with these ids, by id. Without ids, send no statement."""
    if not ids:
        return {}
    statement = visible(model).where(is_any_of(_id(model), sorted(ids)))
    return {_id(row): row for row in db.session.scalars(prepare(statement))}


def pick_referenced(rows: Mapping[int, M], model: type[M], id_: int, field: str) -> M:
    """Return one of the rows of `find_visible` to which a field of the body refers. Raise like get_referenced."""
    with _as_invalid(field, "json"):
        if id_ not in rows:
            raise _not_found(model, id_)
        return rows[id_]


def get_referenced(model: type[M], id_: int, field: str, location: str = "json") -> M:
    """Return the visible row to which a field of the request's body or query refers.

    Raise ValidationFailed for that field if there is no such row: the URL itself exists, so it is not NotFound.
    """
    with _as_invalid(field, location):
        return get_visible(model, id_)


def get_all_referenced(model: type[M], ids: list[int], field: str, location: str = "json") -> list[M]:
    """Return the visible rows to which a field refers, by one statement. Raise ValidationFailed like get_referenced."""
    with _as_invalid(field, location):
        return get_all_visible(model, ids)


@contextlib.contextmanager
def _as_invalid(field: str, location: str) -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        raise ValidationFailed(str(error), {location: {field: [str(error)]}}) from None


def get_all_visible(model: type[M], ids: list[int], *, lock: bool = False) -> list[M]:
    """Return the visible rows with these ids, ordered by id. Raise NotFound that lists the missing ones."""
    statement = visible(model).where(_id(model).in_(ids)).order_by(_id(model))
    rows = db.session.scalars(statement.with_for_update(of=model) if lock else statement).all()
    missing = sorted(set(ids) - {_id(row) for row in rows})
    if missing:
        raise NotFound(f"There is no {display_name(model)} {', '.join(map(str, missing))}. Nothing was changed.")
    return list(rows)


def _not_found(model: type[M], id_: int) -> NotFound:
    return NotFound(f"There is no {display_name(model)} {id_}.")


def _id(model: Any) -> Any:
    return model.id


def display_name(model: Any) -> str:
    """Return the name of a row of `model` in messages: usage, usage type, user."""
    return str(model.__tablename__).removesuffix("s").replace("_", " ")

"""Every entry of the audit log is written here, in the transaction of the change that it tells of.

A row that the session writes is told by the session itself, if its model is `Audited`: nobody has to think of it. What
is written in SQL takes its entries along in the same statement, by `entries_of`. What is no row is told by `note`.
"""

import datetime as dt
from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from ..auth import Actor, display_name, request_origin
from ..db import db
from ..rest.fields import format_datetime
from .models import NO_ORGANIZATION, AuditConfig, AuditEntry

Values = Mapping[str, Any]
TOLD_BY = "told_by_"


def record(
    action: str,
    of: type[Any],
    id_: int | None,
    organization_id: int | None = None,
    *,
    actor: Actor | None = None,
    old: Values | None = None,
    new: Values | None = None,
    reason: str | None = None,
) -> None:
    """Tell what was done to the row of this model and id.

    organization_id: whose it is; by default the actor's organization's.
    actor: who did it, where it is not who acts: somebody who is just signing in.
    """
    _write([_entry(action, of, id_, organization_id, actor, old, new, reason)])


def entries_cte(
    rows: sa.CTE,
    of: type[Any],
    action: str,
    *,
    old: Values | sa.ColumnElement[Any] | None = None,
    new: Values | sa.ColumnElement[Any] | None = None,
    reason: str | None = None,
) -> sa.CTE:
    """What tells of these rows of a model, an entry each, to be added to the statement that writes them.

    rows: columns organization_id and id at least. old, new: as `values_of` gives them, or the same for all rows.
    """
    columns = AuditEntry.__table__.c
    entry: dict[str, Any] = {
        name: sa.bindparam(TOLD_BY + name, value, columns[name].type) for name, value in _told_by().items()
    }
    entry |= {"action": sa.literal(action), "subject": sa.literal(display_name(of))}
    if reason is not None:
        entry["reason"] = sa.literal(reason)
    # By their names: to look a column of a common table expression up takes longer than all the rest.
    entry["organization_id"] = sa.func.coalesce(_named(rows, "organization_id"), entry["organization_id"])
    entry["subject_id"] = _named(rows, "id")
    for name, values in (("old", old), ("new", new)):
        if isinstance(values, sa.ColumnElement):
            entry[name] = values
        elif values:
            entry[name] = sa.literal(_plain(values), JSONB)
    entries = sa.select(*entry.values()).select_from(rows)
    return sa.insert(AuditEntry).from_select(list(entry), entries).returning(AuditEntry.id).cte("told")


def actor_columns() -> dict[str, Any]:
    """Who acts, and from where, by the parameters' names of the statement that `entries_of` is added to.

    It has them already, and needs them anew where it is kept for other requests.
    """
    return {TOLD_BY + name: value for name, value in _told_by().items()}


@cache
def as_jsonb(rows: str, *columns: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The values of these columns of the rows so named, as `old` and `new` take them.

    It is kept for the next time, so columns are those of a table, or made once.
    """
    pairs = []
    for column in columns:
        value = f'{rows}."{column.key}"'
        if isinstance(column.type, sa.DateTime):
            value = f"replace(to_jsonb({value}) #>> '{{}}', '+00:00', 'Z')"
        pairs.append(f"'{column.key}', {value}")
    return sa.literal_column(f"jsonb_build_object({', '.join(pairs)})", JSONB)


def _named(rows: sa.CTE, column: str) -> sa.ColumnElement[Any]:
    return sa.literal_column(f"{rows.name}.{column}")


@sa.event.listens_for(db.session, "after_flush")
def _tell_of_rows(session: Any, flush_context: Any) -> None:
    told = [
        tell(row, row.AUDIT)
        for tell, rows in ((_created, session.new), (_changed, session.dirty), (_deleted, session.deleted))
        for row in sorted((row for row in rows if hasattr(row, "AUDIT")), key=lambda row: int(row.id))
    ]
    entries = [entry for entry in told if entry is not None]
    if entries:
        _write(entries)


def _created(row: Any, audited: AuditConfig) -> dict[str, Any]:
    new = {name: getattr(row, name) for name in audited.columns}
    return _entry_of(row, audited, audited.created, None, new)


def _changed(row: Any, audited: AuditConfig) -> dict[str, Any] | None:
    attributes = sa.inspect(row).attrs
    histories = {name: attributes[name].history for name in {*audited.columns, *audited.acts}}
    changed = [name for name, history in histories.items() if history.has_changes()]
    if not changed:
        return None
    action = next((act for name, act in audited.acts.items() if name in changed), "changed")
    if action == "deleted":
        before = {name: _before(history) for name, history in histories.items()}
        return _entry_of(row, audited, action, _lasting(before, audited), None)
    told = [name for name in audited.columns if name in changed]
    old = {name: _before(histories[name]) for name in told}
    new = {name: getattr(row, name) for name in told}
    return _entry_of(row, audited, action, old or None, new or None)


def _deleted(row: Any, audited: AuditConfig) -> dict[str, Any]:
    old = {name: getattr(row, name) for name in audited.columns}
    return _entry_of(row, audited, "deleted", _lasting(old, audited), None)


def _before(history: Any) -> Any:
    """What an attribute was when it was read, which it need not have been."""
    return next(iter((*history.deleted, *history.unchanged)), None)


def _lasting(values: Values, audited: AuditConfig) -> Values:
    return {name: values[name] for name in audited.columns if name not in audited.personal}


def _entry_of(row: Any, audited: AuditConfig, action: str, old: Values | None, new: Values | None) -> dict[str, Any]:
    reason = getattr(row, audited.reason) if audited.reason else None
    organization_id = getattr(row, audited.organization, None)
    return _entry(action, type(row), row.id, organization_id, None, old, new, reason)


def _entry(
    action: str,
    of: type[Any],
    id_: int | None,
    organization_id: int | None,
    actor: Actor | None,
    old: Values | None,
    new: Values | None,
    reason: str | None,
) -> dict[str, Any]:
    """The columns of an entry, but for those that the database fills in."""
    return {
        **_told_by(organization_id, actor),
        "action": action,
        "subject": display_name(of),
        "subject_id": id_,
        "old": _plain(old),
        "new": _plain(new),
        "reason": reason,
    }


def _told_by(organization_id: int | None = None, actor: Actor | None = None) -> dict[str, Any]:
    """The columns that tell whose an entry is, who acted, and from where."""
    request = request_origin()
    actor = actor or request.actor
    if organization_id is None:
        organization_id = actor.organization_id if actor else NO_ORGANIZATION
    return {
        "organization_id": organization_id,
        "actor_id": actor.id if actor else None,
        "actor_role": actor.role if actor else None,
        "api_key_id": actor.api_key_id if actor else None,
        "address": request.address,
        "request_id": request.request_id,
    }


def _plain(values: Values | None) -> Values | None:
    """The values as JSON has them; numbers are written with their exact digits."""
    if values is None:
        return None
    return {name: format_datetime(value) if isinstance(value, dt.datetime) else value for name, value in values.items()}


def _write(entries: list[dict[str, Any]]) -> None:
    db.session.connection().execute(sa.insert(AuditEntry), entries)

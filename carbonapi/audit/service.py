"""Write audit entries, in the transaction of the change that they describe.

A model declares as `AUDIT` which of three functions writes its entries: `flush` for rows that the session writes,
`record` for acts of a service, `entries_cte` for rows that a statement writes.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects.postgresql import JSONB

from ..auth import Actor, display_name, request_origin
from ..db import AuditConfig, db
from ..rest.fields import format_datetime
from .models import NO_ORGANIZATION, SHARED, AuditEntry

Values = Mapping[str, Any]
PARAMETER_PREFIX = "audit_"
IS_AUDITED = "carbonapi-is-audited"  # In `session.info`, while `flush` is running.


def flush() -> None:
    """Flush the session, and write an entry for each row whose model has an `AuditConfig`."""
    session = db.session()
    created = _audited_rows(session.new)
    changes = [_changed_entry(row) for row in _audited_rows(session.dirty)]
    deletions = [_row_entry(row, "deleted", _values(row), None) for row in _audited_rows(session.deleted)]
    session.info[IS_AUDITED] = True
    try:
        session.flush()
    finally:
        del session.info[IS_AUDITED]
    creations = [_row_entry(row, row.AUDIT.created_action, None, _values(row)) for row in sorted(created, key=_id)]
    _write([entry for entry in (*creations, *changes, *deletions) if entry is not None])


@sa.event.listens_for(db.session, "before_flush")
def _reject_unaudited_changes(session: orm.Session, *_: Any) -> None:
    """Raise an error if audited rows are about to be written without `flush`. It writes nothing itself."""
    if IS_AUDITED not in session.info:
        changed = [row for row in session.dirty if session.is_modified(row)]
        for row in _audited_rows((*session.new, *changed, *session.deleted)):
            raise RuntimeError(f"Call audit.flush() to write a row of {row.__tablename__}, which is audited.")


def record(
    action: str,
    model: type[Any],
    id_: int | None,
    organization_id: int | None = None,
    *,
    actor: Actor | None = None,
    old: Values | None = None,
    new: Values | None = None,
    reason: str | None = None,
) -> None:
    """Write an entry for an act on one row of a model.

    organization_id: the organization of the row. Default: the actor's.
    actor: the actor, if it is not the current one, as at a login.
    """
    origin = _origin_columns(organization_id, actor)
    _write([_entry(model, origin, old, new, action=action, subject_id=id_, reason=reason)])


def entries_cte(
    rows: sa.CTE,
    model: type[Any],
    action: str,
    *,
    old: Values | sa.ColumnElement[Any] | None = None,
    new: Values | sa.ColumnElement[Any] | None = None,
    reason: str | None = None,
) -> sa.CTE:
    """Return a CTE that writes one entry for each of these rows. Add it to the statement that writes the rows.

    rows: at least the columns organization_id and id.
    old, new: an expression from `as_jsonb`, or the same values for all rows.
    """
    entry: dict[str, Any] = {
        name: sa.bindparam(PARAMETER_PREFIX + name, value, AuditEntry.__table__.c[name].type)
        for name, value in _origin_columns().items()
    }
    entry |= {"action": sa.literal(action), "subject": sa.literal(display_name(model))}
    if reason is not None:
        entry["reason"] = sa.literal(reason)
    # Columns by name: looking one up in a CTE takes longer than everything else here.
    organization_id: sa.ColumnElement[int] = sa.literal_column(f"{rows.name}.organization_id")
    entry["organization_id"] = sa.func.coalesce(organization_id, entry["organization_id"])
    entry["subject_id"] = sa.literal_column(f"{rows.name}.id")
    for name, values in (("old", old), ("new", new)):
        if isinstance(values, sa.ColumnElement):
            entry[name] = values
        elif values:
            entry[name] = sa.literal(_json_values(values), JSONB)
    entries = sa.select(*entry.values()).select_from(rows)
    return sa.insert(AuditEntry).from_select(list(entry), entries).returning(AuditEntry.id).cte("audit_entry")


def actor_columns() -> dict[str, Any]:
    """Return the parameters of `entries_cte` that depend on the request, for statements that are compiled once."""
    return {PARAMETER_PREFIX + name: value for name, value in _origin_columns().items()}


@cache
def as_jsonb(rows: str, *columns: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return these columns of the CTE with this name as a JSON object, for `old` or `new` of `entries_cte`.

    The result is cached, so `columns` must be columns of a table, or created once.
    """
    pairs = []
    for column in columns:
        value = f'{rows}."{column.key}"'
        if isinstance(column.type, sa.DateTime):
            # In UTC, whatever the time zone of the role is.
            value = f"(to_jsonb({value} AT TIME ZONE interval '0') #>> '{{}}') || 'Z'"
        pairs.append(f"'{column.key}', {value}")
    return sa.literal_column(f"jsonb_build_object({', '.join(pairs)})", JSONB)


def _audited_rows(rows: Iterable[Any]) -> list[Any]:
    """Return the rows whose models have an `AuditConfig`, by id; new rows have none yet."""
    return sorted((row for row in rows if isinstance(getattr(row, "AUDIT", None), AuditConfig)), key=_id)


def _id(row: Any) -> int:
    return int(row.id or 0)


def _values(row: Any) -> Values:
    return {name: getattr(row, name) for name in row.AUDIT.columns}


def _changed_entry(row: Any) -> dict[str, Any] | None:
    """Return the entry of a pending change; None if no audited column changes."""
    config: AuditConfig = row.AUDIT
    attributes = sa.inspect(row).attrs
    histories = {name: attributes[name].history for name in {*config.columns, *config.actions}}
    changed = [name for name, history in histories.items() if history.has_changes()]
    if not changed:
        return None
    action = next((action for name, action in config.actions.items() if name in changed), "changed")
    # A value that was not loaded has neither part, so it appears as null.
    before = {name: next(iter((*past.deleted, *past.unchanged)), None) for name, past in histories.items()}
    if action == "deleted":
        return _row_entry(row, action, {name: before[name] for name in config.columns}, None)
    audited = [name for name in config.columns if name in changed]
    old = {name: before[name] for name in audited}
    new = {name: getattr(row, name) for name in audited}
    return _row_entry(row, action, old or None, new or None)


def _row_entry(row: Any, action: str, old: Values | None, new: Values | None) -> dict[str, Any]:
    config: AuditConfig = row.AUDIT
    if action == "deleted" and old is not None:
        old = {name: value for name, value in old.items() if name not in config.personal}
    reason = getattr(row, config.reason_column) if config.reason_column else None
    organization_id = getattr(row, config.organization_column)
    origin = _origin_columns(SHARED if organization_id is None else organization_id)
    return _entry(type(row), origin, old, new, action=action, subject_id=row.id, reason=reason)


def _entry(model: type[Any], origin: Values, old: Values | None, new: Values | None, **columns: Any) -> dict[str, Any]:
    """Return the columns of an entry, except for those that the database generates."""
    values = {"old": _json_values(old), "new": _json_values(new)}
    return {**origin, **columns, "subject": display_name(model), **values}


def _origin_columns(organization_id: int | None = None, actor: Actor | None = None) -> dict[str, Any]:
    """Return the columns for the organization, the actor and the request of an entry."""
    request = request_origin()
    actor = actor or request.actor
    own_organization = actor.organization_id if actor else NO_ORGANIZATION
    return {
        "organization_id": own_organization if organization_id is None else organization_id,
        "actor_id": actor.id if actor else None,
        "actor_role": actor.role if actor else None,
        "api_key_id": actor.api_key_id if actor else None,
        "address": request.address,
        "request_id": request.request_id,
    }


def _json_values(values: Values | None) -> Values | None:
    """Return values that can be written as JSON. Numbers keep their exact digits."""
    if values is None:
        return None
    return {name: format_datetime(value) if isinstance(value, dt.datetime) else value for name, value in values.items()}


def _write(entries: list[dict[str, Any]]) -> None:
    if entries:
        db.session.connection().execute(sa.insert(AuditEntry), entries)

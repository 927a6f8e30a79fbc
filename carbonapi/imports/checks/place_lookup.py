"""Look up the sites and meters that rows name, and create meters on request."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by, distinct_on

from ... import audit
from ...auth import MANAGERS, current_actor, get_referenced, scope_criteria
from ...catalogue.models import UsageType
from ...db import db
from ...errors import Forbidden, rows_rejected
from ...sites.models import Meter, Site
from ...usages.places import OTHER_THAN_METER, UNKNOWN
from ...usages.validation import UNKNOWN_USAGE_TYPE
from ..formats.rows import METERS, PLACES
from ..models import Import
from ..staging import IS_VALID, STAGED, Row, reject

MAX_CREATED_METERS = 1000
UNKNOWN_METER = f"{UNKNOWN.format('meter')} Create it, or set create_meters=true and a site."


def check_places(options: dict[str, Any]) -> None:
    """Raise ValidationFailed that names the query parameter for an unknown site or meter.

    Raise Forbidden if the actor may not create meters.
    """
    for name, model in (("site_id", Site), ("meter_id", Meter)):
        if options.get(name) is not None:
            get_referenced(model, options[name], name, "query")
    if options.get("create_meters"):
        _require_manager()


def resolve_places(
    imp: Import, columns: Collection[str], *, create_meters: bool = False, may_lack_meters: bool = False
) -> None:
    """Set the ids of the sites and meters that rows name; with a meter, also its site and its usage type.

    create_meters: create unknown meters. may_lack_meters: let rows with unknown meters have no meter.
    Reject rows with unknown or ambiguous names, and rows that contradict their meter.
    """
    if {*columns}.isdisjoint(PLACES):
        return
    for name, model in (("site", Site), ("meter", Meter)):
        scope = (model.organization_id == imp.organization_id, *scope_criteria(model))
        if name in columns:
            _find_by_reference(model, name, scope)
        if f"{name}_id" in columns:
            _reject_unknown_ids(model, name, scope)
        if name == "site" and name in columns:
            reject(name, Row.site, sa.func.format(UNKNOWN.format(name), Row.site), *_is_unresolved(name))
    if "meter" in columns:
        if create_meters:
            _create_meters(imp)
        elif not may_lack_meters:
            reject("meter", Row.meter, sa.func.format(UNKNOWN_METER, Row.meter), *_is_unresolved("meter"))
    if not {*columns}.isdisjoint(METERS):
        _follow_meters(imp)
    if may_lack_meters:
        _release_unknown_meters()


def _require_manager() -> None:
    if current_actor().role not in MANAGERS:
        raise Forbidden("Only managers create meters. Ask one to create them, or leave create_meters out.")


def _is_unresolved(name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return IS_VALID, Row[name].is_not(None), Row[f"{name}_id"].is_(None)


def _find_by_reference(model: Any, name: str, scope: tuple[sa.ColumnElement[bool], ...]) -> None:
    """Set the ids of the sites or meters whose external_id the rows have, or else of those with that name.

    Archived ones count only if there are no others. A row with a site names a meter of that site.
    """
    reference, id_column = Row[name], Row[f"{name}_id"]
    by_external_id = sa.update(STAGED).where(*scope, *_is_unresolved(name), model.external_id == reference)
    db.session.execute(by_external_id.values({id_column: model.id}))
    if model is Meter:
        at_site = sa.update(STAGED).where(
            *scope, *_is_unresolved(name), model.name == reference, model.site_id == Row.site_id
        )
        db.session.execute(at_site.values({id_column: model.id}))
    ids = sa.func.string_agg(sa.cast(model.id, sa.Text), aggregate_order_by(sa.literal(", "), model.id))
    same_name = (
        sa.select(
            model.name,
            sa.func.min(model.id).label("id"),
            sa.func.count().label("count"),
            ids.label("ids"),
        )
        .where(*scope, model.name.in_(sa.select(reference).where(*_is_unresolved(name))))
        .group_by(model.name, model.archived)
        .order_by(model.name, model.archived)
        .ext(distinct_on(model.name))
        .subquery("same_name")
        .c
    )
    is_named = [*_is_unresolved(name), same_name.name == reference]
    if model is Meter:
        is_named.append(Row.site_id.is_(None))
    message = sa.func.format(
        f"{name.capitalize()}s %s have this name. Give the external_id of one, or its id as {name}_id.", same_name.ids
    )
    reject(name, reference, message, *is_named, same_name.count > 1)
    db.session.execute(sa.update(STAGED).where(*is_named, same_name.count == 1).values({id_column: same_name.id}))


def _reject_unknown_ids(model: Any, name: str, scope: tuple[sa.ColumnElement[bool], ...]) -> None:
    column = f"{name}_id"
    message = sa.func.format(UNKNOWN.format(name), Row[column])
    reject(
        column, Row[column], message, Row[column].is_not(None), Row[column].not_in(sa.select(model.id).where(*scope))
    )


def _create_meters(imp: Import) -> None:
    """Create the unknown meters of the rows. Their name and their external_id are the text of the cell."""
    _require_manager()
    unknown = _is_unresolved("meter")
    new = sa.select(Row.meter, Row.site_id, Row.usage_type_id).where(*unknown).distinct()
    same_meter = new.subquery("new")
    ambiguous = sa.select(same_meter.c.meter).group_by(same_meter.c.meter).having(sa.func.count() > 1)
    usable_types = sa.select(UsageType.id).where(UsageType.is_of(imp.organization_id), ~UsageType.archived)
    archived_sites = sa.select(Site.id).where(Site.organization_id == imp.organization_id, Site.archived)
    for column, message, criterion in (
        ("meter", "There is no meter %s. To create it, set its site.", Row.site_id.is_(None)),
        ("meter", "There is no meter %s. To create it, set its usage type.", Row.usage_type_id.is_(None)),
        ("usage_type_id", UNKNOWN_USAGE_TYPE, Row.usage_type_id.not_in(usable_types)),
        ("site_id", "Site %s is archived and accepts no new meters.", Row.site_id.in_(archived_sites)),
        ("meter", "Rows with meter %s have several sites or usage types.", Row.meter.in_(ambiguous)),
    ):
        reject(column, Row[column], sa.func.format(message, Row[column]), *unknown, criterion)
    if (db.session.scalar(sa.select(sa.func.count()).select_from(same_meter)) or 0) > MAX_CREATED_METERS:
        raise rows_rejected({1: [f"The file must not create more than {MAX_CREATED_METERS} meters."]})
    # One statement: the session would need one for each meter.
    name = same_meter.c.meter
    values = {
        "organization_id": sa.literal(imp.organization_id, sa.BigInteger),
        "version": sa.literal(1),
        "name": name,
        "external_id": name,
        "site_id": same_meter.c.site_id,
        "usage_type_id": same_meter.c.usage_type_id,
        "archived": sa.false(),
    }
    insert = sa.insert(Meter).from_select([*values], sa.select(*values.values()).order_by(name))
    audited = [Meter.__table__.c[column] for column in Meter.AUDIT.columns]
    created = insert.returning(Meter.organization_id, Meter.id, *audited).cte("created")
    entries = audit.entries_cte(created, Meter, Meter.AUDIT.created_action, new=audit.as_jsonb("created", *audited))
    count = sa.select(sa.func.count()).select_from(created).add_cte(entries)
    imp.created_meter_count = db.session.scalar(count) or 0
    is_created = (Meter.organization_id == imp.organization_id, Meter.external_id == Row.meter)
    db.session.execute(sa.update(STAGED).where(*is_created, *unknown).values(meter_id=Meter.id))


def _follow_meters(imp: Import) -> None:
    """Give rows the site and the usage type of their meter. Reject rows with others."""
    is_meter = (Meter.organization_id == imp.organization_id, Meter.id == Row.meter_id)
    for column in ("usage_type_id", "site_id"):
        known = Meter.__table__.c[column]
        message = sa.func.format(OTHER_THAN_METER.format(column), known, Meter.id)
        reject(column, Row[column], message, *is_meter, Row[column] != known)
    values = {"usage_type_id": Meter.usage_type_id, "site_id": Meter.site_id}
    db.session.execute(sa.update(STAGED).where(IS_VALID, *is_meter).values(values))


def _release_unknown_meters() -> None:
    """Let rows without a known meter have none. Reject those that have no usage type either."""
    message = sa.func.format("There is no meter %s, so a usage type is required. Set usage_type_id.", Row.meter)
    unknown = _is_unresolved("meter")
    reject("usage_type_id", Row.usage_type_id, message, *unknown, Row.usage_type_id.is_(None))
    db.session.execute(sa.update(STAGED).where(*unknown).values(meter=None))

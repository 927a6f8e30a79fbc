"""The place of a usage: its meter and its site, and the usage type and region that follow from them."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..auth import scope_criteria
from ..db import db, is_any_of
from ..errors import ValidationFailed
from ..rest.fields import format_datetime
from ..sites.models import Meter, Site
from ..sites.tree import nearest_region
from .models import Usage

Values = dict[str, Any]
UNKNOWN = "There is no {0} %s; GET /{0}s lists them."
ARCHIVED = "The {} %s or its site is archived and accepts no new usages."
OTHER_THAN_METER = "{} must be %s, that of meter %s, or omitted."
NOT_INSTALLED = "Meter %s was {} at %s. Choose another time or meter."
# The fields that depend on each other if a usage has a meter or a site.
FIELDS = ("meter_id", "site_id", "usage_type_id", "usage_at", "region")


class Places(NamedTuple):
    """The visible sites and meters that usages to record name, by id."""

    sites: Mapping[int, Any]
    meters: Mapping[int, Any]


def find_places(usages: Iterable[Values]) -> Places:
    """Read the sites and the meters that usages to record name, by a statement for each kind."""
    meter_ids: set[int] = set()
    site_ids: set[int] = set()
    sites: Sequence[Any] = ()
    meters: Sequence[Any] = ()
    for values in usages:
        if values["meter_id"] is not None:
            meter_ids.add(values["meter_id"])
        elif values["site_id"] is not None:
            site_ids.add(values["site_id"])
    if site_ids:
        sites = _sites(*scope_criteria(Site), is_any_of(Site.id, sorted(site_ids)))
    if meter_ids:
        meters = _meters(Meter.site_id, *scope_criteria(Meter), is_any_of(Meter.id, sorted(meter_ids)))
    return Places({site.id: site for site in sites}, {meter.id: meter for meter in meters})


def place_new(values: Values, organization_id: int, places: Places) -> Values:
    """Return the site, the usage type and the region of a usage to record, from the meter or the site that it names.

    organization_id: that of its user. Raise ValidationFailed for a meter or site that is unknown or archived, for
    another usage type or site than those of the meter, and for a time at which the meter was not installed.
    """
    return _place(values, organization_id, places)


def place_again(usage: Usage, fields: Values) -> Values:
    """Return the fields of a correction, with those that follow from the meter and the site.

    A usage that keeps its meter keeps its site too, although the meter may have moved. Raise as `place_new` does.
    """
    after = {name: fields.get(name, getattr(usage, name)) for name in FIELDS}
    keeps_meter = after["meter_id"] == usage.meter_id
    if after["meter_id"] is None:
        keeps_site = after["site_id"] == usage.site_id
    else:
        keeps_site = keeps_meter and after["site_id"] in (None, usage.site_id)
        if "site_id" not in fields and not keeps_meter:
            after["site_id"] = None  # That of the meter.
        if "usage_type_id" not in fields and not keeps_meter:
            after["usage_type_id"] = None
    if keeps_site:
        after["site_id"] = usage.site_id
    if after["site_id"] is None and after["meter_id"] is None:
        return fields if keeps_site else fields | {"site_id": None, "region": fields.get("region")}
    # Without a region of its own, the usage gets that of the site, also if the site changes.
    if not keeps_site and "region" not in fields:
        after["region"] = None
    if all(after[name] == getattr(usage, name) for name in FIELDS):
        return fields | {name: after[name] for name in ("site_id", "region") if name in fields}
    # A member may correct their own usage at a site that is no longer theirs.
    places = _places_of(usage, after["meter_id"]) if keeps_site else find_places([after])
    placed = _place(after, usage.organization_id, places, usage if keeps_site else None)
    if keeps_site and "region" not in fields:
        del placed["region"]
    return fields | placed


def _place(after: Values, organization_id: int, places: Places, usage: Usage | None = None) -> Values:
    """Return the site, the usage type and the region. usage: the usage, if it keeps its meter and its site."""
    if after["meter_id"] is None:
        site = _pick(places.sites, "site", after["site_id"])
        _check(site, "site", "site_id", organization_id, usage)
        return {"site_id": site.id, "region": after["region"] or site.nearest_region}
    meter = _pick(places.meters, "meter", after["meter_id"])
    _check(meter, "meter", "meter_id", organization_id, usage)
    if after["usage_type_id"] not in (None, meter.usage_type_id):
        message = OTHER_THAN_METER.format("usage_type_id") % (meter.usage_type_id, meter.id)
        raise ValidationFailed(message, field="usage_type_id")
    site_id = meter.site_id if usage is None else usage.site_id
    if after["site_id"] not in (None, site_id):
        message = OTHER_THAN_METER.format("site_id") % (site_id, meter.id)
        raise ValidationFailed(f"{message} PATCH /meters/{meter.id} moves it.", field="site_id")
    _check_validity(meter, after["usage_at"])
    region = after["region"] or meter.nearest_region
    return {"site_id": site_id, "usage_type_id": meter.usage_type_id, "region": region}


def _places_of(usage: Usage, meter_id: int | None) -> Places:
    """Return the meter and the site that a usage keeps, whether or not the actor sees them."""
    if meter_id is None:
        sites = _sites(Site.organization_id == usage.organization_id, Site.id == usage.site_id)
        return Places({site.id: site for site in sites}, {})
    meters = _meters(usage.site_id, Meter.organization_id == usage.organization_id, Meter.id == meter_id)
    return Places({}, {meter.id: meter for meter in meters})


def _sites(*criteria: sa.ColumnElement[bool]) -> Sequence[Any]:
    columns = (Site.id, Site.organization_id, Site.archived, nearest_region(Site).label("nearest_region"))
    return db.session.execute(sa.select(*columns).where(*criteria)).all()


def _meters(site_id: Any, *criteria: sa.ColumnElement[bool]) -> Sequence[Any]:
    """Return meters with the region of this site: a column, or an id."""
    return db.session.execute(
        sa.select(
            *(Meter.id, Meter.organization_id, Meter.site_id, Meter.usage_type_id, Meter.valid_from, Meter.valid_until),
            (Meter.archived | Site.archived).label("archived"),
            nearest_region(Site).label("nearest_region"),
        )
        .join(Site, (Site.organization_id == Meter.organization_id) & (Site.id == site_id))
        .where(*criteria)
    ).all()


def _pick(rows: Mapping[int, Any], name: str, id_: int) -> Any:
    if id_ not in rows:
        raise ValidationFailed(UNKNOWN.format(name) % id_, field=f"{name}_id")
    return rows[id_]


def _check(row: Any, name: str, field: str, organization_id: int, usage: Usage | None) -> None:
    if row.organization_id != organization_id:
        raise ValidationFailed(f"The {name} {row.id} belongs to another organization than the user.", field=field)
    if row.archived and usage is None:
        raise ValidationFailed(ARCHIVED.format(name) % row.id, field=field)


def _check_validity(meter: Any, usage_at: Any) -> None:
    if meter.valid_from is not None and usage_at < meter.valid_from:
        raise _not_installed("installed", meter.id, meter.valid_from)
    if meter.valid_until is not None and usage_at >= meter.valid_until:
        raise _not_installed("removed", meter.id, meter.valid_until)


def _not_installed(verb: str, meter_id: int, limit: dt.datetime) -> ValidationFailed:
    return ValidationFailed(NOT_INSTALLED.format(verb) % (meter_id, format_datetime(limit)), field="usage_at")

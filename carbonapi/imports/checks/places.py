"""Check the sites and meters of the rows that are about to be written, and give rows the region of their site."""

from collections.abc import Collection

import sqlalchemy as sa

from ...db import db
from ...sites.models import Meter, Site
from ...sites.tree import nearest_region
from ...usages.places import ARCHIVED, NOT_INSTALLED
from ..formats.rows import PLACES
from ..models import NEW, Import
from ..staging import IS_WRITTEN, STAGED, Row, as_text, reject


def check_places_of_rows(imp: Import, columns: Collection[str]) -> None:
    """Reject new rows at archived sites and meters, and rows of times at which their meter was not installed.

    The sites and meters stay locked until the transaction ends.
    """
    if not {*columns}.isdisjoint(PLACES):
        # Members with sites cannot name other sites: the lookup rejects them. Further rights by site belong here.
        _check(imp)
    elif imp.on_conflict == "reject":
        return
    # A corrected usage may have a site that the file does not name.
    sites = Site.organization_id == imp.organization_id
    used = sa.select(Row.site_id).where(IS_WRITTEN, Row.site_id.is_not(None))
    of_sites = sa.select(Site.id, nearest_region(Site).label("region")).where(sites, Site.id.in_(used))
    region = of_sites.cte("regions").prefix_with("MATERIALIZED", dialect="postgresql").c
    with_site = sa.update(STAGED).where(IS_WRITTEN, Row.region.is_(None), Row.site_id == region.id)
    db.session.execute(with_site.values(region=region.region))


def _check(imp: Import) -> None:
    site, meter = Site.__table__.c, Meter.__table__.c
    is_site = (Site.organization_id == imp.organization_id, Site.id == Row.site_id)
    is_meter = (Meter.organization_id == imp.organization_id, Meter.id == Row.meter_id)
    for model, id_column in ((Site, Row.site_id), (Meter, Row.meter_id)):
        rows = sa.select(model.id).where(
            model.organization_id == imp.organization_id, model.id.in_(sa.select(id_column).where(IS_WRITTEN))
        )
        locked = rows.order_by(model.id).with_for_update(read=True).subquery()
        db.session.execute(sa.select(sa.func.count()).select_from(locked))
    message = sa.func.format(ARCHIVED.format("meter"), Meter.id)
    is_archived = (Row.outcome == NEW, *is_meter, *is_site, meter.archived | site.archived)
    reject("meter_id", Row.meter_id, message, *is_archived)
    message = sa.func.format(ARCHIVED.format("site"), Site.id)
    reject("site_id", Row.site_id, message, Row.outcome == NEW, Row.meter_id.is_(None), *is_site, site.archived)
    for limit, verb, is_outside in (
        (meter.valid_from, "installed", Row.usage_at < meter.valid_from),
        (meter.valid_until, "removed", Row.usage_at >= meter.valid_until),
    ):
        message = sa.func.format(NOT_INSTALLED.format(verb), meter.id, as_text(limit))
        reject("usage_at", Row.usage_at, message, IS_WRITTEN, *is_meter, is_outside)

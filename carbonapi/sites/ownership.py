"""The share of a site that counts in totals, by an approach of consolidation of the GHG Protocol.

Ownership is a way of reading: no usage contains it. A share says how much of a site its parent owns from a day on, so a
site counts with the product of the shares on its path. A site without any is owned entirely; before its first share it
is not owned at all. With `equity_share` it counts by the share, with a kind of control entirely or not at all.
"""

import datetime as dt
import decimal
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ..accounts.models import Organization
from ..auth import visible
from ..db import db
from ..local_time.clock import TIMESTAMPTZ
from ..rest.fields import format_datetime, start_of_day
from .models import MAX_LEVELS, Site, SiteShare

APPROACHES = ("equity_share", "financial_control", "operational_control")
SHARE_DIGITS = 7 * MAX_LEVELS  # A product of the shares of all levels is exact.
Key = tuple[int, int]


class Ownership(NamedTuple):
    """The share of a site that counts from a local day until another one. The ends of time are None."""

    organization_id: int
    site_id: int
    start: dt.datetime | None
    end: dt.datetime | None
    share: Decimal


def ownership_by(approach: str) -> list[Ownership]:
    """Return the shares of all visible sites that are not always owned entirely, over all time."""
    value = sa.cast(getattr(SiteShare, approach), sa.Numeric if approach == "equity_share" else sa.Integer)
    of_visible = sa.tuple_(SiteShare.organization_id, SiteShare.site_id)
    paths = visible(Site).with_only_columns(Site.organization_id, sa.func.unnest(Site.path))
    columns = (SiteShare.organization_id, SiteShare.site_id, SiteShare.valid_from, value)
    shares: dict[Key, dict[dt.date, Decimal]] = defaultdict(dict)
    for organization_id, site_id, day, share in db.session.execute(sa.select(*columns).where(of_visible.in_(paths))):
        shares[organization_id, site_id][day] = Decimal(share)
    if not shares:
        return []
    shared = sa.cast(postgresql.array([site_id for _, site_id in shares]), postgresql.ARRAY(sa.BigInteger))
    sites = (
        visible(Site)
        .join(Organization, Organization.id == Site.organization_id)
        .with_only_columns(Site.organization_id, Site.id, Site.path, Organization.timezone)
        .where(Site.path.overlap(shared))
    )
    found = []
    for organization_id, site_id, path, timezone in db.session.execute(sites):
        keys = [(organization_id, id_) for id_ in path]
        for day, following, share in _products([shares[key] for key in keys if key in shares]):
            start, end = (None if each is None else start_of_day(each, timezone) for each in (day, following))
            found.append(Ownership(organization_id, site_id, start, end, share))
    return found


def ownership_parameters(owned: Sequence[Ownership]) -> dict[str, Any]:
    """Return the parameters of OWNERSHIP."""

    def texts(name: str, endless: str) -> str:
        instants = (getattr(each, name) for each in owned)
        return "{" + ",".join(format_datetime(instant) if instant else endless for instant in instants) + "}"

    return {
        "owned_organizations": [each.organization_id for each in owned],
        "owned_sites": [each.site_id for each in owned],
        "owned_from": texts("start", "-infinity"),
        "owned_until": texts("end", "infinity"),
        "owned_shares": [each.share for each in owned],
    }


def _ownership() -> sa.CTE:
    """Return a CTE of the shares of sites, which are parameters."""
    ids, instants = postgresql.ARRAY(sa.BigInteger), postgresql.ARRAY(TIMESTAMPTZ)
    arrays = (
        sa.bindparam("owned_organizations", type_=ids),
        sa.bindparam("owned_sites", type_=ids),
        sa.cast(sa.bindparam("owned_from", type_=sa.Text), instants),
        sa.cast(sa.bindparam("owned_until", type_=sa.Text), instants),
        sa.cast(sa.bindparam("owned_shares", type_=postgresql.ARRAY(sa.Numeric)), postgresql.ARRAY(sa.Numeric)),
    )
    columns: dict[str, Any] = {"organization_id": sa.BigInteger, "site_id": sa.BigInteger, "starts_at": TIMESTAMPTZ,
               "ends_at": TIMESTAMPTZ, "share": sa.Numeric}  # fmt: skip
    rows: Any = sa.func.unnest(*arrays).table_valued(*(sa.column(name, type_) for name, type_ in columns.items()))
    return sa.select(rows.render_derived("owned")).cte("ownership")


OWNERSHIP: Any = _ownership()


def _products(levels: Sequence[Mapping[dt.date, Decimal]]) -> Iterator[tuple[dt.date | None, dt.date | None, Decimal]]:
    """Yield the product of the shares of all levels for each span of days in which none of them changes."""
    days = [None, *sorted({day for level in levels for day in level}), None]
    for day, following in pairwise(days):
        product = Decimal(1)
        with decimal.localcontext(prec=SHARE_DIGITS):
            for level in levels:
                begun = [since for since in level if day is not None and since <= day]
                product *= level[max(begun)] if begun else 0
        yield day, following, product

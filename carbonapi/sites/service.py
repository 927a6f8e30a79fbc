"""Every write of sites, their ownership, their meters, and the sites of users."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from psycopg2 import errorcodes
from sqlalchemy import orm

from .. import audit
from ..accounts.models import User
from ..accounts.sessions import forget_after_commit
from ..auth import current_actor, get_all_referenced, get_referenced, scope_criteria, visible
from ..catalogue.models import UsageType
from ..db import db, sqlstate
from ..errors import Conflict, ValidationFailed
from ..rest import lock_for_update
from .models import Meter, Site, SiteShare, UserSite
from .tree import ancestors_below, lock_tree, move

OTHER_ORGANIZATION = "{} {} belongs to another organization."
END_BEFORE_START = "valid_until must be later than valid_from."
REPLACES_ITSELF = "A meter cannot replace itself."


def create_site(parent_id: int | None = None, **fields: Any) -> Site:
    """Create a site of the actor's organization."""
    organization_id = current_actor().organization_id
    lock_tree(organization_id)
    parent = _parent(parent_id, organization_id)
    site = Site(organization_id=organization_id, parent_id=parent_id, ancestor_ids=ancestors_below(parent), **fields)
    db.session.add(site)
    audit.flush()
    return site


def sites_to_export() -> sa.Select[Any]:
    """Select the visible sites, with the reference to their parents that an import reads."""
    parent = orm.aliased(Site)
    is_parent = (parent.organization_id == Site.organization_id) & (parent.id == Site.parent_id)
    reference = sa.func.coalesce(parent.external_id, parent.name, type_=sa.Text).label("parent")
    return visible(Site).outerjoin(parent, is_parent).add_columns(reference)


def meters_to_export() -> sa.Select[Any]:
    """Select the visible meters, with the references to sites, usage types and other meters that an import reads."""
    successor = orm.aliased(Meter)
    is_successor = (successor.organization_id == Meter.organization_id) & (successor.id == Meter.replaced_by_id)
    is_site = (Site.organization_id == Meter.organization_id) & (Site.id == Meter.site_id)
    references = (
        sa.func.coalesce(Site.external_id, Site.name, type_=sa.Text).label("site"),
        UsageType.name.label("usage_type"),
        sa.func.coalesce(successor.external_id, successor.name, type_=sa.Text).label("replaced_by"),
    )
    joined = visible(Meter).join(Site, is_site).join(UsageType, UsageType.id == Meter.usage_type_id)
    return joined.outerjoin(successor, is_successor).add_columns(*references)


def lock_site(site_id: int) -> Site:
    """Return the visible site with this id, locked with its tree. Raise like `lock_for_update`."""
    actor = current_actor()
    organization_id = actor.organization_id
    if actor.is_admin:
        found = db.session.scalar(sa.select(Site.organization_id).where(*scope_criteria(Site), Site.id == site_id))
        organization_id = found or organization_id
    lock_tree(organization_id)  # First, so that two requests never wait for each other.
    return lock_for_update(Site, site_id)


def change_site(site: Site, **fields: Any) -> Site:
    """Change a site. With another parent, all sites below it move too. Recorded usages stay as they are."""
    if "parent_id" in fields and fields["parent_id"] != site.parent_id:
        move(site, _parent(fields["parent_id"], site.organization_id))
    for name, value in fields.items():
        setattr(site, name, value)
    audit.flush()
    return site


def delete_site(site: Site) -> None:
    """Delete a site and its shares. Raise Conflict if sites below it, meters, usages or others refer to it."""
    try:
        with db.session.begin_nested():
            db.session.execute(sa.delete(SiteShare).where(*_of_site(SiteShare, site)))
            erased = sa.select(User.id).where(User.organization_id == site.organization_id, User.erased_at.is_not(None))
            db.session.execute(sa.delete(UserSite).where(*_of_site(UserSite, site), UserSite.user_id.in_(erased)))
            db.session.delete(site)
            audit.flush()
    except sa.exc.IntegrityError:
        raise Conflict(
            f"Site {site.id} has sites below it, meters, usages, restatements or members, so it cannot be deleted. Set "
            "`archived` to hide it."
        ) from None


def shares_of(site: Site) -> list[dict[str, Any]]:
    """Return the shares of ownership of a site, in the order of their days."""
    columns = (SiteShare.valid_from, SiteShare.equity_share, SiteShare.financial_control, SiteShare.operational_control)
    shares = sa.select(*columns).where(*_of_site(SiteShare, site)).order_by(SiteShare.valid_from)
    return [dict(share) for share in db.session.execute(shares).mappings()]


def set_shares(site: Site, shares: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace all shares of ownership of a site, which the caller has locked."""
    before, after = shares_of(site), sorted(shares, key=lambda share: share["valid_from"])
    if before != after:
        db.session.execute(sa.delete(SiteShare).where(*_of_site(SiteShare, site)))
        key = {"organization_id": site.organization_id, "site_id": site.id}
        if after:
            db.session.execute(sa.insert(SiteShare), [key | share for share in after])
        old, new = ({"shares": [_as_json(share) for share in each]} for each in (before, after))
        audit.record("changed", SiteShare, site.id, site.organization_id, old=old, new=new)
    return after


def create_meter(site_id: int, **fields: Any) -> Meter:
    """Create a meter at a site."""
    site = get_referenced(Site, site_id, "site_id")
    meter = Meter(organization_id=site.organization_id, site_id=site.id, **fields)
    _check_meter(meter)
    db.session.add(meter)
    audit.flush()
    return meter


def change_meter(meter: Meter, **fields: Any) -> Meter:
    """Change a meter. At another site, its later usages are of that site; recorded ones keep theirs.

    Raise Conflict for another usage type once the meter has usages, or replaces another one.
    """
    if fields.get("site_id", meter.site_id) != meter.site_id:
        get_referenced_site(fields["site_id"], meter.organization_id, "site_id")
    try:
        with db.session.begin_nested(), db.session.no_autoflush:
            for name, value in fields.items():
                setattr(meter, name, value)
            _check_meter(meter)
            audit.flush()
    except sa.exc.IntegrityError as error:
        if sqlstate(error) != errorcodes.FOREIGN_KEY_VIOLATION:
            raise
        raise Conflict(
            f"Meter {meter.id} has usages, or replaces another meter, so its usage type cannot change. Create another "
            "meter.",
            field="usage_type_id",
        ) from None
    return meter


def delete_meter(meter: Meter) -> None:
    """Delete a meter. Raise Conflict if it has usages, or versions of usages, or replaces another one."""
    try:
        with db.session.begin_nested():
            db.session.delete(meter)
            audit.flush()
    except sa.exc.IntegrityError:
        raise Conflict(
            f"Meter {meter.id} has usages, or replaces another meter, so it cannot be deleted. Set `archived` to hide "
            "it."
        ) from None


def sites_of(user: User) -> list[int]:
    """Return the ids of the sites of a user, without those below them."""
    return list(db.session.scalars(sa.select(UserSite.site_id).where(*_of_user(user)).order_by(UserSite.site_id)))


def set_sites(user: User, site_ids: Iterable[int]) -> list[int]:
    """Replace the sites of a user. Raise ValidationFailed for a site that is not of their organization."""
    wanted = sorted(set(site_ids))
    for site in get_all_referenced(Site, wanted, "site_ids"):
        _require_same_organization(site, user.organization_id, "site_ids")
    before = sites_of(user)
    if before != wanted:
        db.session.execute(sa.delete(UserSite).where(*_of_user(user)))
        key = {"organization_id": user.organization_id, "user_id": user.id}
        if wanted:
            db.session.execute(sa.insert(UserSite), [key | {"site_id": site_id} for site_id in wanted])
        old, new = {"site_ids": before}, {"site_ids": wanted}
        audit.record("changed", UserSite, user.id, user.organization_id, old=old, new=new)
        forget_after_commit(user.id)
    return wanted


def get_referenced_site(site_id: int, organization_id: int, field: str) -> Site:
    """Return a site of an organization that a field refers to. Raise ValidationFailed if it is another one's."""
    site = get_referenced(Site, site_id, field)
    _require_same_organization(site, organization_id, field)
    return site


def _parent(parent_id: int | None, organization_id: int) -> Site | None:
    if parent_id is None:
        return None
    return get_referenced_site(parent_id, organization_id, "parent_id")


def _check_meter(meter: Meter) -> None:
    """Raise ValidationFailed for an unknown usage type, an invalid validity, and a replacement of another type."""
    usage_type = get_referenced(UsageType, meter.usage_type_id, "usage_type_id")
    if usage_type.organization_id is not None:
        _require_same_organization(usage_type, meter.organization_id, "usage_type_id")
    if meter.valid_from is not None and meter.valid_until is not None and meter.valid_until <= meter.valid_from:
        raise ValidationFailed(END_BEFORE_START, field="valid_until")
    if meter.replaced_by_id is None:
        return
    if meter.replaced_by_id == meter.id:
        raise ValidationFailed(REPLACES_ITSELF, field="replaced_by_id")
    successor = get_referenced(Meter, meter.replaced_by_id, "replaced_by_id")
    _require_same_organization(successor, meter.organization_id, "replaced_by_id")
    if successor.usage_type_id != meter.usage_type_id:
        message = f"Meter {successor.id} has usage type {successor.usage_type_id}. Choose a meter of the same type."
        raise ValidationFailed(message, field="replaced_by_id")


def _require_same_organization(row: Any, organization_id: int, field: str) -> None:
    """Raise ValidationFailed for a row of another organization, which only admins can name."""
    if row.organization_id != organization_id:
        name = str(row.__tablename__).removesuffix("s").replace("_", " ").capitalize()
        raise ValidationFailed(OTHER_ORGANIZATION.format(name, row.id), field=field)


def _of_site(table: Any, site: Site) -> tuple[sa.ColumnElement[bool], ...]:
    return table.organization_id == site.organization_id, table.site_id == site.id


def _of_user(user: User) -> tuple[sa.ColumnElement[bool], ...]:
    return UserSite.organization_id == user.organization_id, UserSite.user_id == user.id


def _as_json(share: dict[str, Any]) -> dict[str, Any]:
    return share | {"valid_from": share["valid_from"].isoformat()}

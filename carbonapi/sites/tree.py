"""The tree of an organization's sites: find what is below a site, and move a site with all sites below it."""

from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql

from ..auth import forget_members_with_sites, scope_criteria
from ..db import db, on_commit
from ..errors import ValidationFailed
from .models import MAX_LEVELS, Site

LOCK_CLASS = 6_120_745  # Distinct from other advisory locks with two keys. The other key is the organization.
TOO_DEEP = f"A tree of sites must not have more than {MAX_LEVELS} levels. Choose a higher parent."


def is_within(model: Any, ids: Any) -> sa.ColumnElement[bool]:
    """Return the condition that the site of a row of `model` is one of these, or below one of them."""
    array = sa.cast(postgresql.array(ids), postgresql.ARRAY(sa.BigInteger))
    sites = sa.select(Site.organization_id, Site.id).where(*scope_criteria(Site), Site.path.overlap(array))
    return sa.tuple_(model.organization_id, model.site_id).in_(sites)


def nearest_region(site: Any) -> sa.ScalarSelect[str]:
    """Return the region of a site, or of the nearest site above it that has one. site: Site, or an alias of it."""
    above = orm.aliased(Site)
    return (
        sa.select(above.region)
        .where(above.organization_id == site.organization_id, above.id == sa.any_(site.path), above.region.is_not(None))
        .order_by(sa.func.cardinality(above.path).desc())
        .limit(1)
        .correlate(site)
        .scalar_subquery()
    )


def lock_tree(organization_id: int) -> None:
    """Let no other transaction change the tree of the organization until this one ends.

    When it is committed, members see the sites that are below theirs then.
    """
    key = sa.cast(sa.literal(organization_id, sa.BigInteger) % 2147483647, sa.Integer)
    db.session.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_CLASS, key)))
    on_commit(partial(forget_members_with_sites, organization_id))


def ancestors_below(parent: Site | None) -> list[int]:
    """Return `ancestor_ids` of a site directly below `parent`. Raise ValidationFailed if it would be too deep."""
    path = list(parent.path) if parent else []
    if len(path) >= MAX_LEVELS:
        raise ValidationFailed(TOO_DEEP, field="parent_id")
    return path


def move(site: Site, parent: Site | None) -> None:
    """Give a site another parent, or none. The tree is locked, and `audit.flush` writes the site itself.

    Raise ValidationFailed for a parent below the site, and if a site would be too deep.
    """
    ancestor_ids = ancestors_below(parent)
    if parent is not None and site.id in parent.path:
        message = f"Site {parent.id} is below site {site.id}, or the same. Choose a parent outside of it."
        raise ValidationFailed(message, field="parent_id")
    descendants = (
        Site.organization_id == site.organization_id,
        Site.path.contains([site.id]),
        Site.id != site.id,
    )
    deepest = db.session.scalar(sa.select(sa.func.max(sa.func.cardinality(Site.path))).where(*descendants))
    depth = len(site.ancestor_ids)
    if deepest is not None and deepest - depth + len(ancestor_ids) > MAX_LEVELS:
        raise ValidationFailed(TOO_DEEP, field="parent_id")
    if deepest is not None:
        _move_descendants(descendants, depth, ancestor_ids)
    site.parent_id, site.ancestor_ids = parent.id if parent else None, ancestor_ids


def _move_descendants(descendants: tuple[sa.ColumnElement[bool], ...], depth: int, ancestor_ids: list[int]) -> None:
    """Replace the first `depth` ancestors of sites by others, in one statement."""
    rest = sa.literal_column("ancestor_ids", postgresql.ARRAY(sa.BigInteger))[depth + 1 : MAX_LEVELS]
    above = sa.literal(ancestor_ids, postgresql.ARRAY(sa.BigInteger))
    update = sa.update(Site).where(*descendants).values(ancestor_ids=sa.func.array_cat(above, rest))
    moved = db.session.scalars(update.returning(Site.id), execution_options={"synchronize_session": False}).all()
    for row in db.session.identity_map.values():
        if isinstance(row, Site) and row.id in moved:
            db.session.expire(row, ["ancestor_ids", "path"])

"""Revert a factor set: delete its factors, and put those that they superseded in force again."""

from dataclasses import dataclass

import sqlalchemy as sa

from .. import audit
from ..db import allow, db
from ..errors import Conflict
from .models import EmissionFactor, FactorSet, UsageType
from .valuation_choice import choosing_again, delete_valuations


@dataclass(frozen=True)
class RevertedFactorSet:
    """The numbers of rows of a factor set that was reverted."""

    deleted_count: int
    restored_count: int
    usage_type_count: int


def revert_factor_set(factor_set: FactorSet) -> RevertedFactorSet:
    """Delete a factor set with its factors, and the usage types that its import created. The caller has locked it.

    Raise Conflict if a usage has one of the factors, or another edition superseded one.
    """
    allow(minutes=5)
    factors = db.session.scalars(
        sa.select(EmissionFactor)
        .where(EmissionFactor.factor_set_id == factor_set.id)
        .order_by(EmissionFactor.id.desc())
    ).all()
    ids = {factor.id for factor in factors}
    _require_last(factor_set, ids)
    superseded = {factor.supersedes_id for factor in factors if factor.supersedes_id is not None} - ids
    with choosing_again(*{factor.usage_type_id for factor in factors}):
        try:
            with db.session.begin_nested():
                delete_valuations(factor_ids=ids)
                for factor in factors:
                    db.session.delete(factor)
                    if factor.supersedes_id in ids:
                        audit.flush()  # Before the one that it superseded.
                audit.flush()
        except sa.exc.IntegrityError:
            raise Conflict(
                f"Usages have factors of {factor_set.publisher} {factor_set.edition}, so it cannot be reverted. Import "
                "the right table as another edition, which supersedes them."
            ) from None
        restored = _restore(superseded)
    usage_types = _delete_types_without_factors(factor_set)
    db.session.delete(factor_set)
    audit.flush()
    return RevertedFactorSet(len(factors), restored, usage_types)


def _require_last(factor_set: FactorSet, ids: set[int]) -> None:
    """Raise Conflict if another edition superseded a factor of the set."""
    later = db.session.scalar(
        sa.select(sa.func.concat_ws(" ", FactorSet.publisher, FactorSet.edition))
        .select_from(EmissionFactor)
        .outerjoin(FactorSet, FactorSet.id == EmissionFactor.factor_set_id)
        .where(
            EmissionFactor.supersedes_id.in_(
                sa.select(EmissionFactor.id).where(EmissionFactor.factor_set_id == factor_set.id)
            ),
            EmissionFactor.factor_set_id.is_distinct_from(factor_set.id),
        )
        .limit(1)
    )
    if ids and later is not None:
        name = f"{factor_set.publisher} {factor_set.edition}"
        raise Conflict(f"{later or 'Another factor'} superseded factors of {name}. Revert or delete that first.")


def _restore(ids: set[int]) -> int:
    """Put superseded factors in force again."""
    superseded = sa.literal(list(ids), sa.ARRAY(sa.BigInteger))
    factors = db.session.scalars(sa.select(EmissionFactor).where(EmissionFactor.id == sa.any_(superseded))).all()
    for factor in factors:
        factor.superseded_at = factor.superseded_by = factor.superseded_reason = None
    audit.flush()
    return len(factors)


def _delete_types_without_factors(factor_set: FactorSet) -> int:
    """Delete the usage types that were created in the same transaction as the set, and have no factor or usage."""
    types = db.session.scalars(
        sa.select(UsageType).where(
            UsageType.created_at == factor_set.created_at,
            UsageType.organization_id.is_not_distinct_from(factor_set.organization_id),
            ~sa.exists().where(EmissionFactor.usage_type_id == UsageType.id),
        )
    ).all()
    try:
        with db.session.begin_nested():
            for usage_type in types:
                db.session.delete(usage_type)
            audit.flush()
    except sa.exc.IntegrityError:  # Usages have one of them, with a factor of their own organization.
        return 0
    return len(types)
